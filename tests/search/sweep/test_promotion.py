from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from search.commands.trials import state_of
from search.console.counts import one_line
from search.journal.commands import Answer, Command
from search.journal.follower import Follower
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_events, read_records
from search.journal.summary import summarise
from search.records import Completed, EpochMetrics, Progress, Stopped, TrialRecord, TrialResult
from search.runners.assignment import Assignment, run_assignment
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.sweep.promotion import PromotionAsha
from search.sweep.sweep import Sweep

MakeStudy = Callable[..., StudyConfig]


def make(reduction: int = 3, max_epochs: int = 27) -> PromotionAsha:
    return PromotionAsha(grace_epochs=1, reduction=reduction, max_epochs=max_epochs)


def naive_promotion(
    reached: dict[int, list[tuple[float, str]]], gone: dict[int, set[str]], reduction: int
) -> tuple[int, str] | None:
    """Algorithm 2 of Li et al. as it is printed: from the highest rung down, the best of the top 1/reduction."""
    for rung in sorted(reached, reverse=True):
        best_first = sorted(reached[rung], key=lambda item: -item[0])  # stable: of equal values, the earlier one
        top = best_first[: len(best_first) // reduction]
        for _, key in top:
            if key not in gone[rung]:
                return rung, key
    return None


def test_promotions_are_those_of_the_printed_algorithm() -> None:
    for seed in range(20):
        rng, reduction = random.Random(seed), 2 + seed % 3
        scheduler = make(reduction)
        reached: dict[int, list[tuple[float, str]]] = {rung: [] for rung in scheduler.rungs}
        gone: dict[int, set[str]] = {rung: set() for rung in scheduler.rungs}
        num_begun, running = 0, dict[str, int]()
        for _ in range(400):
            if len(running) < 4:
                expected = naive_promotion(reached, gone, reduction)
                key = scheduler.next_promotion()
                assert key == (None if expected is None else expected[1])
                if expected is not None:
                    gone[expected[0]].add(expected[1])
                    running[expected[1]] = expected[0]
                else:
                    running[f"t{num_begun}"] = 0
                    num_begun += 1
            key = rng.choice(sorted(running))
            running[key] += 1
            epoch, value = running[key], round(rng.random(), 1)  # with equal values
            go_on = scheduler.observe(key, epoch, value)
            assert go_on == (epoch not in scheduler.rungs)
            if epoch in reached:
                reached[epoch].append((value, key))
            if not go_on or epoch == 27:
                del running[key]
        assert any(gone[rung] for rung in list(gone)[1:]), "trials are promoted twice"


def test_a_trial_pauses_at_each_rung_and_nowhere_else() -> None:
    scheduler = make()
    assert list(scheduler.rungs) == [1, 3, 9]
    told = []
    for epoch in range(1, 28):
        told.append(scheduler.observe("a", epoch, 0.5))
        assert scheduler.is_waiting("a") is not told[-1]
        assert scheduler.observe("a", epoch, 0.5) is told[-1], "observed again"
        scheduler.leave("a")
    assert [epoch for epoch, go_on in enumerate(told, start=1) if not go_on] == [1, 3, 9]
    assert [scheduler.pause_after(epoch) for epoch in (0, 1, 2, 3, 8, 9, 26)] == [1, 3, 3, 9, 9, None, None]
    assert scheduler.observe("a", 9, 0.5), "it has left the rung"


def test_rungs_lie_in_validated_epochs() -> None:
    def rungs(max_epochs: int, validate_every: int) -> list[int]:
        return list(
            PromotionAsha(grace_epochs=1, reduction=3, max_epochs=max_epochs, validate_every=validate_every).rungs
        )

    assert rungs(27, 2) == [2, 4, 10]
    assert rungs(27, 5) == [5, 10]
    assert rungs(10, 5) == [5]
    assert rungs(5, 5) == []


def test_the_highest_rung_comes_first() -> None:
    scheduler = make(reduction=2, max_epochs=4)
    for index in range(4):
        scheduler.observe(f"t{index}", 1, index / 10)
    assert [scheduler.next_promotion(), scheduler.next_promotion(), scheduler.next_promotion()] == ["t3", "t2", None]
    scheduler.observe("t2", 2, 0.1)
    for index in range(4, 6):
        scheduler.observe(f"t{index}", 1, index / 10)
    scheduler.observe("t3", 2, 0.2)
    assert [scheduler.next_promotion(), scheduler.next_promotion()] == ["t3", "t5"]


def test_a_trial_that_left_is_not_promoted_and_its_value_still_counts() -> None:
    scheduler = make(reduction=2, max_epochs=4)
    for key, value in (("a", 0.9), ("b", 0.8)):
        scheduler.observe(key, 1, value)
    scheduler.leave("a")
    scheduler.leave("a")
    scheduler.leave("unknown")
    assert scheduler.next_promotion() is None, "b is second of two"
    for key in "cd":
        scheduler.observe(key, 1, 0.1)
    assert scheduler.next_promotion() == "b"


def test_at_the_end_one_trial_is_completed() -> None:
    scheduler = make()
    scheduler.observe("a", 1, 0.4)
    scheduler.observe("b", 1, 0.5)
    assert scheduler.next_promotion() is None
    assert scheduler.next_promotion(is_last=True) == "b"
    scheduler.observe("b", 3, 0.1)
    assert scheduler.next_promotion(is_last=True) == "b", "the highest rung, not the best value"
    scheduler.leave("b")  # it failed
    assert scheduler.next_promotion(is_last=True) == "a"
    scheduler.observe("a", 3, 0.1)
    assert scheduler.next_promotion(is_last=True) == "a"
    scheduler.observe("a", 27, 0.1)
    scheduler.observe("c", 1, 0.1)
    assert scheduler.next_promotion(is_last=True) is None


def test_a_value_that_is_missing_at_a_rung_is_the_worst() -> None:
    scheduler = make(reduction=2)
    assert not scheduler.observe("blind", 1, None)
    assert not scheduler.observe("seen", 1, 0.0)
    assert scheduler.next_promotion() == "seen"


def test_ten_thousand_trials_in_a_second() -> None:
    scheduler, rng = make(), random.Random(0)
    start = time.process_time()
    for index in range(10_000):
        scheduler.observe(f"t{index}", 1, rng.random())
        while (key := scheduler.next_promotion()) is not None:
            scheduler.observe(key, 3, rng.random())
    assert time.process_time() - start < 1.0


class Played:
    """A sweep whose trainings are made up: a model of the study's space learns the faster, the higher its rate."""

    def __init__(self, study: StudyConfig, facts: DataFacts, journal: Journal, num_workers: int = 1) -> None:
        self.sweep = Sweep(study=study, facts=facts, journal=journal)
        self.running: dict[str, Assignment] = {}
        self.begun: list[str] = []
        """Keys in the order in which workers took them."""
        self._study, self._journal, self._num_workers = study, journal, num_workers

    def step(self) -> bool:
        """Hand out trainings, and let the one that waits longest finish an epoch; False if nothing runs."""
        self.sweep.obey()
        while len(self.running) < self._num_workers and (taken := self.sweep.next()) is not None:
            assert taken.spec.key not in self.running, "trained by one worker at a time"
            self.running[taken.spec.key] = taken
            self.begun.append(taken.spec.key)
        if not self.running:
            return False
        key = next(iter(self.running))
        taken, record = self.running.pop(key), self._journal.records[key]
        epoch, is_last = len(record.curve) + 1, len(record.curve) + 1 == self._study.train.epochs
        value = round(10 * record.point["lr"] * (1 - 0.5**epoch), 6)
        (self.sweep.folder_of(key) / "checkpoint.pt").parent.mkdir(exist_ok=True)
        (self.sweep.folder_of(key) / "checkpoint.pt").touch()
        progress = Progress(
            metrics=EpochMetrics(
                epoch=epoch,
                train_loss=1.0,
                train_accuracy=0.5,
                val_loss=1.0,
                val_accuracy=value,
                learning_rate=0.1,
                elapsed_secs=1.0,
                num_images=1,
            ),
            result=TrialResult(test_accuracy=None) if is_last else None,
        )
        if self.sweep.report(key, progress, "node"):
            assert taken.pause_after != epoch, "the worker has closed this training"
            self.running[key] = taken
        return True

    def finish(self) -> list[TrialRecord]:
        while self.step():
            pass
        return self.sweep.records


OPTIONS = ("search.scheduler=asha-promote", "search.trials=12", "train.epochs=8", "search.sampler=random")


def events_of(study: StudyConfig) -> list[str]:
    return [event["event"] for event in read_events(study.folder / FILE_NAME)]


def test_a_sweep_pauses_promotes_and_ends(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(*OPTIONS)
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        waiting_at_once = 0
        while played.step():
            waiting_at_once = max(waiting_at_once, sum(record.is_waiting for record in played.sweep.records))
            for record in played.sweep.records:
                assert not record.is_waiting or len(record.curve) in {1, 2, 4}
                assert not record.is_waiting or (played.sweep.folder_of(record.key) / "checkpoint.pt").exists()
        records = played.sweep.records
        assert played.sweep.finished
    assert waiting_at_once >= 6
    assert not any(record.is_waiting for record in records)
    assert {type(record.outcome) for record in records} == {Completed, Stopped}
    assert {len(record.curve) for record in records if isinstance(record.outcome, Stopped)} <= {1, 2, 4}
    # Half of those that reach a rung leave it: 12 trials at the first, 6 at the second, 3 at the third.
    reached = [sum(len(record.curve) >= rung for record in records) for rung in (1, 2, 4)]
    assert reached[0] == 12
    assert reached[1] >= 6
    assert reached[2] >= 3
    best = sorted(records, key=lambda record: -record.point["lr"])
    assert isinstance(best[0].outcome, Completed), "the rate decides how fast the models learn"
    assert all(len(record.curve) > 1 for record in best[:6])
    assert all(record.resumed == 0 for record in records), "a promotion is no interruption"
    assert not list(study.folder.glob("trials/*/checkpoint.pt"))
    assert events_of(study).count("pause") == sum(
        sum(len(record.curve) >= rung for rung in (1, 2, 4)) for record in records
    )
    with Journal(claim_folder(study)) as journal:
        assert Played(study, facts, journal).finish() == records, "nothing is left to be done"


def test_promotions_come_before_new_trials(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(*OPTIONS)
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        while len(played.sweep.records) < 2 or not played.sweep.records[1].is_waiting:
            assert played.step()
        first, second = played.sweep.records
        best = max(first, second, key=lambda record: record.point["lr"])
        played.step()
        assert played.begun[-1] == best.key
        assert len(played.sweep.records) == 2


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_driver_killed_before_any_write_loses_nothing(
    make_study: MakeStudy,
    facts: DataFacts,
    killed: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
) -> None:
    options = (*OPTIONS, "search.trials=4", "train.epochs=4")
    calm = make_study(*options, name="calm")
    with Journal(claim_folder(calm)) as journal:
        expected = Played(calm, facts, journal, num_workers).finish()
    original, num_writes = Journal._write, len(events_of(calm))

    def story(records: list[TrialRecord]) -> list[Any]:
        return [(record.key, record.outcome, len(record.curve)) for record in records]

    # The first write is the first trial's; every third one is tried with one worker, and every ninth with three.
    for place in range(1, num_writes, 3 if num_workers == 1 else 9):
        study, left = make_study(*options, name=f"cut{place}"), itertools.count(place, -1)

        def deadly(self: Journal, event: dict[str, Any], left: itertools.count[int] = left) -> None:
            if next(left) == 0:
                raise killed
            original(self, event)

        with monkeypatch.context() as patch, Journal(claim_folder(study)) as journal:
            patch.setattr(Journal, "_write", deadly)
            with pytest.raises(killed):
                Played(study, facts, journal, num_workers).finish()
        with Journal(claim_folder(study)) as journal:
            records = Played(study, facts, journal, num_workers).finish()
        if num_workers == 1:
            assert story(records) == story(expected), place
        assert len(records) == 4
        assert all(record.outcome is not None and not record.is_waiting for record in records)
        assert any(record.outcome == Completed() for record in records)


def test_a_pause_that_was_not_written_any_more_is_made_again(
    make_study: MakeStudy, facts: DataFacts, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(*OPTIONS)

    def deadly(self: Journal, key: str) -> None:
        raise killed

    with monkeypatch.context() as patch, Journal(claim_folder(study)) as journal:
        patch.setattr(Journal, "pause", deadly)
        with pytest.raises(killed):
            Played(study, facts, journal).finish()
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        (record,) = played.sweep.records
        assert record.is_waiting
        played.step()
        assert played.begun != [record.key], "it waits; a new trial begins"
    # A trial that was promoted and has no new epoch yet does not wait.
    with Journal(claim_folder(study)) as journal:
        journal.resume(record.key)
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        assert events_of(study).count("pause") == 2
        played.step()
        assert played.begun == [record.key]


def test_a_waiting_trial_can_be_stopped_by_hand(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(*OPTIONS)
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        while sum(record.is_waiting for record in played.sweep.records) < 2:
            played.step()
        best = max(played.sweep.records, key=lambda record: record.point["lr"])
        answer = played.sweep.carry_out(Command(verb="stop", trial=best.number, at=0.0, id="x", by="me"))
        assert answer == Answer(done=True, words=f"trial {best.number} is stopped after 1 epoch")
        assert not played.sweep.folder_of(best.key).exists(), "its checkpoint is deleted at once"
        records = played.finish()
    (stopped,) = (record for record in records if record.key == best.key)
    assert stopped.outcome == Stopped(epoch=1, by_hand=True)
    assert best.key not in played.begun[2:]


def test_waiting_trials_outlast_an_interruption_and_an_extension(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(*OPTIONS)
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        for _ in range(8):
            played.step()
        waiting = {record.key for record in played.sweep.records if record.is_waiting}
        assert len(waiting) >= 2
        played.sweep.interrupt("SIGTERM")
        assert played.sweep.next() is None
    assert {record.key for record in read_records(study.folder).values() if record.is_waiting} == waiting
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        answer = played.sweep.carry_out(Command(verb="extend", trials=4, at=0.0, id="x", by="me"))
        assert answer is not None
        assert answer.done
        assert len(played.finish()) == 16
        assert played.sweep.finished


def test_too_many_failures_promote_and_stop_none(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(*OPTIONS, "search.max_failed_fraction=0.1")
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        while sum(record.is_waiting for record in played.sweep.records) < 2:
            played.step()
        waiting = [record for record in played.sweep.records if record.is_waiting]
        for _ in range(2):
            taken = played.sweep.next()
            assert taken is not None
            played.sweep.fail(taken.spec.key, "no")
        assert played.sweep.next() is None
        left = [record.key for record in played.sweep.records if record.is_waiting]
        assert set(left) <= {record.key for record in waiting}
        assert left, "more failures may be allowed later"


def test_the_worker_closes_a_training_before_it_reports_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def train(assignment: Assignment, device: str) -> Any:
        try:
            for epoch in range(1, 5):
                yield None
                yield SimpleNamespace(metrics=SimpleNamespace(epoch=epoch))
        finally:
            closed.append(device)

    monkeypatch.setattr("search.runners.assignment._carry_out", train)
    spec: Any = None
    pausing = Assignment(spec=spec, folder=".", num_known_epochs=0, pause_after=2)
    told = [(item and item.metrics.epoch, bool(closed)) for item in run_assignment(pausing, "cpu")]
    assert told == [(None, False), (1, False), (None, False), (2, True)]
    closed.clear()
    whole = Assignment(spec=spec, folder=".", num_known_epochs=0)
    assert [item and item.metrics.epoch for item in run_assignment(whole, "cpu")] == [
        None,
        1,
        None,
        2,
        None,
        3,
        None,
        4,
    ]
    closed.clear()
    training = run_assignment(whole, "cpu")
    next(training)
    training.close()
    assert closed == ["cpu"], "closing reaches the training"


def test_states_are_shown_as_waiting(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(*OPTIONS)
    with Journal(claim_folder(study)) as journal:
        played = Played(study, facts, journal)
        while sum(record.is_waiting for record in played.sweep.records) < 3:
            played.step()
        records = played.sweep.records
    status = summarise(records, 12, since=0.0, now=100.0)
    assert (status.num_waiting, status.num_unfinished, status.num_over) == (3, len(records) - 3, 0)
    assert status.eta_secs == pytest.approx(100 / 3 * 9)
    assert one_line(status, "trials").startswith(f"0/12 trials; 0 completed, 0 stopped, 0 failed, {len(records) - 3}")
    assert "running, 3 waiting" in one_line(status, "trials")
    assert [state_of(record) for record in records].count("waiting") == 3
    follower = Follower(study.folder)
    follower.read()
    states = [follower.state_of(record) for record in follower.records.values()]
    assert states.count(("RUNNING", "waiting")) == 3
    follower.leave()
    assert {follower.state_of(record) for record in follower.records.values()} == {("KILLED", "unfinished")}
