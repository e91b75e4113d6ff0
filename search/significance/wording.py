"""The sentence: what a careful reader would sign, and no number without its n, unit and family size."""

from __future__ import annotations

import math

from search.significance.methods import CHECKPOINTS, NEW_DATA_SETS
from search.significance.records import Comparison, Interval, Verdict

ADJUSTMENTS = {
    "holm": "Holm",
    "hommel": "Hommel",
    "hochberg": "Hochberg",
    "shaffer": "Shaffer",
    "bergmann-hommel": "Bergmann-Hommel",
    "max-t": "max-T",
    "bh": "Benjamini-Hochberg",
}
"""How an adjustment is called in words."""


def sentence_of(comparison: Comparison) -> str:
    """Put a comparison into words.

    Args:
        comparison: Everything but the sentence.

    Returns:
        One paragraph; differences in percentage points.
    """
    parts = [_refused(comparison) if comparison.verdict is Verdict.REFUSED else _judged(comparison)]
    parts.append(_failures(comparison))
    if comparison.num_mismatched or comparison.num_lost:
        missing = comparison.num_mismatched + comparison.num_lost
        parts.append(f"{missing} of {comparison.num_blocks + missing} pairs missing.")
    whole = " ".join(part for part in parts if part)
    if not comparison.dataset:
        return whole
    own = whole.startswith((comparison.a, comparison.b))  # a name keeps its capital
    return f"On {comparison.dataset}: {whole if own else whole[0].lower() + whole[1:]}"


def _judged(c: Comparison) -> str:
    assert c.estimate is not None
    assert c.interval is not None
    assert c.adjusted_p is not None
    sign = -1.0 if c.verdict is Verdict.WORSE else 1.0
    digits = digits_for(c.interval)
    gap = points(sign * c.estimate, digits)
    numbers = f"({_interval(c.interval, sign, digits)}{_adjusted(c)}; {_evidence(c)})"
    match c.verdict:
        case Verdict.BETTER:
            first = f"{c.a} beats {c.b} by {gap} percentage points {numbers}."
        case Verdict.WORSE:
            first = f"{c.a} loses to {c.b} by {gap} percentage points {numbers}."
        case Verdict.EQUIVALENT:
            real = " Significant, but too small to matter." if c.adjusted_p <= c.alpha else ""
            if c.adjusted_tost_p is not None and c.adjusted_tost_p > c.alpha:
                tests = f"two one-sided tests over {c.family_size} give {p_value(c.adjusted_tost_p)}"
                real += f" By the posterior alone: {tests}."
            first = (
                f"{c.a} and {c.b} are practically equivalent: {c.a} minus {c.b} is {gap} percentage points "
                f"{numbers}.{real}"
            )
        case _:
            first = f"inconclusive: {c.a} minus {c.b} is {gap} percentage points {numbers}.{_why_not(c)}"
    first = f"{first}{_chances(c)}"
    if c.provisional:
        first = f"Provisional, few repeats: {first}"
    elif c.verdict is Verdict.INCONCLUSIVE:
        first = first[0].upper() + first[1:]
    return f"{first}{_reach(c, digits)}"


def _chances(c: Comparison) -> str:
    """The posterior, in the words of the verdict."""
    if c.rope_probabilities is None:
        return ""
    below, inside, above = c.rope_probabilities
    rope = f"{100 * c.rope:g} pp"
    match c.verdict:
        case Verdict.BETTER:
            return f" P(difference > {rope}) {_equals(above)}."
        case Verdict.WORSE:
            return f" P(deficit > {rope}) {_equals(below)}."
        case Verdict.EQUIVALENT:
            return f" P(|difference| < {rope}) {_equals(inside)}."
        case _:
            return f" P(difference > {rope}) {_equals(above)}, P(difference < -{rope}) {_equals(below)}."


def _reach(c: Comparison, digits: int) -> str:
    """What this many repeats could find; where nothing was found, how many it would take."""
    if c.smallest_detectable is None:
        return ""
    found = f" Smallest detectable gap {points(c.smallest_detectable, digits)} pp."
    if c.verdict is not Verdict.INCONCLUSIVE or not c.rope > 0 or c.smallest_ever is None:
        return found
    gap = f"a gap of {100 * c.rope:g} pp"
    if c.num_blocks_for_rope is None:
        more = "more test images" if c.num_images else "more data, or a smaller part to score on"
        floor = f"below {points(c.smallest_ever, digits)} pp it takes {more}"
        return f"{found} No number of repeats would find {gap}: {floor}."
    if c.num_blocks_for_rope <= c.num_blocks:
        return found
    upper = f"{c.num_blocks_for_rope_upper:,}" if c.num_blocks_for_rope_upper else "no number"
    at_limits = f"{upper} if the variances are at their upper 80 % limits"
    return f"{found} Finding {gap} would take {c.num_blocks_for_rope:,} repeats, {at_limits}."


def _why_not(c: Comparison) -> str:
    if c.reason:
        return f" No verdict, because {c.reason}."
    if c.interval and c.interval.low * c.interval.high > 0:
        return f" The interval is this comparison's alone; it does not hold up among {c.family_size}."
    return ""


def _refused(c: Comparison) -> str:
    if c.estimate is None or c.mean_a is None or c.mean_b is None:
        return f"Refused: {c.a} against {c.b}: {c.reason}."
    scores = f"{c.a} scored {100 * c.mean_a:.1f} % and {c.b} {100 * c.mean_b:.1f} %"
    gap = f"a difference of {points(c.estimate, 1)} percentage points"
    if c.p is not None and c.interval is not None:  # a test that does not decide
        numbers = f"{_interval(c.interval, 1.0, digits_for(c.interval))}; {p_value(c.p)}; {_evidence(c)}"
        return f"No verdict: {c.reason}. {scores}, {gap} ({numbers}). {c.limits}"
    if c.num_blocks == 1:
        between = ""
        if c.check is not None:
            between = f" Between {CHECKPOINTS}, on images of this kind: {c.check.name} {p_value(c.check.p)}."
        return f"One run of each: {scores}, {gap}. One run says nothing about the next; no verdict.{between}"
    if c.num_blocks == 2:
        return f"Description only, two paired repeats: {scores}, {gap}. No verdict, because {c.reason}."
    return f"Refused: {c.a} against {c.b}: {c.reason}. Over {c.num_blocks} paired repeats {scores}, {gap}."


def _failures(c: Comparison) -> str:
    if not c.num_blocks:
        return ""
    if not (c.failures_a or c.failures_b):
        return "No failures."
    p = "" if c.failures_p is None else f" (exact McNemar {p_value(c.failures_p)})"
    what = " data sets" if c.estimand == NEW_DATA_SETS else ""
    return f"Diverged: {c.a} {c.failures_a}, {c.b} {c.failures_b} of {c.num_blocks}{what}{p}."


def _evidence(c: Comparison) -> str:
    if c.estimand == CHECKPOINTS:
        return f"one trained pair; {c.num_images:,} images; {c.estimand}"
    if c.estimand == NEW_DATA_SETS:
        return f"{c.num_blocks} data sets; {c.estimand}"
    on = "" if c.num_images else "one score each; "
    return f"{c.num_blocks} paired repeats; {on}{c.estimand}"


def _adjusted(c: Comparison) -> str:
    if c.adjusted_p is None:
        return ""
    return f"; {adjustment(c.adjust_method)} {p_value(c.adjusted_p)} over {c.family_size}"


def adjustment(method: str) -> str:
    """How an adjustment is called in words."""
    return ADJUSTMENTS.get(method, method)


def _interval(interval: Interval, sign: float, digits: int) -> str:
    if math.isnan(interval.low):
        return f"{100 * interval.level:g} % interval unbounded"
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f"{100 * interval.level:g} % interval {points(low, digits)} to {points(high, digits)}"


def digits_for(interval: Interval) -> int:
    """Decimals of a percentage point: one as a rule, more when the interval is so narrow that one would hide it."""
    half = 50 * (interval.high - interval.low)  # NaN compares false
    return min(max(1, math.ceil(0.5 - math.log10(half))), 4) if half > 0 else 1


def points(fraction: float, digits: int = 1) -> str:
    """A fraction in percentage points, without a negative zero."""
    value = 100 * fraction
    # Halves go away from 0, whatever the float noise of the arithmetic that made them.
    return f"{round(value + math.copysign(1e-9, value), digits) + 0.0:.{digits}f}"


def p_value(p: float) -> str:
    """A p-value as `p = .004`: three decimals, no leading zero."""
    if p < 0.0005:
        return "p < .001"
    return "p = 1" if p > 0.9995 else f"p = {p:.3f}".replace("0.", ".")


def _equals(probability: float) -> str:
    if probability < 0.005:
        return "< .01"
    return "> .99" if probability >= 0.995 else f"= {probability:.2f}".replace("0.", ".")
