"""Anybody's images in class folders: train/ and test/, or one folder that is split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
    """The image files of one part, by class."""

    files: dict[str, tuple[str, ...]]
    """Class folder -> paths below the part's folder, sorted."""
    num_ignored: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Folders that are no class -> images in them."""


Trees = dict[str, Tree]
"""Folder of a part below the root (`.` is the root itself) -> its images. The training part comes first."""


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
    """Name what decides the content: see `to_manifest`."""
    return to_manifest(root, _trees(root))


def scan_folder(root: Path, size: int | None) -> Listing:
    """List a folder of images.

    Args:
        root: Holds train/<class>/ and test/<class>/, or <class>/.
        size: Side in pixels that the images are squeezed into; None keeps theirs.

    Raises:
        LayoutError: Nothing is there, or not in this form.
    """
    return to_listing(root, _trees(root), size)


def to_manifest(root: Path, trees: Trees) -> Iterator[str]:
    """Name what decides the content: each file's class, path and size, and the beginning of some of them.

    Cheap and the same for a copy elsewhere. It fails to notice a single image replaced by one of the same size.
    """
    paths: list[str] = []
    base = f"{root}/"
    for part, tree in trees.items():
        for class_name, files in tree.files.items():
            for path in files:
                paths.append(f"{part}/{path}")
                size = os.stat(base + paths[-1]).st_size  # noqa: PTH116  a Path costs more than the question
                yield f"{class_name} {paths[-1]} {size}"
    chosen = np.unique(np.linspace(0, len(paths) - 1, NUM_SAMPLED).astype(int))
    yield from sample_digests(root / paths[position] for position in chosen)


def sample_digests(paths: Iterable[Path]) -> Iterator[str]:
    """Digest the beginning of each file."""
    for path in paths:
        with path.open("rb") as stream:
            yield hashlib.sha256(stream.read(SAMPLED_BYTES)).hexdigest()


def to_listing(root: Path, trees: Trees, size: int | None, names: Mapping[str, str] | None = None) -> Listing:
    """List the images of one or two parts.

    Args:
        root: What the names of the parts are relative to.
        trees: The training part, and the test part where there is one.
        size: Side in pixels that the images are squeezed into; None keeps theirs.
        names: What the class folders are called for people; None takes the folders' names.
    """
    folders = tuple(sorted(next(iter(trees.values())).files))
    parts = [_make_part(root, name, tree, folders, size) for name, tree in trees.items()]
    return Listing(
        classes=folders if names is None else tuple(names[folder] for folder in folders),
        train=parts[0],
        test=parts[1] if len(parts) == 2 else None,
        num_ignored=sum(tree.num_ignored for tree in trees.values()),
        left_out={name: number for tree in trees.values() for name, number in tree.left_out.items()},
    )


def _make_part(root: Path, name: str, tree: Tree, folders: tuple[str, ...], size: int | None) -> Part:
    paths = [path for folder in folders for path in tree.files[folder]]
    ids = tuple(path if name == "." else f"{name}/{path}" for path in paths)
    square = None if size is None else (size, size)
    base = f"{root}/"  # joining paths would take a tenth of a small image's decoding
    return Part(
        ids=ids,
        labels=np.repeat(np.arange(len(folders)), [len(tree.files[folder]) for folder in folders]),
        read=lambda position: read_image(base + ids[position], square),
    )


def _trees(root: Path) -> Trees:
    """Read the images of each part, and check that they lie in one of the known layouts."""
    known = "train/<class>/ and test/<class>/, or <class>/ folders, with images in them"
    if not root.is_dir() or (not has_parts(root) and ((root / "train").exists() or (root / "test").exists())):
        raise LayoutError(f"data.root {root}: looked for {known}; {describe_folder(root)}")
    trees = {name: walk(root / name) for name in (("train", "test") if has_parts(root) else (".",))}
    check_trees(root, trees, known)
    return trees


def check_trees(root: Path, trees: Trees, known: str) -> None:
    """Check that each part has at least two classes with images in them, and all parts the same ones.

    Args:
        root: What the names of the parts are relative to.
        trees: The parts.
        known: The layout that was looked for, in words.

    Raises:
        LayoutError: With every fault.
    """
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


def _one_sided(root: Path, trees: Trees) -> Iterator[str]:
    for here, there in (tuple(trees), tuple(trees)[::-1]):
        for name in sorted(trees[here].files.keys() - trees[there].files.keys()):
            num_images = len(trees[here].files[name])
            yield f"data.root {root}: class {name} has {num_images} images in {here}/ and no folder in {there}/"


def walk(folder: Path, leave_out: Collection[str] = ()) -> Tree:
    """Find the image files of each class folder, at any depth; hidden files and folders are left alone."""
    tree = Tree(files={})
    num_ignored = 0
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        files, num_others = _walk_class(entry)
        if entry.name in leave_out:
            tree.left_out[entry.name] = len(files)
        else:
            tree.files[entry.name] = files
            num_ignored += num_others
    return replace(tree, num_ignored=num_ignored)


def _walk_class(entry: os.DirEntry[str]) -> tuple[tuple[str, ...], int]:
    """Image files below a class folder, and the number of other files."""
    found: list[str] = []
    num_others = 0
    waiting = [(entry.path, entry.name)]
    while waiting:
        path, below = waiting.pop()
        for item in os.scandir(path):
            if item.name.startswith("."):
                continue
            if item.is_dir():
                waiting.append((item.path, f"{below}/{item.name}"))
            elif is_image(item.name):
                found.append(f"{below}/{item.name}")
            else:
                num_others += 1
    return tuple(sorted(found)), num_others


def is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    return name[name.rfind(".") :].lower() in EXTENSIONS
