"""The cost of a trial does not grow with those before it: our own code takes as many steps for the last ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import search
from search.console.progress import Display
from search.journal.follower import Follower
from search.journal.journal import Journal
from search.records import EpochMetrics, Progress, TrialResult
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.sweep.sweep import Sweep

NUM_BETWEEN = 120
OURS = str(Path(search.__file__).parent)


@contextmanager
def counting() -> Iterator[list[int]]:
    """Steps of the interpreter (opcodes) in our own code."""
    num_steps = [0]

    def count(_: FrameType, event: str, __: Any) -> Any:
        num_steps[0] += event == "opcode"
        return count

    def enter(frame: FrameType, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return count

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield num_steps
    finally:
        sys.settrace(before)


@pytest.fixture
def sweep(make_study: Callable[..., StudyConfig], facts: DataFacts) -> Iterator[Sweep]:
    """A sweep of random proposals that is told what came of them; a display looks on."""
    study = make_study("search.trials=400", "search.sampler=random", "train.epochs=2")
    with Journal(claim_folder(study)) as journal:
        journal.note("session", verb="sweep")
        shown: list[Display] = []
        made = Sweep(study=study, facts=facts, journal=journal, on_change=lambda: shown[0].update())
        shown.append(Display(title="t", noun="trials", num_planned=lambda: 400, records=lambda: made.records))
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
            with counting() as num_steps:
                one_trial(sweep, make_epoch)
            counts.append(num_steps[0])
        return min(counts)

    for _ in range(20):
        one_trial(sweep, make_epoch)
    early = cost()
    for _ in range(NUM_BETWEEN):
        one_trial(sweep, make_epoch)
    late = cost()
    assert early > 1000
    assert late - early < 2 * NUM_BETWEEN, (early, late)


def test_a_trial_costs_the_follower_the_same_after_hundreds(
    sweep: Sweep, make_epoch: Callable[..., EpochMetrics]
) -> None:
    follower = Follower(sweep._folder)

    def cost() -> int:
        one_trial(sweep, make_epoch)
        with counting() as num_steps:
            follower.read()
            assert follower.nominee is not None
            assert follower.progress("trial")
            follower.parent_status("sweep")
        return num_steps[0]

    for _ in range(20):
        one_trial(sweep, make_epoch)
    follower.read()
    early = min(cost() for _ in range(5))
    for _ in range(NUM_BETWEEN):
        one_trial(sweep, make_epoch)
    follower.read()
    late = min(cost() for _ in range(5))
    assert early > 300
    assert late - early < 2 * NUM_BETWEEN, (early, late)
