"""The notebooks of `examples/`: one is run here, `make docs-test` runs them all."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from notebooks import EXAMPLES, NOTEBOOKS, execute, kinds


def text_of(book: nbformat.NotebookNode) -> list[str]:
    outputs = (output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs)
    return [output["data"]["text/plain"] if "data" in output else output["text"] for output in outputs]


def test_results_from_elsewhere(tmp_path: Path) -> None:
    path = EXAMPLES / "analyse-wandb.ipynb"
    book, stored = execute(path, tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"}), nbformat.read(path, as_version=4)
    assert text_of(book) == text_of(stored)
    assert kinds(book) == kinds(stored)
    assert "left out: 1 run with the state crashed" in text_of(book)[2]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_what_is_stored_has_no_error_and_no_path(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    text = "\n".join(text_of(book))
    assert "Traceback" not in text
    assert "/tmp/" not in text
