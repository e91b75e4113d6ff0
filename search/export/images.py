"""Find the images that a prediction is asked for: files, folders, patterns, CSV lists, and folders of classes."""

from __future__ import annotations

import csv
import difflib
import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.errors import InputError

LIST = ".csv"
"""Suffix of a file that lists image files."""
COLUMNS = ("image", "path", "file", "filename", "file_name")
"""Headings of the column of a list that names the image files."""
NUM_NAMED = 5
"""Number of names that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A path without a prediction."""

    path: str
    reason: str
    """One line, with the path."""


Labelled = Iterator[tuple[Path | Unread, str | None]]
"""Images with the names of their classes, None where the class is unknown."""


def find_images(paths: Iterable[Path]) -> Iterator[Path | Unread]:
    """Yield the image files of some paths in order, and an `Unread` for each path that is not a readable regular file.

    Args:
        paths: Image files; folders, which are searched recursively; patterns such as `images/*.png`; CSV files with a
            column of image files. In folders, hidden files and files without an image suffix are skipped, and symbolic
            links to folders are not followed.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  unlike a Path's, it never raises
            yield from _in_folder(path)
        elif not os.path.lexists(path) and glob.has_magic(str(path)):
            matches = _matching(path)
            if not matches:
                yield Unread(path=str(path), reason=f"{path}: no file matches this pattern; correct the pattern")
            for match in matches:
                yield from _in_folder(match) if os.path.isdir(match) else _in_file(match)  # noqa: PTH112
        else:
            yield from _in_file(path)


def find_labelled(paths: Sequence[Path], classes: Sequence[str]) -> tuple[Labelled, bool]:
    """Find the images of some paths, and their classes where a folder has sub-folders that are named like classes.

    Args:
        paths: As for `find_images`.
        classes: Class names of the model.

    Returns:
        Each image with the name of its class, or None if it is unknown; and whether any folder has classes.

    Raises:
        InputError: Some sub-folders of a folder are classes and others are not.
    """
    labelled = [check_classes(path, classes) for path in paths]

    def find() -> Labelled:
        for path, has_classes in zip(paths, labelled, strict=True):
            for found in find_images([path]):
                if isinstance(found, Unread) or not has_classes:
                    yield found, None
                    continue
                parts = found.relative_to(path).parts
                yield found, parts[0] if len(parts) > 1 else None

    return find(), any(labelled)


def check_classes(folder: Path, classes: Sequence[str]) -> bool:
    """Return whether the sub-folders of a folder that contain images are classes of the model.

    Returns:
        True if all of them are; False if none of them resembles a class, or if it is not a folder.

    Raises:
        InputError: Some of them are, or differ from a class only in case.
    """
    if not os.path.isdir(folder):  # noqa: PTH112  unlike a Path's, it never raises
        return False
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."
            )
    except OSError:
        return False  # `find_images` reports it
    found = [name for name in names if any(isinstance(image, Path) for image in _in_folder(folder / name))]
    known = {name.casefold() for name in classes}
    unknown = [name for name in found if name not in classes]
    if len(unknown) == len(found) and not any(name.casefold() in known for name in found):
        return False
    if not unknown:
        return True
    similar = {name.casefold(): name for name in classes}
    near = [
        similar[match]
        for name in unknown[:1]
        for match in difflib.get_close_matches(name.casefold(), list(similar), n=1, cutoff=0.5)
    ]
    meant = f" (did you mean {near[0]}?)" if near else ""
    others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    listed = ", ".join(classes[:NUM_NAMED]) + (", ..." if len(classes) > NUM_NAMED else "")
    raise InputError(
        f"{folder}: expected sub-folders named like classes of the model ({listed}), found {unknown[0]}{meant}{others};"
        f" rename it or move it elsewhere, or classify without classes: '{folder}/*/*'"
    )


def _matching(pattern: Path) -> list[Path]:
    """Return the sorted matches of a pattern; as in a shell, `**` follows no links and wildcards skip hidden names."""
    base = Path(pattern.anchor or ".")
    found = base.glob(str(pattern.relative_to(pattern.anchor)))
    hidden = {part for part in pattern.parts if part.startswith(".")}
    return sorted(path for path in found if hidden.issuperset(part for part in path.parts if part.startswith(".")))


def _in_folder(folder: Path) -> Iterator[Path | Unread]:
    from search.data.images import EXTENSIONS

    unread: list[Unread] = []

    def refuse(error: OSError) -> None:
        place = str(error.filename or folder)
        unread.append(Unread(path=place, reason=f"{place}: cannot be listed ({error.strerror}); remove it"))

    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            link = os.path.join(place, name)  # noqa: PTH118  of names that may be no text
            if os.path.islink(link):  # noqa: PTH114
                unread.append(Unread(path=link, reason=f"{link}: is a link to a folder; name the folder itself"))
        found += (
            Path(place, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122  of a name
        )
    if not found and not unread:
        endings = ", ".join(sorted(EXTENSIONS))
        yield Unread(path=str(folder), reason=f"{folder}: expected image files ({endings}) in this folder, found none")
    yield from map(_regular, sorted(found))
    yield from unread


def _in_file(path: Path) -> Iterator[Path | Unread]:
    """Yield an image file, or the image files that a list names."""
    found = _regular(path)
    if isinstance(found, Unread) or path.suffix.lower() != LIST:
        yield found
    else:
        yield from _in_list(path)


def _in_list(file: Path) -> Iterator[Path | Unread]:
    """Yield the image files of a list. Their paths are relative to its folder."""
    try:
        # Bytes that are not UTF-8 stay what they are, as in names of files.
        with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            rows = csv.reader(stream)
            first = next(rows, [])
            column = _column(first)
            if isinstance(column, str):
                yield Unread(path=str(file), reason=f"{file}: {column}")
                return
            if column is None:
                column = 0
                yield _regular(file.parent / first[0])
            for row in rows:
                if not row:
                    continue
                if len(row) <= column or not row[column]:
                    where = f"{file}, line {rows.line_num}"
                    yield Unread(path=str(file), reason=f"{where}: expected an image file, found none; add its path")
                    continue
                yield _regular(file.parent / row[column])
    except OSError as error:
        yield Unread(path=str(file), reason=f"{file}: cannot be read ({error.strerror}); correct the path")
    except csv.Error as error:
        yield Unread(path=str(file), reason=f"{file}: expected a CSV file of image files ({error}); correct the file")


def _column(first: list[str]) -> int | str | None:
    """Return the position of the column of image files; None if the first row is an image file; or what is wrong."""
    from search.data.images import EXTENSIONS

    named = [at for at, name in enumerate(first) if name.strip().lower() in COLUMNS]
    if len(named) == 1:
        return named[0]
    if len(first) == 1 and Path(first[0]).suffix.lower() in EXTENSIONS:
        return None
    found = ", ".join(name.strip() for name in first[:NUM_NAMED]) or "nothing"
    wanted = "one column" if named else "a column"
    return f"expected {wanted} {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]} in its first row, found {found}; rename it"


def _regular(path: Path) -> Path | Unread:
    """Return the path of a regular file, or why it is not one: reading a pipe or a device may never return."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Unread(
            path=str(path), reason=f"{path}: cannot be read ({error.strerror}); correct the path, or remove it"
        )
    except ValueError as error:
        return Unread(path=str(path), reason=f"{path}: cannot be read ({error}); correct the path")
    if not stat.S_ISREG(mode):
        return Unread(
            path=str(path), reason=f"{path}: expected an image file, found a pipe, socket or device; remove it"
        )
    return path
