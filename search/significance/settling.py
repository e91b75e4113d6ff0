"""What would settle an undecided comparison, by the power analysis that the judge stored with it.

A number of repeats settles a gap if the test, at its level within the family, detects a true difference of that size
with 80 % power.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.significance.records import Comparison, Verdict
from search.significance.rounding import digits_apart, plain, points


def can_be_planned(comparison: Comparison) -> bool:
    """Return whether the variances of an inconclusive comparison say how many repeats would detect its rope.

    They do not if the verdict depends on diverged repeats, because these determine the spread.
    """
    return (
        comparison.verdict is Verdict.INCONCLUSIVE
        and comparison.rope > 0
        and comparison.smallest_detectable is not None
        and comparison.smallest_ever is not None
        and comparison.sensitivity_verdict in (None, Verdict.INCONCLUSIVE)
    )


def what_settles(comparisons: Sequence[Comparison]) -> str:
    """Return what would settle the inconclusive ones among some comparisons of one family.

    Args:
        comparisons: Comparisons with the same rope; those that cannot be planned are ignored.

    Returns:
        A clause such as `55 repeats would settle 0.5 points`; empty if nothing is known.
    """
    planned = [item for item in comparisons if can_be_planned(item)]
    if not planned:
        return ""
    first = planned[0]
    gap = f"a gap of {first.rope:g}" if first.own_unit else f"{100 * first.rope:g} points"
    numbers = [item.num_blocks_for_rope for item in planned]
    if None in numbers:
        return f"no number of repeats would settle {gap}, only more {'test images' if first.num_images else 'data'}"
    needed = max(number for number in numbers if number is not None)
    if any(item.num_blocks_for_rope > item.num_blocks for item in planned if item.num_blocks_for_rope is not None):
        return f"{needed:,} repeats would settle {gap}"
    found = max(item.smallest_detectable or 0.0 for item in planned)
    digits = digits_apart([found], [first.rope])
    shown = f"a gap of {plain(found, digits)}" if first.own_unit else f"{points(found, digits)} points"
    return f"these repeats settle {shown}"
