"""Convert comparisons into lines of a planning curve: the detectable difference for other numbers of repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from search.significance.figures.planning_curve import PlanningLine
from search.significance.planning.design import Crossed, Design, Paired, detectable
from search.significance.records import Comparison
from search.significance.tests import crossed, resampled, signflip

MIN_REPEATS = 3
MAX_LINES = 6
NOISE = 1e-9
"""A smaller ratio is 0 up to rounding errors."""
REACH = 4
"""The curve extends to this multiple of the existing repeats, and at least to 30."""


def planning_lines(comparisons: Sequence[Comparison]) -> list[PlanningLine]:
    """Return the detectable difference for other numbers of repeats, at alpha / family size and 80 % power.

    It is as reliable as the estimated variances: for five repeats, within a factor of about two.

    Args:
        comparisons: Comparisons without variances, such as refused ones, are ignored.

    Returns:
        One line per comparison with variances; the first six, so that they stay distinguishable.
    """
    designs = [(comparison, design) for comparison in comparisons if (design := _design(comparison)) is not None]
    return [_line(comparison, design) for comparison, design in designs[:MAX_LINES]]


def _design(c: Comparison) -> Design | None:
    match c.test:
        case crossed.NAME if c.components is not None and c.num_images:
            return Crossed(components=c.components, num_images=c.num_images)
        case resampled.CORRECTED | resampled.PAIRED | signflip.NAME if c.se and len(c.blocks) > 1:
            spread = float(np.std(np.array(c.scores_a) - np.array(c.scores_b), ddof=1))
            # SE = sd sqrt(1/R + ratio), with ratio 0 where splits do not overlap.
            ratio = (c.se / spread) ** 2 - 1 / len(c.blocks)
            return Paired(sd=spread, ratio=ratio if ratio > NOISE else 0.0)
        case _:
            return None


def _line(c: Comparison, design: Design) -> PlanningLine:
    alpha = c.alpha / c.family_size
    last = max(30, REACH * c.num_blocks)
    steps = np.unique(np.geomspace(MIN_REPEATS, last, 40).round().astype(int))
    repeats = tuple(int(count) for count in steps)
    floor = detectable(design, math.inf, alpha=alpha)
    return PlanningLine(
        label=f"{c.a} minus {c.b}",
        repeats=repeats,
        detectable=tuple(detectable(design, count, alpha=alpha) for count in repeats),
        floor=floor if floor > 0 else None,
        num_now=c.num_blocks,
        detectable_now=c.smallest_detectable,
    )
