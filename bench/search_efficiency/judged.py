"""How good the answers of a simulated sweep are, by trainings that the method did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.search_efficiency.table import Table

TARGET = 0.005
"""A search has reached the target once its answer is at most this much below the best point's mean."""
NUM_TIMES = 100
"""Moments, equally far apart, at which the regret is computed."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The answers of one simulated sweep, judged.

    Attributes:
        regret: How much the answer lies below the best point's mean, at each moment.
        reached: Part of the whole time after which the target was first reached; None if it was not.
        final: Mean validation accuracy, in other trainings, of the last answer.
    """

    regret: list[float]
    reached: float | None
    final: float

    @property
    def time(self) -> float:
        """Part of the whole time until the target; the whole time if it was not reached."""
        return 1.0 if self.reached is None else self.reached


def judge(table: Table, seen: int, answers: Sequence[Sequence[float]]) -> Judged:
    """Judge the answers of a sweep by the mean of the other trainings of their points.

    A sweep without an answer counts with an accuracy of 0.

    Args:
        table: The recorded trainings.
        seen: The seed whose trainings the method saw.
        answers: (part of the whole time, point) at each change of the answer.
    """
    truth, best = table.truth(seen), table.best(seen)
    steps = [(float(part), truth[int(point)]) for part, point in answers]
    return Judged(
        regret=[_regret(steps, (index + 1) / NUM_TIMES, best) for index in range(NUM_TIMES)],
        reached=next((part for part, mean in steps if mean >= best - TARGET), None),
        final=steps[-1][1] if steps else 0.0,
    )


def _regret(steps: list[tuple[float, float]], part: float, best: float) -> float:
    known = [mean for when, mean in steps if when <= part]
    return max(0.0, best - known[-1]) if known else best
