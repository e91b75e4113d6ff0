"""Run the notebooks of `examples/` and store what they show: `python tests/documentation/notebooks.py [NAME...]`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
CELL_SECS = 1800


def execute(path: Path, folder: Path, env: Mapping[str, str]) -> nbformat.NotebookNode:
    """Run a notebook in a folder, which gets a copy of `examples/`, and return it as it is stored.

    Progress is left out, and so is the folder's path.

    Raises:
        CellExecutionError: A cell raised.
    """
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=CELL_SECS, resources={"metadata": {"path": str(folder)}}).execute(env=dict(env))
    for cell in book.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            kept = [output for output in cell.outputs if output.get("name") != "stderr"]
            cell.outputs = [nbformat.from_dict(_without(output, f"{folder}{os.sep}")) for output in kept]
    return book


def _without(value: object, text: str) -> Any:
    if isinstance(value, str):
        return value.replace(text, "")
    if isinstance(value, Mapping):
        return {key: _without(item, text) for key, item in value.items()}
    return [_without(item, text) for item in value] if isinstance(value, list) else value


def kinds(book: nbformat.NotebookNode) -> list[tuple[str, list[str]]]:
    """Return the source of each code cell, and the kinds of its outputs."""
    return [
        (cell.source, [kind for output in cell.outputs for kind in sorted(output.get("data", {"text": ""}))])
        for cell in book.cells
        if cell.cell_type == "code"
    ]


def check_notebook(path: Path, folder: Path, env: Mapping[str, str]) -> list[str]:
    """Run a notebook and compare the kinds of its outputs with those that are stored; return the faults."""
    try:
        found, stored = kinds(execute(path, folder, env)), kinds(nbformat.read(path, as_version=4))
    except CellExecutionError as error:
        return [f"{path.name}: {error}"]
    return [
        f"{path.name}: expected {before}, as stored, found {now} from the cell\n{source}"
        for (source, now), (_, before) in zip(found, stored, strict=True)
        if now != before
    ]


def main() -> None:
    """Run the named notebooks, or all, and store their outputs."""
    for path in NOTEBOOKS:
        if len(sys.argv) > 1 and path.name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            book = execute(path, Path(folder).resolve(), {**os.environ, "OMP_NUM_THREADS": "1"})
        nbformat.write(book, path)
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
