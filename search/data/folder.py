"""Anybody's images in class folders: train/ and test/, or one folder that is split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.data.errors import LayoutError
from search.data.images import EXTENSIONS, read_image
from search.data.listing import Listing, Part

NUM_SAMPLED = 256
"""Files whose beginning goes into the manifest, beside everybody's name and size."""
SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The image files below one folder of class folders."""

    files: dict[str, tuple[tuple[str, int], ...]]
    """Class -> (path below that folder of class folders, bytes), sorted."""
    num_ignored: int


def describe_folder(root: Path) -> str:
    """Say in a few words what lies in a folder, for the words of a fault."""
    if not root.exists():
        return "it does not exist"
    if not root.is_dir():
        return "it is a file"
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in os.scandir(root))
    if not names:
        return "it is empty"
    return f"found {', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"


def has_parts(root: Path) -> bool:
    """Whether a folder is divided into train/ and test/."""
    return (root / "train").is_dir() and (root / "test").is_dir()


def folder_manifest(root: Path) -> Iterator[str]:
    """Name what decides the content: each file's path and size, and the beginning of some of them.

    Cheap and the same for a copy elsewhere. It fails to notice a single image replaced by one of the same size.
    """
    paths = []
    for part, tree in _trees(root).items():
        for files in tree.files.values():
            for path, size in files:
                paths.append(f"{part}/{path}")
                yield f"{part}/{path} {size}"
    for position in np.unique(np.linspace(0, len(paths) - 1, NUM_SAMPLED).astype(int)):
        with (root / paths[position]).open("rb") as stream:
            yield hashlib.sha256(stream.read(SAMPLED_BYTES)).hexdigest()


def scan_folder(root: Path, size: int | None) -> Listing:
    """List a folder of images.

    Args:
        root: Holds train/<class>/ and test/<class>/, or <class>/.
        size: Side in pixels that the images are squeezed into; None keeps theirs.

    Raises:
        LayoutError: Nothing is there, or not in this form.
    """
    trees = _trees(root)
    classes = tuple(sorted(trees[next(iter(trees))].files))
    parts = {name: _make_part(root, name, tree, classes, size) for name, tree in trees.items()}
    num_ignored = sum(tree.num_ignored for tree in trees.values())
    if "test" in parts:
        return Listing(classes=classes, train=parts["train"], test=parts["test"], num_ignored=num_ignored)
    return Listing(classes=classes, train=parts["."], test=None, num_ignored=num_ignored)


def _make_part(root: Path, name: str, tree: Tree, classes: tuple[str, ...], size: int | None) -> Part:
    ids, labels = [], []
    for label, class_name in enumerate(classes):
        for path, _ in tree.files[class_name]:
            ids.append(path if name == "." else f"{name}/{path}")
            labels.append(label)
    names = tuple(ids)
    square = None if size is None else (size, size)
    return Part(
        ids=names,
        labels=np.array(labels, dtype=np.int64),
        read=lambda position: read_image(root / names[position], square),
    )


def _trees(root: Path) -> dict[str, Tree]:
    """Read the tree of each part, `.` where there is only one, and check that it is one of the known layouts."""
    known = "train/<class>/ and test/<class>/, or <class>/ folders, with images in them"
    if not root.is_dir() or (not has_parts(root) and ((root / "train").exists() or (root / "test").exists())):
        raise LayoutError(f"data.root {root}: looked for {known}; {describe_folder(root)}")
    trees = {name: _walk(root / name) for name in (("train", "test") if has_parts(root) else (".",))}
    faults = []
    for name, tree in trees.items():
        place = root / name
        if len(tree.files) < 2:
            faults.append(
                f"data.root {place}: at least 2 class folders are needed, got {len(tree.files)}; looked for {known}; "
                f"{describe_folder(place)}"
            )
        faults += [
            f"data.root {place / class_name}: no image in this class folder ({', '.join(sorted(EXTENSIONS))}); "
            f"{describe_folder(place / class_name)}"
            for class_name, files in tree.files.items()
            if not files
        ]
    if len(trees) == 2:
        faults += _one_sided(root, trees)
    if faults:
        raise LayoutError(*faults)
    return trees


def _one_sided(root: Path, trees: dict[str, Tree]) -> Iterator[str]:
    for here, there in (("train", "test"), ("test", "train")):
        for name in sorted(trees[here].files.keys() - trees[there].files.keys()):
            num_images = len(trees[here].files[name])
            yield f"data.root {root}: class {name} has {num_images} images in {here}/ and no folder in {there}/"


def _walk(folder: Path) -> Tree:
    """Find the image files of each class folder, at any depth; hidden files and folders are left alone."""
    files, num_ignored = {}, 0
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        found: list[tuple[str, int]] = []
        waiting = [(entry.path, entry.name)]
        while waiting:
            path, below = waiting.pop()
            for item in os.scandir(path):
                if item.name.startswith("."):
                    continue
                if item.is_dir():
                    waiting.append((item.path, f"{below}/{item.name}"))
                elif item.name[item.name.rfind(".") :].lower() in EXTENSIONS:
                    found.append((f"{below}/{item.name}", item.stat().st_size))
                else:
                    num_ignored += 1
        files[entry.name] = tuple(sorted(found))
    return Tree(files=files, num_ignored=num_ignored)
