"""Check the parts of a data set; all faults are reported at once, one line per kind."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from search.data.errors import DataError, LayoutError, UnreadableError, some, unreadable_lines
from search.data.images import EXTENSIONS, read_image
from search.data.layout import at, describe_folder, roles_of
from search.data.walk import DANGLING, DENIED, LOOP, SPECIAL, Problem, Tree, Trees
from search.text.counted import counted
from search.text.printable import printable

FIXES = {
    DANGLING: (
        "is a broken link",
        "are broken links",
        "remove it, or restore its target",
        "remove them, or restore their targets",
    ),
    LOOP: (
        "is a link to itself or to a folder above it",
        "are links to themselves or to folders above them",
        "remove it",
        "remove them",
    ),
    SPECIAL: ("is not a regular file", "are not regular files", "remove it", "remove them"),
    DENIED: ("cannot be read", "cannot be read", "fix its permissions", "fix their permissions"),
}
"""Kind of problem -> description for one entry, for several, and the fix for one and for several."""


MAX_DECODED = 2000
"""Largest number of images that are decoded only to complete a list of faults; larger sets would take too long."""

WITHOUT_CLASSES = {
    "train": "sort them into class folders",
    "val": "sort them into class folders, or move the folder elsewhere",
    "test": "sort them into class folders, or set data.test to held-out, which leaves them out",
}
"""Part -> how to fix images that lie in it without class folders."""


def check_trees(place: Path, trees: Trees, known: str, *, named: bool = False) -> None:
    """Check that each part has at least two non-empty classes, and that all parts have the same classes.

    Args:
        place: Folder that the names of the parts are relative to.
        trees: The parts.
        known: Description of the expected layout.
        named: Whether the study lists the classes, which permits names that differ only in case.

    Raises:
        LayoutError: Lists every fault.
    """
    faults = [fault for role, tree in trees.items() for fault in _part_faults(place, role, tree, known, named=named)]
    found = [found for tree in trees.values() for found in tree.problems.values()]
    faults += _problem_faults(problem for some_of_it in found for problem in some_of_it)
    names = sorted({name for tree in trees.values() for name in tree.files})
    twins = _twins(names, named=named)
    faults += _name_faults(place, names, twins)
    said = {name for alike in twins for name in alike}
    for role, tree in trees.items():
        if role != "train" and (named or (tree.files and trees["train"].files)):
            faults += _one_sided(place, trees["train"], tree, said)
    if faults:
        raise LayoutError(*faults, *_unreadable_faults(place, trees.values()))


def unknown_classes(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Check that all requested classes exist.

    Raises:
        DataError: Some do not exist.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise DataError(f"data.classes must be of {some(known, 20)}, got {some(unknown, 20)}")


def _part_faults(place: Path, role: str, tree: Tree, known: str, *, named: bool) -> Iterator[str]:
    folder = place / tree.folder
    if len(tree.files) < 2 and not named:
        loose = next((number for name, number in tree.left_out.items() if name.startswith(f"{tree.folder}/ (")), 0)
        ways = f"; {counted(loose, 'image')} of it without a class folder: {WITHOUT_CLASSES[role]}" if loose else ""
        yield (
            f"{at(folder)}: at least 2 class folders are needed, got {len(tree.files)}; looked for {known}; "
            f"{describe_folder(folder)}{ways}"
        )
    divided = [name for name, files in tree.files.items() if _holds_parts(files)]
    if divided:
        yield (
            f"{at(folder)}: training and test images lie inside the class folders ({some(divided)}), where they would "
            "be mixed; the parts must be outside, the classes inside: <part>/<class>/"
        )
    empty = [name for name, files in tree.files.items() if not files and name not in tree.problems]
    yield from _alike(
        empty,
        lambda name: (
            f"{at(folder / name)}: no image in this class folder ({', '.join(sorted(EXTENSIONS))}); "
            f"{describe_folder(folder / name)}; put images there, remove it, or list the other classes in data.classes"
        ),
        lambda names: (
            f"{at(folder)}: no image in {len(names):,} class folders ({some(names)}); put images there, remove them, "
            "or list the other classes in data.classes"
        ),
    )


def _unreadable_faults(place: Path, trees: Iterable[Tree]) -> list[str]:
    """Describe the images that cannot be decoded in a set that is refused anyway, unless it is large."""
    paths = [place / tree.folder / path for tree in trees for files in tree.files.values() for path in files]
    errors: list[UnreadableError] = []
    for path in paths if len(paths) <= MAX_DECODED else ():
        try:
            read_image(path, None, [])
        except UnreadableError as error:
            errors.append(error)
    return unreadable_lines(errors)


def _holds_parts(files: Sequence[str]) -> bool:
    """Return whether the subfolders of a class are named like parts (train, test)."""
    inside = list(dict.fromkeys(path.split("/")[1] for path in files if path.count("/") > 1))
    return len(inside) > 1 and len(set(roles_of(inside).values())) > 1


def _alike(names: list[str], one: Callable[[str], str], many: Callable[[list[str]], str]) -> Iterator[str]:
    """Yield one line, in the singular or plural form; nothing if there are no names."""
    if names:
        yield one(names[0]) if len(names) == 1 else many(names)


def _problem_faults(problems: Iterable[Problem]) -> Iterator[str]:
    by_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    for kind, found in by_kind.items():
        does, do, fix, fix_all = FIXES[kind]
        reasons = [f"{item.path} ({item.reason})" if item.reason else item.path for item in found]
        if len(found) == 1:
            reason = f" ({printable(found[0].reason)})" if found[0].reason else ""
            yield f"data.root {printable(found[0].path)}: {does}{reason}; {fix}"
        else:
            yield f"data.root: {len(found):,} entries {do} ({some(reasons)}); {fix_all}"


def _one_sided(place: Path, train: Tree, other: Tree, said: Collection[str]) -> Iterator[str]:
    for here, there in ((train, other), (other, train)):
        missing = sorted(name for name in here.files.keys() - there.files.keys() - set(said) if here.files[name])

        def count(name: str, here: Tree = here) -> int:
            return len(here.files[name])

        where, there_is = f"{printable(here.folder)}/", f"{printable(there.folder)}/"
        if len(missing) == 1:
            yield (
                f"{at(place)}: class {printable(missing[0])} has {count(missing[0])} images in {where} and no folder "
                f"in {there_is}; add images of this class there, or list the other classes in data.classes"
            )
        elif missing:
            yield (
                f"{at(place)}: {len(missing):,} classes have images in {where} and no folder in {there_is} "
                f"({some([f'{name} {count(name):,}' for name in missing])}); add images of them there, or list the "
                "other classes in data.classes"
            )


def _twins(names: Sequence[str], *, named: bool) -> list[list[str]]:
    """Return groups of names that look like the same class to a reader."""
    by_plain: dict[str, list[str]] = {}
    for name in names:
        by_plain.setdefault(_plain(name), []).append(name)
    twins = [alike for alike in by_plain.values() if len(alike) > 1]
    # Single letters may differ in case only: handwriting sets have the classes a and A.
    return [alike for alike in twins if not (_differ_in_case_only(alike) and (named or len(alike[0]) == 1))]


def _name_faults(place: Path, names: Sequence[str], twins: Sequence[Sequence[str]]) -> Iterator[str]:
    broken = [name for name in names if not _is_utf8(name)]
    if broken:
        yield f"{at(place)}: the name of a class must be UTF-8, got {some(broken)}; rename it"
    if twins:
        shown = [f"{' and '.join(map(repr, alike))}: {_difference(alike)}" for alike in twins]
        yield (
            f"{at(place)}: these class names differ too little to be two classes ({some(shown)}); give one class one "
            "name in all parts, or rename one of them"
        )


def _plain(name: str) -> str:
    """Return a class name without differences in case, spaces and Unicode normalisation."""
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def _differ_in_case_only(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) == 1


def _difference(names: Sequence[str]) -> str:
    if _differ_in_case_only(names):
        return "upper and lower case"
    if len({" ".join(name.split()) for name in names}) < len(names):
        return "spaces"
    if len({unicodedata.normalize("NFC", name) for name in names}) < len(names):
        return "Unicode normalisation"
    return "case, spaces or Unicode forms"


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
