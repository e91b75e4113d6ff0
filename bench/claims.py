"""Shares of false claims: fake pairs drawn from the repeats of one configuration, and how often a test separates them.

Shapes: K arms (fake configurations), R blocks, M test images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.nulls import NullStudy
from search.significance.pairing import Outcomes, Pair, pair_up

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of trials that ended in a claim."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        """Number of claims divided by the number of trials."""
        return self.count / self.total

    def __add__(self, other: Share) -> Share:
        """Pool two counts."""
        return Share(count=self.count + other.count, total=self.total + other.total)

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95 % interval, which assumes independent trials."""
        from scipy.stats import binomtest

        found = binomtest(self.count, self.total).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)

    @property
    def exceeds(self) -> bool:
        """Whether the rate exceeds alpha by more than two Monte-Carlo standard errors."""
        return self.rate > ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / self.total)

    def __str__(self) -> str:
        low, high = self.interval
        mark = " !" if self.exceeds else ""
        return f"{_short(self.rate)} ({_short(low)} to {_short(high)}){mark}"


def _short(share: float) -> str:
    return "1" if round(share, 3) == 1 else f"{share:.3f}"[1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Arms:
    """Fake configurations over the same blocks: disjoint samples of one configuration's repeats."""

    correct: NDArray[np.uint8]
    """Correctness of every test image, 0 or 1, shape (K, R, M)."""
    val_scores: NDArray[np.float64]
    """Validation accuracies, shape (K, R)."""
    ratio: float
    """Number of validation images divided by the number of training images."""

    @property
    def num_blocks(self) -> int:
        """Number of blocks of each arm."""
        return int(self.correct.shape[1])

    @property
    def scores(self) -> NDArray[np.float64]:
        """Test accuracies, shape (K, R)."""
        return np.asarray(self.correct.mean(axis=2), dtype=np.float64)

    def on_test(self, first: int = 0, second: int = 1) -> Pair:
        """Return two arms as a pair of per-image correctness."""
        return _pair(self.correct[first], self.correct[second])

    def on_validation(self, first: int = 0, second: int = 1) -> Pair:
        """Return two arms as a pair of validation accuracies."""
        return _pair(self.val_scores[first], self.val_scores[second])


def _pair(first: NDArray[np.generic], second: NDArray[np.generic]) -> Pair:
    num_blocks = len(first)
    sides = [
        Outcomes(
            blocks=tuple(map(str, range(num_blocks))),
            values=values,
            present=np.ones(num_blocks, dtype=np.bool_),
            diverged=np.zeros(num_blocks, dtype=np.bool_),
        )
        for values in (first, second)
    ]
    return pair_up(sides[0], sides[1], num_classes=None)


def draw_arms(null: NullStudy, num_arms: int, num_blocks: int, rng: np.random.Generator) -> Arms:
    """Draw fake configurations without replacement, so that no repeat is in two of them."""
    chosen_KR = rng.permutation(len(null.correct))[: num_arms * num_blocks].reshape(num_arms, num_blocks)
    return Arms(correct=null.correct[chosen_KR], val_scores=null.val_accuracy[chosen_KR], ratio=null.ratio)


def draws(null: NullStudy, num_arms: int, num_blocks: int, num_splits: int, *, first: int = 0) -> Iterator[Arms]:
    """Yield random splits of the repeats; the random numbers of a split depend only on its number and on R."""
    for split in range(first, first + num_splits):
        yield draw_arms(null, num_arms, num_blocks, np.random.default_rng([num_blocks, split]))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One test of the table."""

    title: str
    offered_for: str
    """The population that a claim refers to; empty if the test is shown for contrast only."""
    claims: Callable[[Arms], bool]
    """Function that returns whether the test separates any two arms."""
    fewest: int = 2
    """Minimum number of blocks of the test."""
    most: int = 10_000
    """Maximum number of blocks of the test."""
    num_arms: int = 2
    every: int = 1
    """Run the test on every n-th split only, for slow tests."""


def count_claims(
    null: NullStudy, rows: list[Row], num_blocks: int, num_splits: int, *, first: int = 0
) -> dict[str, Share]:
    """Count the claims of every test on the same splits of the repeats.

    Args:
        null: Repeats of one configuration.
        rows: Tests; those that do not apply to `num_blocks` blocks, or need more repeats than the study has, are
            skipped.
        num_blocks: R of each arm.
        num_splits: Number of splits.
        first: Number of the first split.

    Returns:
        Title -> share of splits with a claim.
    """
    fit = [
        row for row in rows if row.fewest <= num_blocks <= row.most and row.num_arms * num_blocks <= len(null.correct)
    ]
    if not fit:
        return {}
    counts, totals = dict.fromkeys((row.title for row in fit), 0), dict.fromkeys((row.title for row in fit), 0)
    most_arms = max(row.num_arms for row in fit)
    for split, arms in enumerate(draws(null, most_arms, num_blocks, num_splits, first=first)):
        for row in fit:
            if split % row.every == 0:
                counts[row.title] += bool(row.claims(arms))
                totals[row.title] += 1
    return {title: Share(count=counts[title], total=totals[title]) for title in counts}
