"""Classes from a table beside the images: labels.csv, or metadata.csv as in Hugging Face's ImageFolder."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from search.data.errors import LayoutError, some
from search.data.files import MAX_LIST_BYTES, TooLargeError, open_regular, read_regular
from search.data.layout import at, role_of, roles_of, subfolders
from search.data.listing import PARTS, Use
from search.data.walk import Tree, Trees, is_image
from search.text.counted import counted
from search.text.printable import printable

TABLES = ("labels.csv", "metadata.csv")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
LABEL_COLUMNS = ("label", "class", "category")
MAX_HEADING_BYTES = 1 << 16
PART_COLUMN = "split"
"""Optional column with the part of each image: train, val or test."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    number: int
    """Line in the file, from 1."""
    file: str
    """Path of the image relative to the folder of the table."""
    label: str
    part: str | None
    """Text of the column `split`; None without one."""


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """A table of labels.

    Attributes:
        path: The file.
        folder: Its folder, relative to the root.
        rows: The lines in file order.
    """

    path: Path
    folder: str
    rows: tuple[Row, ...]


def find_tables(root: Path) -> dict[str, LabelTable]:
    """Find the table of a folder, or the tables of its parts.

    A table without a column of file names or of labels belongs to something else and is left alone.

    Returns:
        Part -> its table. A table in the root itself belongs to all parts and has the key `""`.

    Raises:
        LayoutError: A table cannot be read as text.
        OSError: A table or folder cannot be read.
    """
    if (table := _read(root, ".")) is not None:
        return {"": table}
    roles = roles_of(subfolders(root))
    found = {name: table for name in roles if (table := _read(root, name)) is not None}
    if "train" not in {roles[name] for name in found}:
        return {}
    tables: dict[str, LabelTable] = {}
    for name, role in roles.items():
        if name not in found and any(_images_below(root / name)):
            raise LayoutError(
                f"{at(root / name)}: expected a table as in the other parts ({' or '.join(TABLES)}), found images "
                "without one; add it, or move the folder elsewhere"
            )
        if name in found and (first := tables.setdefault(role, found[name])) is not found[name]:
            raise LayoutError(
                f"{at(root)}: expected one folder per part, found {first.folder}/ and {name}/, each with a table; "
                "merge them, or move one elsewhere"
            )
    return tables


def to_trees(root: Path, tables: dict[str, LabelTable], use: Use) -> Trees:
    """Group the images of each part by class.

    Args:
        root: The folder that was searched.
        tables: What `find_tables` returned.
        use: The classes and parts that the study needs.

    Raises:
        LayoutError: Lists rows without a label, files that are missing, outside the folder or listed twice, unknown
            parts, and classes of one part only.
    """
    faults: list[str] = []
    by_part: dict[str, tuple[LabelTable, list[Row]]] = {}
    for role, table in tables.items():
        _check(root, table, faults)
        for row in table.rows:
            part = role or ("train" if row.part is None else role_of(row.part))
            if part is None:
                faults.append(
                    f"{at(table.path)}: row {row.number}: {PART_COLUMN}: expected train, val or test, found "
                    f"{printable(row.part or 'nothing')}; correct it"
                )
                break
            by_part.setdefault(part, (table, []))[1].append(row)
    if not faults and "" in tables and tables[""].rows[0].part is None:
        folders = roles_of(sorted({row.file.partition("/")[0] for row in tables[""].rows if "/" in row.file}))
        if len(set(folders.values())) > 1:
            faults.append(
                f"{at(tables[''].path)}: expected a column {PART_COLUMN}, as the files lie in {some(sorted(folders))}; "
                "add it"
            )
    if not faults and "train" not in by_part:
        faults.append(f"{at(root)}: {PART_COLUMN}: expected rows of the part train, found {some(sorted(by_part))}")
    if faults:
        raise LayoutError(*faults)
    trees = {part: _tree(*by_part[part]) for part in PARTS if part in by_part}
    if "" in tables and (lines := list(_one_sided(trees, use))):
        raise LayoutError(*(f"{at(tables[''].path)}: {line}" for line in lines))
    for table in tables.values():
        listed = {row.file for row in table.rows}
        if number := sum(path not in listed for path in _images_below(root / table.folder)):
            trees["train"].left_out[f"{table.folder}/ (without a row in {table.path.name})"] = number
    return trees


def _tree(table: LabelTable, rows: Sequence[Row]) -> Tree:
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(row.label, []).append(row.file)
    return Tree(folder=table.folder, files={label: tuple(sorted(files[label])) for label in sorted(files)})


def _one_sided(trees: Trees, use: Use) -> Iterator[str]:
    used = {part: set(tree.files) for part, tree in trees.items() if part != "test" or use.needs_test}
    for part, classes in used.items():
        for here, there, lacking in (
            ("train", part, used["train"] - classes),
            (part, "train", classes - used["train"]),
        ):
            if lacking := {name for name in lacking if not use.classes or name in use.classes}:
                yield (
                    f"{counted(len(lacking), 'class')} with rows of the part {here} and none of {there} "
                    f"({some(sorted(lacking))}); add images, or list the other classes in data.classes"
                )


def _read(root: Path, name: str) -> LabelTable | None:
    for path in (root / name / table for table in TABLES):
        if path.is_symlink() and not path.exists():
            raise LayoutError(f"{at(path)}: is a broken link; remove it, or restore its target")
        if not path.is_file():
            continue
        with open_regular(path) as stream:
            heading = stream.read(MAX_HEADING_BYTES).decode("utf-8-sig", "replace").splitlines()[:1]
        names = {item.strip().lower() for item in next(csv.reader(heading, delimiter=_delimiter("".join(heading))), [])}
        if not (names & set(FILE_COLUMNS) and names & set(LABEL_COLUMNS)):
            continue  # it belongs to something else
        try:
            text = read_regular(path, MAX_LIST_BYTES).decode("utf-8-sig")
            lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
            headings = [item.strip().lower() for item in next(lines, [])]
            file, label = (
                next(headings.index(column) for column in columns if column in headings)
                for columns in (FILE_COLUMNS, LABEL_COLUMNS)
            )
            part = headings.index(PART_COLUMN) if PART_COLUMN in headings else None
            rows = tuple(
                Row(
                    number=lines.line_num,
                    file=str(PurePosixPath(cell)) if (cell := _cell(cells, file)) else "",
                    label=_cell(cells, label),
                    part=None if part is None else _cell(cells, part),
                )
                for cells in lines
                if any(cell.strip() for cell in cells)
            )
        except (UnicodeDecodeError, csv.Error, TooLargeError) as error:
            raise LayoutError(f"{at(path)}: not a table of labels ({printable(str(error))}); save it as CSV") from error
        return LabelTable(path=path, folder=name, rows=rows)
    return None


def _delimiter(text: str) -> str:
    heading = text.partition("\n")[0]
    return max(",;\t", key=heading.count)


def _cell(cells: Sequence[str], position: int) -> str:
    return cells[position].strip() if position < len(cells) else ""


def _check(root: Path, table: LabelTable, faults: list[str]) -> None:
    """Add a fault per kind of wrong row."""
    base = f"{root / table.folder}/"
    missing: list[str] = []
    first: dict[str, int] = {}
    kinds: dict[str, list[str]] = {}
    for row in table.rows:
        path = PurePosixPath(row.file)
        if not row.file or not row.label:
            kinds.setdefault("without a file name or a label; complete them, or remove the rows", []).append(
                str(row.number)
            )
        elif path.is_absolute() or ".." in path.parts:
            kinds.setdefault(f"with a file outside {printable(base)}; move the images below it", []).append(
                f"{row.number} ({row.file})"
            )
        elif not is_image(row.file):
            kinds.setdefault("whose file name has no extension of an image, such as .png; complete it", []).append(
                f"{row.number} ({row.file})"
            )
        elif row.file in first:
            kinds.setdefault("with a file that another row has; keep one of them", []).append(
                f"{first[row.file]} and {row.number} ({row.file})"
            )
        elif not os.path.lexists(base + row.file):
            missing.append(row.file)
        first.setdefault(row.file, row.number)
    for kind, rows in kinds.items():
        faults.append(f"{at(table.path)}: {counted(len(rows), 'row')} {kind}: row {some(rows)}")
    if missing:
        faults.append(
            f"{at(table.path)}: {counted(len(missing), 'file')} of it do not exist in {printable(base)}: "
            f"{some(missing)}; restore them, or remove their rows"
        )
    if not table.rows:
        faults.append(f"{at(table.path)}: expected a row per image, found none; add them, or remove the file")


def _images_below(folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(path, folder)
        for name in files:
            if is_image(name) and not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"
