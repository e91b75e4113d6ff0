"""Find out which folders below a root are training, validation and test parts, and which are classes.

Parts are recognised by name, regardless of case and common additions: train, Training, seg_train, images_test, val2017.
Ambiguous layouts are refused, and the error lists the ways to resolve them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.data.errors import LayoutError, some
from search.data.listing import PARTS, Use
from search.data.walk import SYSTEM_FOLDERS, is_image
from search.text.printable import printable

KNOWN = "train/<class>/ with val/<class>/ and test/<class>/ or without, or <class>/ folders, with images in them"
"""Description of the known layouts."""
ROLES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
"""Part -> words that identify it."""
FILLERS = "set|sets|data|dataset|images|image|imgs|img|pics|photos|samples|split|part|subset|folder|original|raw"
"""Additional words that the name of a part may contain; digits and separators are ignored."""
UNCLEAR = re.compile(
    r"(k?fold|cv|split|part|partition|subset)[\W_]*\d+|(eval|evaluation|holdout|hold[\W_]out|heldout|unlabell?ed)s?"
)
"""Names that are unlikely to be classes but do not identify a part."""
MAX_WRAPPERS = 4
"""Largest number of single nested folders around the images, as created by archives."""

_ROLE_OF = {word: role for role, words in ROLES.items() for word in words}
_WORDS = "|".join(sorted(_ROLE_OF, key=len, reverse=True))
_PART = re.compile(rf"(?:{FILLERS})*({_WORDS})(?:{FILLERS})*")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders that contain the class folders of each part."""

    place: Path
    """Folder that the others are relative to."""
    folders: Mapping[str, str]
    """Part (train, val, test, in this order) -> its folder; `.` if the place itself contains the classes."""
    left_out: tuple[str, ...] = ()
    """Folders beside the parts that are not used."""


def role_of(name: str) -> str | None:
    """Return the part that a folder name refers to, or None.

    >>> role_of("images_test")
    'test'
    """
    found = _PART.fullmatch(re.sub(r"[\W_\d]+", "", name.casefold()))
    return _ROLE_OF[found[1]] if found else None


def roles_of(names: Sequence[str]) -> dict[str, str]:
    """Return the part of each sibling folder that is one.

    Folders are recognised by their own name, or because they differ only in the word for the part: flowers-train and
    flowers-test.
    """
    roles = {name: role for name in names if (role := role_of(name))}
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = [word for word in re.split(r"[\W_]+", name.casefold()) if word]
        said = [word for word in words if word in _ROLE_OF]
        if name not in roles and len(said) == 1:
            groups.setdefault(tuple(word for word in words if word != said[0]), {})[name] = _ROLE_OF[said[0]]
    for group in groups.values():
        if len(set(group.values())) > 1:
            roles |= group
    return roles


def find_layout(root: Path, use: Use) -> Layout:
    """Find the parts below a root.

    Args:
        root: Folder of the images.
        use: The classes and parts that the study needs. Folders that it lists as classes are always classes.

    Raises:
        LayoutError: No images are found, or the layout is ambiguous.
    """
    if not root.is_dir():
        raise LayoutError(f"{at(root)}: looked for {KNOWN}; {describe_folder(root)}")
    place = _inside(root, use) or root
    if (place / "val" / "val_annotations.txt").is_file() and len(_class_folders(place / "val")) < 2:
        raise LayoutError(
            f"{at(place)}: this is Tiny ImageNet as its archive has it, with the labels of val/ in a list; set "
            "data.name to tiny-imagenet"
        )
    return _layout_of(place, use)


def _inside(place: Path, use: Use, levels: int = MAX_WRAPPERS) -> Path | None:
    """Return the inner folder if an archive has wrapped the images in folders that contain nothing else.

    The inner folder must have the name of the outer one, contain parts, or contain the requested classes. Otherwise it
    may be a class, and None is returned.
    """
    names = subfolders(place)
    if len(names) != 1 or not levels or _has_images(place, deep=False) or roles_of(names):
        return None
    inner = place / names[0]
    inside = subfolders(inner)
    same = names[0].casefold() == place.name.casefold() and len(inside) > 1
    if same or roles_of(inside) or _names_classes(inner, use):
        return inner
    return _inside(inner, use, levels - 1) if len(inside) == 1 else None


def _names_classes(place: Path, use: Use) -> bool:
    return bool(use.classes) and set(use.classes) <= set(subfolders(place))


def _layout_of(place: Path, use: Use) -> Layout:
    names = subfolders(place)
    if _names_classes(place, use):
        return Layout(place=place, folders={"train": "."})
    roles = roles_of(names)
    _refuse_lost(place)
    unclear = [name for name in names if name not in roles and UNCLEAR.fullmatch(name.casefold())]
    if not roles:
        if unclear:
            raise LayoutError(_describe_unclear(place, unclear))
        _refuse_alike(place, names)
        _refuse_wrapper(place, names)
        return Layout(place=place, folders={"train": "."})
    filled = {role for name, role in roles.items() if _has_images(place / name)}
    # Of labels-train/ and images-train/ only one contains images; if no folder of a part does, that is a fault.
    parts = {name: role for name, role in roles.items() if role not in filled or _has_images(place / name)}
    others = [name for name in names if name not in parts and _has_images(place / name)]
    whole = [name for name in unclear if name in others and _class_folders(place / name)]
    if whole:
        raise LayoutError(_describe_unclear(place, whole))
    _refuse_mixture(place, parts, others)
    _refuse_twice(place, parts)
    if "train" not in parts.values():
        raise LayoutError(_describe_no_training(place, parts))
    folders = {role: _unwrapped(place, name) for role in PARTS for name in parts if parts[name] == role}
    return Layout(place=place, folders=folders, left_out=tuple(others))


def _unwrapped(place: Path, name: str) -> str:
    """Return a part's folder, or the inner one that an archive has wrapped, such as seg_train/seg_train."""
    found = name
    for _ in range(MAX_WRAPPERS):
        inside = subfolders(place / found)
        alone = len(inside) == 1 and not _has_images(place / found, deep=False)
        if not alone or not _class_folders(place / found / inside[0]):
            return found
        means_part = inside[0].casefold() == name.casefold() or role_of(inside[0]) == role_of(name) is not None
        if not means_part and not re.fullmatch(rf"(?:{FILLERS})+", inside[0].casefold()):
            return found
        found = f"{found}/{inside[0]}"
    return found


def _refuse_mixture(place: Path, parts: Mapping[str, str], others: Sequence[str]) -> None:
    """Refuse folders of which some are named like parts and some like classes, unless the parts are certain."""
    if not others or (len(set(parts.values())) > 1 and all(_class_folders(place / name) for name in parts)):
        return
    names, more = some([f"{name}/" for name in parts]), some([f"{name}/" for name in others])
    if len(parts) == 1:
        raise LayoutError(
            f"{at(place)}: {names} has the name of a part of a data set, next to {more}; if it is a class like the "
            "others, list all classes in data.classes; if it is a part, move the other folders elsewhere"
        )
    raise LayoutError(
        f"{at(place)}: {names} have names of parts of a data set, next to {more}; if they are classes like the "
        "others, list all classes in data.classes; if they are parts, sort their images into <class>/ folders and "
        "move the other folders elsewhere"
    )


def _refuse_lost(place: Path) -> None:
    """Refuse a dangling link with the name of a part, as another folder would silently replace it."""
    lost = sorted(
        entry.name for entry in os.scandir(place) if entry.is_symlink() and role_of(entry.name) and not _exists(entry)
    )
    if lost:
        raise LayoutError(f"{at(place)}: the link {some(lost)} is broken; remove it, or restore its target")


def _exists(entry: os.DirEntry[str]) -> bool:
    try:
        entry.stat()
    except OSError:
        return False
    return True


def _refuse_twice(place: Path, parts: Mapping[str, str]) -> None:
    faults = []
    for role, words in (("train", "training"), ("val", "validation"), ("test", "test")):
        names = [f"{name}/" for name in parts if parts[name] == role]
        if len(names) > 1:
            faults.append(
                f"{at(place)}: {some(names, 5)} all look like the {words} part; keep one of them, or merge them into "
                f"{role}/"
            )
    same: dict[tuple[int, int], list[str]] = {}
    for name in parts:
        found = (place / name).stat()
        same.setdefault((found.st_dev, found.st_ino), []).append(f"{name}/")
    faults += [
        f"{at(place)}: {' and '.join(names)} are the same folder, one of them by a link; each part needs its own images"
        for names in same.values()
        if len(names) > 1
    ]
    if faults:
        raise LayoutError(*faults)


def _refuse_alike(place: Path, names: Sequence[str]) -> None:
    """Refuse folders that all contain the same folders of images: the inner ones are the classes."""
    if len(names) < 2:
        return
    common = set(_class_folders(place / names[0]))
    for name in names[1:]:
        if len(common) < 2:
            return
        common &= set(subfolders(place / name))
    if len(common) < 2:
        return
    outer, inner = some([f"{name}/" for name in names]), some([f"{name}/" for name in sorted(common)])
    if roles_of(sorted(common)):
        raise LayoutError(
            f"{at(place)}: {outer} each contain {inner}; the parts must be outside, the classes inside: <part>/<class>/"
        )
    raise LayoutError(
        f"{at(place)}: {outer} all contain the same folders ({inner}), so they look like parts, not classes; name "
        "them train/, val/ and test/, point data.root to one of them, or list them in data.classes if they are "
        "classes"
    )


def _refuse_wrapper(place: Path, names: Sequence[str]) -> None:
    """Refuse a single folder around several folders, which may be a wrapper or a class."""
    if len(names) == 1 and len(inside := _class_folders(place / names[0])) > 1:
        raise LayoutError(
            f"{at(place)}: at least 2 class folders are needed, got 1, {printable(names[0])}/; it contains "
            f"{some([f'{name}/' for name in inside])}: if those are the classes, set data.root to "
            f"{printable(str(place / names[0]))}"
        )


def _describe_unclear(place: Path, names: Sequence[str]) -> str:
    shown = some([f"{name}/" for name in names])
    if any(character.isdigit() for character in "".join(names)):
        return (
            f"{at(place)}: {shown} look like folds or parts of one data set, which are neither read as classes nor "
            "joined; merge them into <class>/ folders or into train/, val/ and test/, point data.root to one of them, "
            "or list them in data.classes if they are classes"
        )
    return (
        f"{at(place)}: it is not clear which part {shown} should be; rename it to val/ or test/, move it elsewhere, or "
        "list it in data.classes if it is a class"
    )


def _describe_no_training(place: Path, parts: Mapping[str, str]) -> str:
    names = [f"{name}/" for name in parts]
    first = next(iter(parts))
    return (
        f"{at(place)}: found {some(names)} and no training part; put the training images into train/<class>/, or set "
        f"data.root to {printable(str(place / first))} to hold out a test part of its images"
    )


def subfolders(folder: Path) -> list[str]:
    """Return the sorted names of subfolders, without hidden and system folders."""
    found = []
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            continue
        try:
            if entry.is_dir():
                found.append(entry.name)
        except OSError:  # a link to itself
            continue
    return sorted(found)


def _class_folders(folder: Path) -> list[str]:
    """Return the subfolders that contain images at any depth."""
    return [name for name in subfolders(folder) if _has_images(folder / name)]


def _has_images(folder: Path, *, deep: bool = True, levels: int = 6) -> bool:
    """Return whether a folder contains an image, directly or in subfolders."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # reported when the images are listed
        return False
    if any(is_image(entry.name) and not entry.name.startswith(".") for entry in entries):
        return True
    return deep and levels > 0 and any(_has_images(folder / name, levels=levels - 1) for name in subfolders(folder))


def describe_folder(root: Path) -> str:
    """Describe the content of a folder for an error message."""
    if not root.exists():
        return "it does not exist"
    if not root.is_dir():
        return "it is a file"
    folders = subfolders(root)
    names = sorted(f"{entry.name}/" if entry.name in folders else entry.name for entry in os.scandir(root))
    return f"found {some(names, 8)}" if names else "it is empty"


def at(place: Path) -> str:
    """Return the start of an error message about a folder."""
    return f"data.root {printable(str(place))}"
