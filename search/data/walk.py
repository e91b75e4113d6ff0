"""Find the image files below a folder of classes, and report entries that cannot be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from search.data.files import kind_of
from search.data.images import EXTENSIONS

SYSTEM_FOLDERS = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders created by archivers and operating systems; never classes."""

DANGLING, LOOP, SPECIAL, DENIED = "dangling", "loop", "special", "denied"
"""Kinds of problem."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file or folder that cannot be read."""

    kind: str
    path: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The image files of one part, grouped by class."""

    folder: str
    """The part's folder relative to the place; `.` for the place itself."""
    files: dict[str, tuple[str, ...]]
    """Class folder -> sorted paths relative to the part's folder."""
    num_ignored: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Folders that are not classes -> number of images in them."""
    problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    """Class folder -> its unreadable entries; dangling links beside the classes count as classes."""


Trees = dict[str, Tree]
"""Part (train, val, test, in this order) -> its images."""


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image."""
    return name[name.rfind(".") :].lower() in EXTENSIONS


def walk(place: Path, folder: str, leave_out: Collection[str] = ()) -> Tree:
    """Find the image files of each class folder at any depth; hidden files and folders are ignored.

    Args:
        place: Folder that the part is relative to.
        folder: The part's folder.
        leave_out: Names of folders that are not classes.
    """
    tree = Tree(folder=folder, files={})
    num_ignored = num_loose = 0
    real = (place / folder).resolve()
    above = tuple(_identity(path) for path in (real, *real.parents))
    for entry in sorted(os.scandir(place / folder), key=lambda item: item.name):
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            continue
        kind, problem = _inspect(entry)
        if problem is not None:
            tree.problems[entry.name] = (problem,)
        elif kind == "folder":
            files, num_others, problems = _walk_class(entry, above)
            if entry.name in leave_out:
                tree.left_out[entry.name] = len(files)
                continue
            tree.files[entry.name] = files
            num_ignored += num_others
            if problems:
                tree.problems[entry.name] = tuple(problems)
        else:
            num_loose += kind == "image"
    if num_loose:
        tree.left_out[f"{folder}/ (without a class folder)"] = num_loose
    return Tree(
        folder=folder, files=tree.files, num_ignored=num_ignored, left_out=tree.left_out, problems=tree.problems
    )


def _identity(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _walk_class(
    entry: os.DirEntry[str], above: tuple[tuple[int, int], ...]
) -> tuple[tuple[str, ...], int, list[Problem]]:
    """Return the image files below a class folder, the number of other files, and the unreadable entries."""
    found: list[str] = []
    problems: list[Problem] = []
    num_others = 0
    waiting = [(entry.path, entry.name, above)]
    while waiting:
        path, below, above = waiting.pop()
        try:
            items = list(os.scandir(path))
            here = _identity(path)
        except OSError as error:
            problems.append(Problem(kind=DENIED, path=path, reason=error.strerror or "unreadable"))
            continue
        if here in above:  # a link leads back to a parent folder
            problems.append(Problem(kind=LOOP, path=path))
            continue
        for item in items:
            if item.name.startswith("."):
                continue
            kind, problem = _inspect(item)
            if problem is not None:
                problems.append(problem)
            elif kind == "folder":
                waiting.append((item.path, f"{below}/{item.name}", (*above, here)))
            elif kind == "image":
                found.append(f"{below}/{item.name}")
            else:
                num_others += 1
    return tuple(sorted(found)), num_others, problems


def _inspect(entry: os.DirEntry[str]) -> tuple[str, Problem | None]:
    """Classify an entry as folder, image or other without opening it; also return its problem, if any.

    Only links need a call to the file system.
    """
    if entry.is_dir(follow_symlinks=False):
        return "folder", None
    image = is_image(entry.name)
    if not entry.is_symlink():
        if entry.is_file(follow_symlinks=False) or not image:
            return "image" if image else "other", None
        return "other", Problem(kind=SPECIAL, path=entry.path, reason=_kind(entry, follow=False))
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError:
        if "." in entry.name and not image:
            return "other", None
        return "other", Problem(kind=DANGLING, path=entry.path)
    except OSError as error:
        loops = "symbolic links" in (error.strerror or "")
        return "other", Problem(kind=LOOP if loops else DENIED, path=entry.path, reason=error.strerror or "unreadable")
    if stat.S_ISDIR(mode):
        return "folder", None
    if image and not stat.S_ISREG(mode):
        return "other", Problem(kind=SPECIAL, path=entry.path, reason=_kind(entry, follow=True))
    return "image" if image else "other", None


def _kind(entry: os.DirEntry[str], *, follow: bool) -> str:
    try:
        kind = kind_of(entry.stat(follow_symlinks=follow).st_mode)
    except OSError:
        kind = "a special file"
    return f"a link to {kind}" if follow else kind


def folders_of(files: tuple[str, ...]) -> Iterator[str]:
    """Yield each folder that contains images of a class once."""
    yield from dict.fromkeys(path.rpartition("/")[0] for path in files)
