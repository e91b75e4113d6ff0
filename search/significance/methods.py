"""Which test, by what was stored: the only dispatch. A new test is one more row of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from search.significance import crossed, resampled
from search.significance.records import MeanTest

NEW_DATA = "new data of this kind"
MIN_BLOCKS = 3
"""Below: description only."""
FIRM_BLOCKS = 5
"""Below: provisional."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to decide a comparison."""

    name: str
    min_blocks: int
    scored_on: str
    """What the estimate is measured on."""
    estimand: str
    why: str
    limits: str
    run: Callable[[NDArray[Any], float, float | None], MeanTest]
    """(differences, alpha, n_test / n_train) -> test."""


def _run_crossed(diff: NDArray[Any], alpha: float, _ratio: float | None) -> MeanTest:
    return crossed.crossed_test(diff, alpha=alpha)


def _run_corrected(diff: NDArray[Any], alpha: float, ratio: float | None) -> MeanTest:
    assert ratio is not None, "judge() asks for the ratio before any test"
    return resampled.corrected_resampled_t(diff, ratio=ratio, alpha=alpha)


CROSSED = Method(
    name=crossed.NAME,
    min_blocks=MIN_BLOCKS,
    scored_on="test images",
    estimand=NEW_DATA,
    why="Both have the correctness of every test image, so repeats and images are both treated as random.",
    limits=(
        "Holds if repeats are exchangeable and the test images were not chosen with either in view. "
        "The training pool is one draw whose own variance is not seen. "
        "Below 5 blocks the false-positive rate can reach .07 at a nominal .05."
    ),
    run=_run_crossed,
)
CORRECTED_T = Method(
    name=resampled.CORRECTED,
    min_blocks=FIRM_BLOCKS,
    scored_on="validation images",
    estimand=NEW_DATA,
    why="Only validation scores of random splits are there, so the variance that overlapping splits hide is put back.",
    limits=(
        "Holds for random splits; the correction is an approximation and usually errs to the cautious side. "
        "It has a floor: differences below it cannot be shown by any number of blocks. "
        "Validation scores that chose the configuration flatter it."
    ),
    run=_run_corrected,
)


def choose(*, has_bits: bool, has_scores: bool) -> Method | None:
    """Choose the test by what both configurations have stored, never by how the numbers look.

    Args:
        has_bits: Both have correctness bits of the test images.
        has_scores: Both have validation scores.

    Returns:
        The method; None when they have nothing in common.
    """
    if has_bits:
        return CROSSED
    return CORRECTED_T if has_scores else None
