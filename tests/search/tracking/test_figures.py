"""Pictures: that they are made, small, and of what was asked."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from search.records import Completed, EpochMetrics, TrialRecord
from search.tracking import figures


def record(num_epochs: int, label: str = "ecrnn/ecrnn-bilstm-16", validate_every: int = 1) -> TrialRecord:
    """A training; validate_every 0 is one without a validation part."""
    curve = tuple(
        EpochMetrics(
            epoch=epoch,
            train_loss=1 / epoch,
            train_accuracy=1 - 0.5 / epoch,
            val_loss=1.2 / epoch if validate_every and epoch % validate_every == 0 else None,
            val_accuracy=1 - 0.6 / epoch if validate_every and epoch % validate_every == 0 else None,
            learning_rate=0.1,
            elapsed_secs=1.0,
            num_images=10,
        )
        for epoch in range(1, num_epochs + 1)
    )
    return TrialRecord(
        key="k",
        number=0,
        label=label,
        kind="trial",
        point={},
        blocks=("b",),
        curve=curve,
        outcome=Completed(),
        started_at=0.0,
        finished_at=1.0,
        node="n",
    )


def size_of(file: Path) -> tuple[int, int]:
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 100_000
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize("num_epochs", [1, 2, 200])
def test_curves(tmp_path: Path, num_epochs: int) -> None:
    figures.draw_curves(record(num_epochs), tmp_path / "new" / "a.png")
    assert size_of(tmp_path / "new" / "a.png") == (512, 208)


@pytest.mark.parametrize("validate_every", [0, 3])
def test_curves_with_gaps(tmp_path: Path, validate_every: int) -> None:
    figures.draw_curves(record(7, validate_every=validate_every), tmp_path / "gaps.png")
    figures.draw_curves(record(7), tmp_path / "all.png")
    assert size_of(tmp_path / "gaps.png") == (512, 208)
    assert (tmp_path / "gaps.png").read_bytes() != (tmp_path / "all.png").read_bytes()


def test_a_sweep_shows_what_was_validated(tmp_path: Path) -> None:
    gaps, blind = record(7, validate_every=3), record(2, validate_every=3)
    figures.draw_sweep([gaps, blind], gaps, tmp_path / "a.png")
    figures.draw_sweep([gaps], gaps, tmp_path / "b.png")
    figures.draw_sweep([blind], None, tmp_path / "c.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert size_of(tmp_path / "c.png") == (512, 288)


def test_sweep_of_many(tmp_path: Path) -> None:
    records = [record(1 + index % 9) for index in range(300)]
    figures.draw_sweep(records, records[8], tmp_path / "a.png")
    figures.draw_sweep(records, None, tmp_path / "b.png")
    assert size_of(tmp_path / "a.png") == size_of(tmp_path / "b.png") == (512, 288)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("num_classes", [1, 2, 10, 25, 200])
def test_confusion(tmp_path: Path, num_classes: int) -> None:
    counts = np.full((num_classes, num_classes), 3)
    counts[0] = 0
    figures.draw_confusion(counts, [f"class {index}" for index in range(num_classes)], tmp_path / "a.png")
    figures.draw_confusion(counts, ["too", "few"], tmp_path / "b.png")
    assert max(size_of(tmp_path / "a.png")) < 640


def test_no_state_is_left_in_matplotlib(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.draw_curves(record(3), tmp_path / "a.png")
    assert dict(mpl.rcParams) == before


def test_what_is_no_confusion_matrix(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"expected counts of shape \(classes, classes\), found \(2, 3\)"):
        figures.load_confusion(file)
    file.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="pickle"):
        figures.load_confusion(file)
    with pytest.raises(FileNotFoundError):
        figures.load_confusion(tmp_path / "none.npy")
