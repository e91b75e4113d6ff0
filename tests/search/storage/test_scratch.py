from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.errors import DivergedError, StoreAwayError, StoreError
from search.records import EpochMetrics, Progress, TrialResult
from search.storage import scratch as scratch_module
from search.storage.scratch import in_scratch
from search.storage.store import Store

KEY = "trials/abc"


@pytest.fixture
def place(folder_uri: str) -> Store:
    return Store(folder_uri).below(*KEY.split("/"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The store is away as long as this holds something; `refused` makes it refuse."""
    reasons: list[str] = []
    monkeypatch.setattr(scratch_module, "PAUSE_SECS", 0.0)
    for name in ("write", "list", "read"):
        original = getattr(Store, name)

        def act(self: Store, *args: object, original: Callable[..., object] = original) -> object:
            if reasons:
                raise (StoreError if reasons[-1] == "refused" else StoreAwayError)(f"{self}: {reasons[-1]}")
            return original(self, *args)

        monkeypatch.setattr(Store, name, act)
    return reasons


@pytest.fixture
def make_training(
    make_epoch: Callable[..., EpochMetrics],
) -> Callable[..., Callable[[Path], Iterator[Progress | None]]]:
    """A training that counts in its checkpoint: a step per tick, three ticks per epoch; it saves where it is closed."""

    def make(epochs: int = 3, fails: Exception | None = None) -> Callable[[Path], Iterator[Progress | None]]:
        def train(folder: Path) -> Iterator[Progress | None]:
            checkpoint = folder / "checkpoint.pt"
            steps = int(checkpoint.read_text()) if checkpoint.is_file() else 0
            try:
                while steps < 3 * epochs:
                    steps += 1
                    if steps % 3:
                        yield None
                        continue
                    checkpoint.write_text(str(steps))
                    if steps < 3 * epochs:
                        yield Progress(metrics=make_epoch(steps // 3, 0.5), machine={})
            finally:
                checkpoint.write_text(str(steps))
            if fails is not None:
                (folder / "predictions.npy").write_text("left")
                raise fails
            (folder / "weights-0.safetensors").write_text("w")
            result = TrialResult(test_accuracy=None, artifacts={"weights-0": "weights-0.safetensors"})
            yield Progress(metrics=make_epoch(epochs, 0.5), machine={}, result=result)

        return train

    return make


def epoch_of(progress: Progress | None) -> int:
    return progress.metrics.epoch if progress else 0


def test_what_was_trained_is_on_the_store_before_anybody_hears_of_it(
    place: Store, scratch: Path, make_training: Callable[..., Callable]
) -> None:
    told = []
    for progress in in_scratch(place.uri, scratch, make_training()):
        told.append(epoch_of(progress))
        if progress is not None:
            assert place.read("checkpoint.pt") == str(3 * progress.metrics.epoch).encode()
    assert told == [0, 0, 1, 0, 0, 2, 0, 0, 3]
    assert place.read("weights-0.safetensors") == b"w"
    assert list(scratch.iterdir()) == [], "nothing is left on the node"


def test_another_node_goes_on_where_this_one_was_told_to_stop(
    place: Store, scratch: Path, tmp_path: Path, make_training: Callable[..., Callable]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    told = [epoch_of(next(epochs)) for _ in range(5)]
    epochs.close()
    assert told == [0, 0, 1, 0, 0]
    assert place.read("checkpoint.pt") == b"5", "in the middle of an epoch"
    assert list(scratch.iterdir()) == []
    assert [epoch_of(item) for item in in_scratch(place.uri, tmp_path / "other", make_training())] == [2, 0, 0, 3]


def test_a_trial_that_was_told_to_stop_leaves_nothing_new_behind(
    place: Store, scratch: Path, make_training: Callable[..., Callable]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    while next(epochs) is None:
        pass
    place.delete("checkpoint.pt")  # its driver lets go of it
    epochs.close()
    assert place.list() == {}


def test_training_goes_on_while_the_store_is_away_and_waits_for_it_at_the_end(
    place: Store, scratch: Path, make_training: Callable[..., Callable], away: list[str]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    assert epoch_of(next(epochs)) == 0
    away.append("away")
    told = [epoch_of(next(epochs)) for _ in range(20)]
    assert [epoch for epoch in told if epoch] == [1, 2], "no result before it is on the store"
    away.clear()
    assert [epoch_of(item) for item in epochs][-1] == 3
    assert place.read("weights-0.safetensors") == b"w"


def test_a_begin_waits_for_the_store_as_there_may_be_a_checkpoint(
    place: Store, scratch: Path, make_training: Callable[..., Callable], away: list[str]
) -> None:
    place.write("checkpoint.pt", b"6")
    away.append("away")
    epochs = in_scratch(place.uri, scratch, make_training())
    assert [next(epochs) for _ in range(5)] == [None] * 5
    away.clear()
    assert [epoch_of(item) for item in epochs] == [0, 0, 3]


def test_what_could_not_be_sent_stays_on_the_node_and_the_trial_goes_on_from_it(
    place: Store, scratch: Path, make_training: Callable[..., Callable], away: list[str]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    while epoch_of(next(epochs)) != 1:
        pass
    away.append("away")
    next(epochs)
    epochs.close()
    away.clear()
    assert place.read("checkpoint.pt") == b"3"
    assert [epoch_of(item) for item in in_scratch(place.uri, scratch, make_training())] == [0, 2, 0, 0, 3]


def test_what_another_node_sent_since_goes_before_what_was_left_here(
    place: Store, scratch: Path, make_training: Callable[..., Callable], away: list[str]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    while epoch_of(next(epochs)) != 1:
        pass
    away.append("away")
    next(epochs)
    epochs.close()
    away.clear()
    place.write("checkpoint.pt", b"6")
    assert [epoch_of(item) for item in in_scratch(place.uri, scratch, make_training())] == [0, 0, 3]


def test_a_node_that_is_refused_is_named(
    place: Store, scratch: Path, make_training: Callable[..., Callable], away: list[str]
) -> None:
    away.append("refused")
    with pytest.raises(StoreError, match=r"node .*: .*trials/abc: refused"):
        list(in_scratch(place.uri, scratch, make_training()))


def test_credentials_that_end_in_the_middle_stop_no_training_before_its_end(
    place: Store, scratch: Path, make_training: Callable[..., Callable], away: list[str]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    next(epochs)
    away.append("refused")
    told = []
    with pytest.raises(StoreError, match="refused"):
        told.extend(epoch_of(item) for item in epochs)
    away.clear()
    assert [epoch_of(item) for item in in_scratch(place.uri, scratch, make_training())] == [3], "nothing was lost"


def test_what_a_training_left_that_diverged_is_on_the_store(
    place: Store, scratch: Path, make_training: Callable[..., Callable]
) -> None:
    with pytest.raises(DivergedError):
        list(in_scratch(place.uri, scratch, make_training(fails=DivergedError(2, float("nan")))))
    assert place.read("predictions.npy") == b"left"


def test_folders_of_workers_that_died_long_ago_are_removed(
    place: Store, scratch: Path, make_training: Callable[..., Callable]
) -> None:
    for name, age in (("old", scratch_module.STALE_SECS + 60), ("recent", 60)):
        (scratch / name).mkdir(parents=True)
        then = (scratch / name).stat().st_mtime - age
        os.utime(scratch / name, (then, then))
    list(in_scratch(place.uri, scratch, make_training()))
    assert [path.name for path in scratch.iterdir()] == ["recent"]


def test_a_worker_that_is_closed_on_a_full_disk_keeps_what_it_has(
    place: Store, scratch: Path, make_training: Callable[..., Callable], full_disk: Callable[[], None]
) -> None:
    epochs = in_scratch(place.uri, scratch, make_training())
    while epoch_of(next(epochs)) != 1:
        pass
    next(epochs)
    full_disk()
    epochs.close()
    (left,) = scratch.iterdir()
    assert (left / "checkpoint.pt").read_text() == "4"
