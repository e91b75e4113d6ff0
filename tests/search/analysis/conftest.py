"""Files of results, written as others would write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.analysis.faults import AnalysisError
from search.analysis.reading import Reading
from search.analysis.sources import read_file

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a text file, by default a CSV: `write("config,block,score", "a,0,0.5")`."""

    def make(*lines: str, name: str = "results.csv") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return make


@pytest.fixture
def faults_of() -> Callable[[Path], list[str]]:
    """The faults of a file, without its path in front; fails if there are none."""

    def read(path: Path) -> list[str]:
        with pytest.raises(AnalysisError) as caught:
            read_file(path)
        assert caught.value.exit_code == 2
        assert all(line.startswith(str(path)) for line in caught.value.faults), caught.value.faults
        assert not any("\n" in line for line in caught.value.faults)
        return [line.removeprefix(str(path)).removeprefix(", ").removeprefix(": ") for line in caught.value.faults]

    return read


@pytest.fixture
def read(write: Write) -> Callable[..., Reading]:
    """Write lines and read them back."""
    return lambda *lines, **more: read_file(write(*lines, **more))
