"""The user's own images, in class folders with or without train/, val/ and test/ around them, or with a table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from search.data.checking import check_trees, unknown_classes
from search.data.files import open_regular
from search.data.images import read_image
from search.data.labels import find_tables, to_trees
from search.data.layout import KNOWN, find_layout
from search.data.listing import Listing, Part, Use
from search.data.walk import Tree, Trees, folders_of, walk

NUM_SAMPLED = 256
"""Number of files whose first bytes are part of the manifest; names and sizes of all files are."""
SAMPLED_BYTES = 1 << 16


def has_parts(root: Path) -> bool:
    """Return whether a folder contains train/ and test/."""
    return (root / "train").is_dir() and (root / "test").is_dir()


def folder_manifest(root: Path, use: Use) -> Iterator[str]:
    """Yield the lines of the content manifest; see `to_manifest`."""
    place, trees, table = _trees(root, use)
    yield from to_manifest(place, trees)
    if table:
        yield table
        yield from (f"{name} {number}" for name, number in trees["train"].left_out.items())


def scan_folder(root: Path, size: int | None, use: Use) -> Listing:
    """List the images of a folder.

    Args:
        root: Contains <class>/ folders, or train/<class>/ and optionally val/<class>/ and test/<class>/, or a table of
            labels (see `labels.py`).
        size: Side in pixels that images are resized to; None keeps their sizes.
        use: The classes and parts that the study needs.

    Raises:
        LayoutError: The folder is empty or has another layout.
    """
    place, trees, table = _trees(root, use)
    return replace(to_listing(place, trees, size), table=table)


def to_manifest(place: Path, trees: Trees) -> Iterator[str]:
    """Yield the lines of the content manifest: class, path and size of each file, and digests of a sample.

    The manifest is the same for a copy in another place. An image that is replaced by one of the same size may not be
    detected, as only a sample of the files is read.
    """
    paths: list[str] = []
    base = f"{place}/"
    for role, tree in trees.items():
        if role == "val":
            yield f"validation part {tree.folder}"
        elif role == "test" and tree.folder == ".":  # a table divides one folder into parts
            yield "test part"
        for class_name, files in tree.files.items():
            for path in files:
                paths.append(f"{tree.folder}/{path}")
                size = os.stat(base + paths[-1]).st_size  # noqa: PTH116  faster than Path
                yield f"{class_name} {paths[-1]} {size}"
    chosen = np.unique(np.linspace(0, len(paths) - 1, NUM_SAMPLED).astype(int)) if paths else ()
    for position in chosen:
        try:
            yield from sample_digests([place / paths[position]])
        except PermissionError:  # reported with all others when the images are decoded
            yield "no permission"


def sample_digests(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a digest of the first bytes of each file."""
    for path in paths:
        with open_regular(path) as stream:
            yield hashlib.sha256(stream.read(SAMPLED_BYTES)).hexdigest()


def to_listing(place: Path, trees: Trees, size: int | None, names: Mapping[str, str] | None = None) -> Listing:
    """List the images of one to three parts.

    Args:
        place: Folder that the names of the parts are relative to.
        trees: The training part and, if they exist, the validation and test parts.
        size: Side in pixels that images are resized to; None keeps their sizes.
        names: Class folder -> displayed class name; None uses the folder names.
    """
    shown = names or {}
    folders = tuple(sorted(trees["train"].files))
    brightest: list[int] = []
    parts = {role: _make_part(place, tree, folders, size, brightest) for role, tree in trees.items()}
    num_folders = {name: max(len(list(folders_of(tree.files[name]))) for tree in trees.values()) for name in folders}
    return Listing(
        classes=tuple(shown.get(folder, folder) for folder in folders),
        train=parts["train"],
        val=parts.get("val"),
        test=parts.get("test"),
        folders={role: tree.folder for role, tree in trees.items()},
        num_ignored=sum(tree.num_ignored for tree in trees.values()),
        left_out={name: number for tree in trees.values() for name, number in tree.left_out.items()},
        merged={shown.get(name, name): number for name, number in num_folders.items() if number > 1},
    )


def _make_part(place: Path, tree: Tree, folders: tuple[str, ...], size: int | None, brightest: list[int]) -> Part:
    paths = [path for folder in folders for path in tree.files[folder]]
    ids = tuple(path if tree.folder == "." else f"{tree.folder}/{path}" for path in paths)
    square = None if size is None else (size, size)
    base = f"{place}/"  # joining paths takes a tenth of the decoding time of a small image
    return Part(
        ids=ids,
        labels=np.repeat(np.arange(len(folders)), [len(tree.files[folder]) for folder in folders]),
        read=lambda position: read_image(base + ids[position], square, brightest),
        brightest=brightest,
    )


def _trees(root: Path, use: Use) -> tuple[Path, Trees, str]:
    """Find the parts and their images, and check them; also return the name of the table of labels, if there is one."""
    if root.is_dir() and (tables := find_tables(root)):
        name = next(iter(tables.values())).path.name
        known = f"at least two classes in {name}"
        return root, choose_trees(root, to_trees(root, tables, use), use, known), name
    layout = find_layout(root, use)
    trees = {role: walk(layout.place, folder) for role, folder in layout.folders.items()}
    beside = {f"{name}/": _count_images(layout.place, name) for name in layout.left_out}
    trees["train"].left_out.update(beside)
    return layout.place, choose_trees(layout.place, trees, use, KNOWN), ""


def _count_images(place: Path, name: str) -> int:
    tree = walk(place, name)
    return sum(map(len, tree.files.values())) + sum(tree.left_out.values())


def choose_trees(place: Path, trees: Trees, use: Use, known: str, names: Mapping[str, str] | None = None) -> Trees:
    """Keep the requested parts and classes, and check them.

    Args:
        place: Folder that the names of the parts are relative to.
        trees: The parts.
        use: The classes and parts that the study needs.
        known: Description of the expected layout.
        names: Class folder -> displayed class name; None uses the folder names.

    Raises:
        LayoutError: Lists every fault of the kept parts and classes.
        DataError: A requested class does not exist.
    """
    if not use.needs_test:
        trees = {role: tree for role, tree in trees.items() if role != "test"}
    if use.classes:
        shown = {folder: (names or {}).get(folder, folder) for folder in trees["train"].files}
        unknown_classes(use.classes, sorted(shown.values()))
        kept = {folder for folder, name in shown.items() if name in use.classes}
        trees = {role: _keep(tree, kept) for role, tree in trees.items()}
    check_trees(place, trees, known, named=bool(use.classes))
    return trees


def _keep(tree: Tree, kept: set[str]) -> Tree:
    return replace(
        tree,
        files={name: files for name, files in tree.files.items() if name in kept},
        problems={name: found for name, found in tree.problems.items() if name in kept},
    )
