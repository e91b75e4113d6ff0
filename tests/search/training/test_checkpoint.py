from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from search.training.checkpoint import FILE_NAME, load_checkpoint, save_array, save_checkpoint, save_weights

STATE: dict[str, Any] = {
    "key": "k",
    "epoch": 2,
    "curve": [{"epoch": 1, "val_accuracy": 0.5}],
    "learners": [{"model": {"w": torch.arange(6.0).reshape(2, 3)}, "optimizer": {"state": {0: {"step": 3}}}}],
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_leaves_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path
    save_checkpoint(folder, STATE)
    state = load_checkpoint(folder, "k")
    assert state is not None
    assert (state["epoch"], state["curve"]) == (2, STATE["curve"])
    assert torch.equal(state["learners"][0]["model"]["w"], STATE["learners"][0]["model"]["w"])
    assert names(folder) == [FILE_NAME]


def test_none_where_nothing_was_written(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "k") is None
    assert load_checkpoint(tmp_path / "no folder", "k") is None


def test_a_crash_while_writing_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, STATE)

    def cut(state: object, stream: Any) -> None:
        stream.write(b"half a checkp")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path, {**STATE, "epoch": 3})
    state = load_checkpoint(tmp_path, "k")
    assert state is not None
    assert state["epoch"] == 2
    assert names(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_set_aside(tmp_path: Path, keep: float) -> None:
    save_checkpoint(tmp_path, STATE)
    path = tmp_path / FILE_NAME
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert load_checkpoint(tmp_path, "k") is None
    assert names(tmp_path) == ["checkpoint.damaged"]
    save_checkpoint(tmp_path, STATE)
    assert load_checkpoint(tmp_path, "k") is not None


def test_another_trial_or_format_is_not_used(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, STATE)
    assert load_checkpoint(tmp_path, "other") is None
    save_checkpoint(tmp_path, {**STATE, "format": 999})
    assert load_checkpoint(tmp_path, "k") is None


class Harmful:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Harmful, "ran", True))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    torch.save({"format": 1, "key": "k", "bad": Harmful()}, tmp_path / FILE_NAME)
    assert load_checkpoint(tmp_path, "k") is None
    assert not Harmful.ran


def test_weights_and_arrays_round_trip(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 4).t(), "steps": torch.tensor(5)}
    save_weights(tmp_path / "w.safetensors", weights)
    loaded = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())
    save_array(tmp_path / "a.npy", np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert names(tmp_path) == ["a.npy", "w.safetensors"]
