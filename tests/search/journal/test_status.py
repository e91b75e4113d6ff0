from __future__ import annotations

from collections.abc import Callable

import pytest

from search.console.counts import duration, one_line
from search.journal.summary import best_first, group_failures, nominees, summarise
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord

MakeRecord = Callable[..., TrialRecord]
MakeEpoch = Callable[..., EpochMetrics]


@pytest.fixture
def records(make_record: MakeRecord, make_epoch: MakeEpoch) -> list[TrialRecord]:
    def curve(*values: float) -> tuple[EpochMetrics, ...]:
        return tuple(make_epoch(epoch, value) for epoch, value in enumerate(values, start=1))

    return [
        make_record("a", number=0, curve=curve(0.9, 0.6), outcome=Completed(), finished_at=110.0),
        make_record("b", number=1, curve=curve(0.95), outcome=Stopped(epoch=1), finished_at=120.0),
        make_record("c", number=2, outcome=Failed(reason="broke"), finished_at=130.0),
        make_record("d", number=3, outcome=Failed(reason="nan", diverged=True), finished_at=131.0),
        make_record("e", number=4, outcome=Failed(reason="broke"), finished_at=140.0),
        make_record("f", number=6, curve=curve(0.5, 0.7), outcome=Completed(), finished_at=150.0),
        make_record("g", number=5, curve=curve(0.6, 0.7), outcome=Completed(), finished_at=160.0),
        make_record("h", number=7, curve=curve(0.99)),
    ]


def test_best_first_takes_completed_trials_by_their_last_epoch(records: list[TrialRecord]) -> None:
    assert [record.key for record in best_first(records)] == ["g", "f", "a"]


def test_the_nominee_is_judged_by_its_last_validated_epoch(make_record: MakeRecord, make_epoch: MakeEpoch) -> None:
    gaps = make_record("x", curve=(make_epoch(1, 0.8), make_epoch(2, None)), outcome=Completed())
    never = make_record("y", curve=(make_epoch(1, None),), outcome=Completed())
    assert [record.key for record in best_first([never, gaps])] == ["x", "y"]
    assert "nominated 0.8000" in one_line(summarise([never, gaps], 2), "trials")
    assert "nominated" not in one_line(summarise([never], 1), "trials")


def test_stopped_trials_are_nominated_last_the_furthest_first(
    records: list[TrialRecord], make_record: MakeRecord, make_epoch: MakeEpoch
) -> None:
    further = make_record(
        "z", number=9, curve=(make_epoch(1, 0.1), make_epoch(2, 0.1)), outcome=Stopped(epoch=2), finished_at=1.0
    )
    assert [record.key for record in nominees([further, *records])] == ["g", "f", "a", "z", "b"]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("diverged in epoch 3: the loss was nan", "diverged in epoch 14: the loss was inf", True),
        ("the loss was 1.5e+30", "the loss was 7", True),
        ("<Model at 0x7f3a>", "<Model at 0x55d1>", True),
        ("died on node gpu1.", "died on node gpu22.", True),
        ("no room", "no rows", False),
        ("nano", "info", False),
        ("epoch 1: no room", "step 1: no room", False),
    ],
)
def test_reasons_that_differ_in_numbers_are_one_group(
    make_record: MakeRecord, one: str, other: str, alike: bool
) -> None:
    reasons = ("broke", one, other, one)
    records = [make_record(str(key), outcome=Failed(reason=reason)) for key, reason in enumerate(reasons)]
    expected = [(one, 3), ("broke", 1)] if alike else [(one, 2), ("broke", 1), (other, 1)]
    assert group_failures([*records, make_record("done", outcome=Completed()), make_record("waiting")]) == expected


def test_counts_and_reasons(records: list[TrialRecord]) -> None:
    status = summarise(records, 12)
    assert (status.num_completed, status.num_stopped, status.num_failed, status.num_unfinished) == (3, 1, 3, 1)
    assert (status.num_over, status.num_planned, status.num_epochs) == (7, 12, 8)
    assert status.failures == (("broke", 2), ("nan", 1))
    assert status.nominee is not None
    assert status.nominee.key == "g"
    assert (status.epochs_per_sec, status.eta_secs) == (None, None)


def test_pace_counts_only_this_run_of_the_command(records: list[TrialRecord]) -> None:
    # Since 135: e, f, g over and h running; 5 epochs in 50 seconds, 3 trials over, 5 of 12 to go.
    status = summarise(records, 12, since=135.0, now=185.0)
    assert status.epochs_per_sec == pytest.approx(5 / 50)
    assert status.eta_secs == pytest.approx(50 / 3 * 5)


def test_nothing_is_left_when_all_are_over(records: list[TrialRecord]) -> None:
    assert summarise(records[:7], 7, since=135.0, now=185.0).eta_secs == 0.0


def test_an_empty_study_has_no_nominee_and_no_pace() -> None:
    status = summarise([], 5, since=0.0, now=1.0)
    assert (status.nominee, status.epochs_per_sec, status.eta_secs, status.num_over) == (None, None, None, 0)
    assert one_line(status, "trials") == "0/5 trials; 0 completed, 0 stopped, 0 failed, 0 running"


def test_one_line_says_that_the_nominee_is_one_run(records: list[TrialRecord]) -> None:
    line = one_line(summarise(records, 12, since=135.0, now=185.0), "trials")
    assert line.startswith(
        "7/12 trials; 3 completed, 1 stopped, 3 failed, 1 running; nominated 0.7000 (one run, trial g)"
    )
    assert line.endswith("0.10 epochs/s; ETA 83 s")


@pytest.mark.parametrize(("secs", "words"), [(45.2, "45 s"), (89.9, "90 s"), (720.0, "12 min"), (12600.0, "3.5 h")])
def test_durations_are_for_people(secs: float, words: str) -> None:
    assert duration(secs) == words
