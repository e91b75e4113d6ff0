"""Put a comparison into one sentence; every number comes with its n, unit and family size."""

from __future__ import annotations

import math

from search.significance.declared import CHECKPOINTS, NEW_DATA_SETS
from search.significance.records import Comparison, Interval, Verdict
from search.significance.rounding import NOISE_FRACTION, digits_apart, digits_for, p_value, plain, points, probability
from search.significance.settling import can_be_planned

ADJUSTMENTS = {
    "holm": "Holm",
    "hommel": "Hommel",
    "hochberg": "Hochberg",
    "shaffer": "Shaffer",
    "bergmann-hommel": "Bergmann-Hommel",
    "max-t": "max-T",
    "bh": "Benjamini-Hochberg",
}
"""Names of the adjustments in text."""


def sentence_of(comparison: Comparison) -> str:
    """Return a comparison as text.

    Args:
        comparison: A comparison, complete except for the sentence.

    Returns:
        One paragraph; differences in percentage points, or in the unit of the scores.
    """
    parts = [_refused(comparison) if comparison.verdict is Verdict.REFUSED else _judged(comparison)]
    parts.append(_failures(comparison))
    missing = num_missing(comparison)
    if missing and missing not in (comparison.reason or ""):
        parts.append(f"{missing} missing.")
    whole = " ".join(part for part in parts if part)
    if not comparison.dataset:
        return whole
    own = whole.startswith((comparison.a, comparison.b))  # keep the capitalisation of a name
    return f"On {comparison.dataset}: {whole if own else whole[0].lower() + whole[1:]}"


def num_missing(c: Comparison) -> str:
    """Return the number of missing pairs and the total as text; empty if none is missing."""
    missing = c.num_mismatched + c.num_lost
    what = "data sets" if c.estimand == NEW_DATA_SETS else "pairs"
    return f"{missing} of {c.num_blocks + missing} {what}" if missing else ""


def _judged(c: Comparison) -> str:
    assert c.estimate is not None
    assert c.interval is not None
    assert c.adjusted_p is not None
    # The difference is written as a positive number; with lower-is-better scores a winner's difference is negative.
    loses = c.verdict is Verdict.WORSE
    sign = -1.0 if c.verdict in (Verdict.BETTER, Verdict.WORSE) and loses != c.lower_is_better else 1.0
    is_equivalent = c.verdict is Verdict.EQUIVALENT and c.equivalence_interval is not None
    interval = c.equivalence_interval if is_equivalent and c.equivalence_interval else c.interval
    digits = digits_for(interval, marks_of(c))
    gap = _amount(c, sign * c.estimate, digits, " percentage points")
    p = equivalence_p(c) if is_equivalent else difference_p(c)
    numbers = f"({_interval(c, interval, sign, digits)}; {p}; {_evidence(c)})"
    match c.verdict:
        case Verdict.BETTER:
            first = f"{c.a} beats {c.b} by {gap} {numbers}."
        case Verdict.WORSE:
            first = f"{c.a} loses to {c.b} by {gap} {numbers}."
        case Verdict.EQUIVALENT:
            real = f" Significant ({difference_p(c)}), but too small to matter." if c.adjusted_p <= c.alpha else ""
            first = f"{c.a} and {c.b} are practically equivalent: {c.a} minus {c.b} is {gap} {numbers}.{real}"
        case _:
            first = f"inconclusive: {c.a} minus {c.b} is {gap} {numbers}.{_why_not(c)}"
    first = f"{first}{_chances(c)}"
    if c.provisional:
        first = f"Provisional, few repeats: {first}"
    elif c.verdict is Verdict.INCONCLUSIVE:
        first = first[0].upper() + first[1:]
    return f"{first}{_reach(c, digits)}{_interim(c)}"


def marks_of(c: Comparison) -> tuple[float, ...]:
    """Return the marks for a comparison's interval ends: 0 and the edges of the rope."""
    return (0.0, c.rope, -c.rope)


def difference_p(c: Comparison) -> str:
    """Return the p-value that decides whether there is a difference, with its adjustment and family size."""
    assert c.adjusted_p is not None
    if c.family_size == 1:
        return p_value(c.adjusted_p, c.alpha)
    if c.adjust_method == "bh":
        return f"false discovery rate {p_value(c.adjusted_p, c.alpha, symbol='q')} over {c.family_size}"
    return f"{adjustment(c.adjust_method)} {p_value(c.adjusted_p, c.alpha)} over {c.family_size}"


def equivalence_p(c: Comparison) -> str:
    """Return the p-value that decides practical equivalence, always adjusted by Holm."""
    assert c.adjusted_tost_p is not None
    p = p_value(c.adjusted_tost_p, c.alpha)
    return f"TOST {p}" if c.family_size == 1 else f"Holm TOST {p} over {c.family_size}"


def _chances(c: Comparison) -> str:
    """Return the posterior as text, matching the verdict."""
    if c.rope_probabilities is None or (c.own_unit and not c.rope > 0):
        return ""
    below, inside, above = c.rope_probabilities
    advantage, deficit = (below, above) if c.lower_is_better else (above, below)
    rope = _rope(c)
    match c.verdict:
        case Verdict.BETTER:
            return f" P(difference > {rope}) {probability(advantage)}."
        case Verdict.WORSE:
            return f" P(deficit > {rope}) {probability(deficit)}."
        case Verdict.EQUIVALENT:
            return f" P(|difference| < {rope}) {probability(inside)}."
        case _:
            return f" P(difference > {rope}) {probability(above)}, P(difference < -{rope}) {probability(below)}."


def _interim(c: Comparison) -> str:
    """Return which of the declared interim analyses this is, and how much of alpha they have spent."""
    if c.interim is None:
        return ""
    from search.significance.sequential.bounds import group_sequential_bounds  # reading a comparison needs no SciPy

    look, num_looks = c.interim
    spent = group_sequential_bounds(num_looks, alpha=c.alpha).spent[look - 1]
    return f" Analysis {look} of {num_looks} as declared (O'Brien-Fleming): {spent:.2g} of alpha {c.alpha:g} is spent."


def _reach(c: Comparison, digits: int) -> str:
    """Return what this number of repeats detects; if nothing was detected, the number that would."""
    if c.smallest_detectable is None:
        return ""
    digits = digits_apart([value for value in (c.smallest_detectable, c.smallest_ever) if value], [c.rope], digits)
    found = f" Smallest detectable gap {_amount(c, c.smallest_detectable, digits, ' pp')}."
    if not can_be_planned(c) or c.smallest_ever is None:
        return found
    gap = f"a gap of {_rope(c)}"
    if c.num_blocks_for_rope is None:
        more = "more test images" if c.num_images else "more data, or a smaller test part"
        floor = f"below {_amount(c, c.smallest_ever, digits, ' pp')} it takes {more}"
        return f"{found} No number of repeats would find {gap}: {floor}."
    if c.num_blocks_for_rope <= c.num_blocks:
        return found
    upper = f"{c.num_blocks_for_rope_upper:,}" if c.num_blocks_for_rope_upper else "no number"
    at_limits = f"{upper} if the variances are at their upper 80 % limits"
    return f"{found} Finding {gap} would take {c.num_blocks_for_rope:,} repeats, {at_limits}."


def _why_not(c: Comparison) -> str:
    """Return why there is no verdict although the numbers alone suggest one."""
    if c.reason:
        return f" No verdict, because {c.reason}."
    if c.interval and (c.interval.low > NOISE_FRACTION or c.interval.high < -NOISE_FRACTION):
        if c.family_size == 1:
            return f" The interval excludes 0, but the {c.test} decides."
        return (
            f" The interval is for this comparison alone; adjusted over {c.family_size} comparisons, the difference is "
            "not significant."
        )
    inside = c.equivalence_interval
    if inside and -c.rope < inside.low <= inside.high < c.rope and c.family_size > 1 and c.adjusted_tost_p is not None:
        within = _interval(c, inside, 1.0, digits_for(inside, marks_of(c)))
        return f" This comparison alone would be equivalent ({within}); {equivalence_p(c)}."
    return ""


def _refused(c: Comparison) -> str:
    if c.estimate is None or c.mean_a is None or c.mean_b is None:
        return f"Refused: {c.a} against {c.b}: {c.reason}."
    means = [f"{mean:.5g}" if c.own_unit else f"{100 * mean:.1f} %" for mean in (c.mean_a, c.mean_b)]
    scores = f"{c.a} scored {means[0]} and {c.b} {means[1]}"
    gap = f"a difference of {_amount(c, c.estimate, 1, ' percentage points')}"
    if c.num_unpaired:
        return f"Refused: {c.a} against {c.b}: {c.reason}. {scores}, {gap}."
    if c.p is not None and c.interval is not None:  # a test that does not decide
        numbers = f"{_interval(c, c.interval, 1.0, digits_for(c.interval))}; {p_value(c.p)}; {_evidence(c)}"
        return f"No verdict: {c.reason}. {scores}, {gap} ({numbers}). {c.limits}"
    if c.num_blocks == 1:
        between = ""
        if c.check is not None:
            between = f" Between {CHECKPOINTS}, on images of this kind: {c.check.name} {p_value(c.check.p)}."
        return (
            f"One run of each: {scores}, {gap}. A single run does not show the variation between runs; no "
            f"verdict.{between}"
        )
    if c.num_blocks == 2:
        return f"Description only, two paired repeats: {scores}, {gap}. No verdict, because {c.reason}."
    return f"Refused: {c.a} against {c.b}: {c.reason}. Over {c.num_blocks} paired repeats {scores}, {gap}."


def _failures(c: Comparison) -> str:
    if not c.num_blocks:
        return ""
    what = " data sets" if c.estimand == NEW_DATA_SETS else ""
    if c.num_unpaired and (c.failures_a or c.failures_b):
        runs_a, runs_b = c.num_unpaired
        return f"Diverged: {c.a} {c.failures_a} of {runs_a}, {c.b} {c.failures_b} of {runs_b}."
    if c.failures_a or c.failures_b:
        p = "" if c.failures_p is None else f" (exact McNemar {p_value(c.failures_p)})"
        return f"Diverged: {c.a} {c.failures_a}, {c.b} {c.failures_b} of {c.num_blocks}{what}{p}."
    return "No training diverged." if c.num_mismatched or c.num_lost else "No failures."


def _evidence(c: Comparison) -> str:
    return f"{_runs(c)}; lower is better" if c.lower_is_better else _runs(c)


def _runs(c: Comparison) -> str:
    if c.num_unpaired:
        runs_a, runs_b = c.num_unpaired
        above = "" if c.p_a_gt_b is None else f"; A12 {probability(c.p_a_gt_b)}"
        return f"{runs_a} and {runs_b} unpaired runs, {c.test}{above}; {c.estimand}"
    if c.estimand == CHECKPOINTS:
        return f"one trained pair; {c.num_images:,} images; {c.estimand}"
    if c.estimand == NEW_DATA_SETS:
        return f"{c.num_blocks} data sets; {c.estimand}"
    on = "" if c.num_images else "one score each; "
    return f"{c.num_blocks} paired repeats; {on}{c.estimand}"


def adjustment(method: str) -> str:
    """Return the name of an adjustment in text."""
    return ADJUSTMENTS.get(method, method)


def _amount(c: Comparison, value: float, digits: int, points_in_words: str) -> str:
    """Return a difference in percentage points, or in the unit of the scores."""
    return plain(value, digits) if c.own_unit else f"{points(value, digits)}{points_in_words}"


def _rope(c: Comparison) -> str:
    return f"{c.rope:g}" if c.own_unit else f"{100 * c.rope:g} pp"


def _interval(c: Comparison, interval: Interval, sign: float, digits: int) -> str:
    if math.isnan(interval.low):
        return f"{100 * interval.level:g} % interval unbounded"
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f"{100 * interval.level:g} % interval {_amount(c, low, digits, '')} to {_amount(c, high, digits, '')}"
