"""All numbers of a comparison as text, for hover texts and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from search.significance.declared import NEW_DATA_SETS
from search.significance.figures.theme import is_bounded
from search.significance.records import Comparison, Interval, MeanTest
from search.significance.rounding import digits_apart, points, significant
from search.significance.wording import adjustment, marks_of

DIGITS = 2
"""Decimals of a percentage point in figures and tables."""


def numbers_of(c: Comparison) -> tuple[tuple[str, str], ...]:
    """Return all numbers of a comparison as text.

    Args:
        c: A judged or refused comparison.

    Returns:
        Pairs of label and number, without missing numbers.
    """
    return tuple((name, value) for name, value in _numbers(c) if value)


def _numbers(c: Comparison) -> Iterator[tuple[str, str]]:
    yield "verdict", f"{c.verdict.value}, provisional" if c.provisional else c.verdict.value
    if c.estimate is not None:
        yield "difference", f"{points(c.estimate, DIGITS)} pp"
    if c.mean_a is not None and c.mean_b is not None:
        yield "means", f"{100 * c.mean_a:.2f} % and {100 * c.mean_b:.2f} %"
    yield _level(c.interval), interval_text(c.interval, marks_of(c))
    yield _level(c.equivalence_interval), interval_text(c.equivalence_interval, marks_of(c))
    if c.family_size > 1:
        yield f"{100 * (1 - c.alpha):g} % interval for all {c.family_size}", interval_text(c.simultaneous_interval)
    error = f" (Monte-Carlo error {number(c.p_error)})" if c.p_error else ""
    if c.family_size == 1:
        yield "p", number(c.p, c.alpha) + error
    else:
        yield "p, raw", number(c.p) + error
        symbol = "q" if c.adjust_method == "bh" else "p"
        yield f"{symbol}, {adjustment(c.adjust_method)} over {c.family_size}", number(c.adjusted_p, c.alpha)
    if c.t is not None and c.df is not None:
        yield "t", f"{c.t:.2f} with {c.df:.1f} degrees of freedom"
    elif c.t is not None and c.se:  # the crossed test has no degrees of freedom
        yield "difference over standard error", f"{c.t:.2f}"
    yield "d_z and g_z", f"{c.d_z:.2f} and {c.g_z:.2f}" if c.d_z is not None and c.g_z is not None else ""
    if c.p_a_gt_b is not None:
        yield "P(A > B)", f"{c.p_a_gt_b:.2f}{_within(c.p_a_gt_b_interval)}"
    if c.rope_probabilities is not None:
        below, inside, above = c.rope_probabilities
        yield f"P(below, inside, above ±{100 * c.rope:g} pp)", f"{below:.3f}, {inside:.3f}, {above:.3f}"
    if c.tost_p is not None and c.adjusted_tost_p is not None:
        several = f"{number(c.tost_p)}, by Holm over {c.family_size} {number(c.adjusted_tost_p, c.alpha)}"
        yield "TOST p", several if c.family_size > 1 else number(c.tost_p, c.alpha)
    what = "data sets" if c.estimand == NEW_DATA_SETS else "paired repeats"
    yield what, f"{c.num_blocks}" + (f" on {c.num_images:,} test images" if c.num_images else "")
    yield "missing pairs", str(c.num_mismatched + c.num_lost) if c.num_mismatched + c.num_lost else ""
    yield "diverged", _failures(c)
    if c.smallest_detectable is not None:
        yield "smallest detectable difference", f"{points(c.smallest_detectable, DIGITS)} pp at 80 % power"
    if c.num_blocks_for_rope is not None:
        upper = c.num_blocks_for_rope_upper
        at_limits = f" ({upper or 'no number'} at the variances' upper 80 % limits)"
        yield "repeats to detect the rope", f"{c.num_blocks_for_rope}{at_limits}"
    if c.smallest_ever is not None:
        yield "floor, with any number of repeats", f"{points(c.smallest_ever, DIGITS)} pp"
    if c.components is not None:
        parts = (c.components.repeats, c.components.images, c.components.residual)
        yield "variance of repeats, images, rest", ", ".join(f"{part:.3g}" for part in parts)
    yield "BCa bootstrap interval, for information", interval_text(c.bca_interval)
    yield "check, not used for the verdict", _test(c.check)
    yield "on validation scores, not used for the verdict", _test(c.secondary)
    yield "without diverged repeats", _test(c.sensitivity)


def _level(interval: Interval | None) -> str:
    return f"{100 * interval.level:g} % interval, this one alone" if interval else "interval"


def interval_text(interval: Interval | None, marks: Sequence[float] = ()) -> str:
    """Return an interval in percentage points, with no end rounded onto a mark; empty if there is none."""
    if interval is None:
        return ""
    if not is_bounded(interval):
        return "unbounded"
    digits = digits_apart((interval.low, interval.high), marks, DIGITS)
    return f"{points(interval.low, digits)} to {points(interval.high, digits)} pp"


def number(value: float | None, mark: float | None = None) -> str:
    """Return three significant digits, or more if rounding would reach or cross a mark; a dash if there is no value."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3g}" if mark is None else significant(value, mark)


def _within(interval: Interval | None) -> str:
    return (
        "" if interval is None else f" ({100 * interval.level:g} % interval {interval.low:.2f} to {interval.high:.2f})"
    )


def _failures(c: Comparison) -> str:
    if not (c.failures_a or c.failures_b):
        return "none" if c.num_blocks else ""
    p = "" if c.failures_p is None else f", exact McNemar p {number(c.failures_p)}"
    return f"{c.failures_a} and {c.failures_b} of {c.num_blocks}{p}"


def _test(test: MeanTest | None) -> str:
    if test is None:
        return ""
    gap = f"{points(test.estimate, DIGITS)} pp, {interval_text(test.interval)}"
    return f"{test.name}: {gap}, p {number(test.p)}, not adjusted"
