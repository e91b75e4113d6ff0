"""The cost of a trial does not grow with those before it: our own functions are called as often for the last ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import search
from search.bind import DataFacts
from search.progress import Display
from search.records import EpochMetrics, Progress, TrialResult
from search.study import StudyConfig, claim_folder
from search.sweep import Sweep
from search.tracking.follower import Follower
from search.tracking.journal import Journal

OURS = str(Path(search.__file__).parent)


@contextmanager
def counting() -> Iterator[list[int]]:
    """Calls of our own functions, each item of a generator counted as one."""
    num_calls = [0]

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event in {"call", "c_call"} and frame.f_code.co_filename.startswith(OURS):
            num_calls[0] += 1

    sys.setprofile(note)
    try:
        yield num_calls
    finally:
        sys.setprofile(None)


@pytest.fixture
def sweep(make_study: Callable[..., StudyConfig], facts: DataFacts) -> Iterator[Sweep]:
    """A sweep of random proposals that is told what came of them; a display looks on."""
    study = make_study("search.trials=400", "search.sampler=random", "train.epochs=2")
    with Journal(claim_folder(study)) as journal:
        journal.note("session", verb="sweep")
        shown: list[Display] = []
        made = Sweep(study=study, facts=facts, journal=journal, on_change=lambda: shown[0].update())
        shown.append(Display(title="t", noun="trials", num_planned=400, records=lambda: made.records))
        shown[0]._look_again = float("inf")  # it looks by the clock
        yield made


def one_trial(sweep: Sweep, make_epoch: Callable[..., EpochMetrics]) -> None:
    assignment = sweep.next()
    assert assignment is not None
    for epoch in (1, 2):
        result = TrialResult(test_accuracy=None) if epoch == 2 else None
        if not sweep.report(assignment.spec.key, Progress(metrics=make_epoch(epoch, 0.5), result=result), "n"):
            return


def test_a_trial_costs_the_driver_the_same_after_hundreds(
    sweep: Sweep, make_epoch: Callable[..., EpochMetrics]
) -> None:
    def cost() -> int:
        counts = []
        for _ in range(5):
            with counting() as num_calls:
                one_trial(sweep, make_epoch)
            counts.append(num_calls[0])
        return min(counts)

    for _ in range(20):
        one_trial(sweep, make_epoch)
    early = cost()
    for _ in range(120):
        one_trial(sweep, make_epoch)
    late = cost()
    assert early > 100
    assert late - early < 60, (early, late)


def test_a_trial_costs_the_follower_the_same_after_hundreds(
    sweep: Sweep, make_epoch: Callable[..., EpochMetrics]
) -> None:
    follower = Follower(sweep._folder)

    def cost() -> int:
        one_trial(sweep, make_epoch)
        with counting() as num_calls:
            follower.read()
            assert follower.nominee is not None
            assert follower.progress("trial")
            follower.parent_status("sweep")
        return num_calls[0]

    for _ in range(20):
        one_trial(sweep, make_epoch)
    follower.read()
    early = min(cost() for _ in range(5))
    for _ in range(120):
        one_trial(sweep, make_epoch)
    follower.read()
    late = min(cost() for _ in range(5))
    assert early > 30
    assert late - early < 60, (early, late)
