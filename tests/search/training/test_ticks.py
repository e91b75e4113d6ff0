"""Closed at any tick a training goes on at the next step, bit for bit."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from search.data.store import ImageData
from search.errors import DivergedError
from search.records import Progress
from search.seeds import make_block
from search.training import ticks
from search.training.files import CHECKPOINTS, FILE_NAME, MIDDLE_NAME
from search.training.learner import Learner
from search.training.loop import train
from search.training.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
BLOCKS = (make_block(0, "sweep", 0), make_block(0, "sweep", 1))
HARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout, augmentation, clip": {"dropout": 0.5, "cnn_dropout": 0.2, "augment": "crop_hflip_cutout", "clip": 1.0},
    "momentum and schedule": {"optimizer": "sgd", "lr": 0.02, "schedule": "onecycle"},
    "two blocks": {"dropout": 0.5, "augment": "hflip", "blocks": BLOCKS},
    "no validation in the first epoch": {"validate_every": 2, "rnn_l2": 0.01},
}
QUICK = ("dropout, augmentation, clip", "two blocks")
CASES = [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in HARD]


@pytest.fixture(autouse=True)
def tick_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "TICK_SECS", 0.0)


def told(progress: list[Progress]) -> list[dict[str, Any]]:
    return [{**dataclasses.asdict(item.metrics), "elapsed_secs": 0.0, "peak_memory_gib": 0.0} for item in progress]


def files_of(folder: Path) -> dict[str, bytes]:
    """What a training leaves for good."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in CHECKPOINTS}


def whole(spec: TrialSpec, data: ImageData, folder: Path) -> list[Progress]:
    return [item for item in train(spec, data, folder, device="cpu") if item is not None]


def in_pieces(spec: TrialSpec, data: ImageData, folder: Path) -> tuple[list[Progress], int]:
    """Close the training after 1, 2, ... 7, 1, 2, ... ticks and begin it again each time, as a new process would.

    A pass over validation or test images begins anew: with always one tick it would never get past its first batch.
    """
    found: list[Progress] = []
    num_cuts = 0
    while True:
        training = train(spec, data, folder, device="cpu", num_known_epochs=len(found))
        torch.manual_seed(num_cuts)  # a new process has another state
        left = 1 + num_cuts % 7
        for item in training:
            if item is not None:
                found.append(item)
                continue
            left -= 1
            if left == 0:
                break
        else:
            return found, num_cuts
        training.close()
        num_cuts += 1
        assert num_cuts < 200, "no progress"


def disturb(training: Generator[Progress | None, None, None]) -> list[Progress]:
    """Go on at every tick, and use what torch has of global state in between."""
    found = []
    for item in training:
        torch.manual_seed(99)
        torch.rand(3)
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert not torch.backends.cudnn.deterministic
        if item is not None:
            found.append(item)
    return found


@pytest.mark.parametrize("case", CASES)
def test_cut_at_every_step_it_goes_on_bit_for_bit(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(epochs=2, score_test=True, **HARD[case])
    with monkeypatch.context() as patch:
        patch.setattr(ticks, "TICK_SECS", 1e9)
        undisturbed = whole(spec, digits, tmp_path / "whole")
    pieces, num_cuts = in_pieces(spec, digits, tmp_path / "cut")
    assert num_cuts >= 3 * len(spec.blocks)
    assert told(pieces) == told(undisturbed)
    assert pieces[-1].result == undisturbed[-1].result
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
    assert not (tmp_path / "cut" / MIDDLE_NAME).exists()
    # Ticks alone change nothing, whatever happens between them.
    again = disturb(train(spec, digits, tmp_path / "disturbed", device="cpu"))
    assert told(again) == told(undisturbed)
    assert files_of(tmp_path / "disturbed") == files_of(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["dropout, augmentation, clip", "two blocks"])
def test_it_may_be_closed_at_any_tick(make_spec: MakeSpec, digits: ImageData, tmp_path: Path, case: str) -> None:
    spec = make_spec(epochs=2, score_test=True, **HARD[case])
    undisturbed = list(train(spec, digits, tmp_path / "whole", device="cpu"))
    epochs = [item for item in undisturbed if item is not None]
    expected = files_of(tmp_path / "whole")
    num_ticks = undisturbed.count(None)
    # Five steps and a validation an epoch; weights and the test images at the end.
    assert num_ticks == len(spec.blocks) * (2 * (5 + 1) + 2)
    for cut in range(1, num_ticks + 1):
        folder = tmp_path / str(cut)
        training = train(spec, digits, folder, device="cpu")
        for _ in range(cut):
            while next(training) is not None:
                pass
        training.close()
        assert told(whole(spec, digits, folder)) == told(epochs)
        assert files_of(folder) == expected


def test_no_step_is_taken_twice(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    original = Learner._descend

    def counted(self: Learner, images: torch.Tensor, labels: torch.Tensor, part: Any) -> None:
        steps.append(part.step)
        original(self, images, labels, part)

    monkeypatch.setattr(Learner, "_descend", counted)
    in_pieces(make_spec(epochs=2), digits, tmp_path)
    assert steps == [0, 1, 2, 3, 4] * 2


def test_the_time_spent_before_a_cut_counts_and_waiting_does_not(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def descend(self: Learner, *args: Any) -> None:
        original(self, *args)
        clock[0] += 10.0

    original = Learner._descend
    monkeypatch.setattr(Learner, "_descend", descend)
    monkeypatch.setattr(ticks.time, "perf_counter", lambda: clock[0])
    spec = make_spec(epochs=1)
    training = train(spec, digits, tmp_path, device="cpu")
    for _ in range(3):
        next(training)
        clock[0] += 1000.0
    training.close()
    (end,) = whole(spec, digits, tmp_path)
    assert end.metrics.elapsed_secs == 50.0


def test_a_training_that_nobody_holds_any_more_saves_itself(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    training = train(make_spec(), digits, tmp_path, device="cpu")
    next(training)
    del training
    gc.collect()
    assert (tmp_path / MIDDLE_NAME).is_file()


def test_closed_at_the_end_of_an_epoch_it_writes_nothing_more(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    training = train(make_spec(), digits, tmp_path, device="cpu")
    while next(training) is None:
        pass
    before = (tmp_path / FILE_NAME).read_bytes()
    training.close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_bytes() == before


def cut_in_second_epoch(spec: TrialSpec, data: ImageData, folder: Path, num_ticks: int = 2) -> None:
    training = train(spec, data, folder, device="cpu")
    while next(training) is None:
        pass
    for _ in range(num_ticks):
        assert next(training) is None
    training.close()
    assert {path.name for path in folder.iterdir()} == {FILE_NAME, MIDDLE_NAME}


def test_a_damaged_middle_costs_that_epoch_only(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    spec = make_spec(epochs=2, dropout=0.5)
    undisturbed = whole(spec, digits, tmp_path / "whole")
    cut_in_second_epoch(spec, digits, tmp_path / "cut")
    path = tmp_path / "cut" / MIDDLE_NAME
    path.write_bytes(path.read_bytes()[:1000])
    (last,) = (
        item for item in train(spec, digits, tmp_path / "cut", device="cpu", num_known_epochs=1) if item is not None
    )
    assert told([last]) == told(undisturbed)[1:]
    assert last.machine["damaged_checkpoint"] is True
    assert "damaged_checkpoint" not in undisturbed[-1].machine


def test_where_the_end_is_damaged_the_middle_will_do(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, count_epochs: list[tuple[str, int]]
) -> None:
    spec = make_spec(epochs=2, dropout=0.5)
    undisturbed = whole(spec, digits, tmp_path / "whole")
    cut_in_second_epoch(spec, digits, tmp_path / "cut")
    (tmp_path / "cut" / FILE_NAME).write_bytes(b"no zip")
    count_epochs.clear()
    assert told(whole(spec, digits, tmp_path / "cut")) == told(undisturbed)
    assert [epoch for _, epoch in count_epochs] == [2]


def test_a_middle_that_was_left_behind_is_not_gone_back_to(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, count_epochs: list[tuple[str, int]]
) -> None:
    spec = make_spec(epochs=3)
    cut_in_second_epoch(spec, digits, tmp_path)
    old = (tmp_path / MIDDLE_NAME).read_bytes()
    training = train(spec, digits, tmp_path, device="cpu", num_known_epochs=1)
    while next(training) is None:
        pass
    training.close()
    (tmp_path / MIDDLE_NAME).write_bytes(old)  # killed before it was let go of
    count_epochs.clear()
    whole(spec, digits, tmp_path)
    assert [epoch for _, epoch in count_epochs] == [3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_second_signal_while_saving_leaves_what_was_there(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(epochs=2, dropout=0.5)
    undisturbed = whole(spec, digits, tmp_path / "whole")
    folder = tmp_path / "cut"
    cut_in_second_epoch(spec, digits, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def cut(state: object, stream: Any) -> None:
        stream.write(b"half a checkp")
        raise error

    training = train(spec, digits, folder, device="cpu", num_known_epochs=1)
    next(training)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut)
        with pytest.raises(error):
            training.close()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert told(whole(spec, digits, folder)) == told(undisturbed)


def test_a_repeat_that_diverges_after_a_cut_scores_its_last_finite_epoch(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Learner._descend

    def spoil(self: Learner, images: torch.Tensor, labels: torch.Tensor, part: Any) -> None:
        original(self, images, labels, part)
        if part.epoch == 2 and part.step == 1:
            next(self.model.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(Learner, "_descend", spoil)
    spec = make_spec(epochs=3, score_test=True, lr=0.01)
    results = []
    for name in ("whole", "cut"):
        if name == "cut":
            cut_in_second_epoch(spec, digits, tmp_path / name, num_ticks=3)  # what is saved is not finite any more
        with pytest.raises(DivergedError, match="diverged in epoch 2") as caught:
            whole(spec, digits, tmp_path / name)
        results.append(caught.value.result)
    assert results[0] is not None
    assert results[0] == results[1]
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "cut")


def test_what_killed_writers_left_is_removed_when_the_trial_goes_on(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    left = (".checkpoint.pt.123", ".checkpoint-middle.pt.7", ".weights-0.safetensors.9", ".confusion.npy.12")
    others = (".nfs0001", ".notes.pt", "confusion.npy.12")
    for name in (*left, *others):
        (tmp_path / name).write_bytes(b"half")
    training = train(make_spec(), digits, tmp_path, device="cpu")
    next(training)
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_ticks_come_by_the_clock(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def descend(self: Learner, *args: Any) -> None:
        original(self, *args)
        clock[0] += 0.75

    original = Learner._descend
    monkeypatch.setattr(Learner, "_descend", descend)
    monkeypatch.setattr(ticks.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(ticks, "TICK_SECS", 2.0)
    times = []
    for item in train(make_spec(epochs=1), digits, tmp_path, device="cpu"):
        if item is None:
            times.append(clock[0])
    assert times == [2.25]  # five steps, then a validation at no cost
