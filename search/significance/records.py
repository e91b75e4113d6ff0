"""What the analysis hands back: frozen records that a report, a table or a tracker can show without thinking.

Differences and accuracies are fractions (0.012 is 1.2 percentage points); only the sentence speaks in percentage
points. What could not be computed is None, never NaN.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What may be said about the first configuration of a comparison."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "practically equivalent"
    INCONCLUSIVE = "inconclusive"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float
    """Coverage it promises, such as 0.95."""


class Law(Protocol):
    """How far a mean difference may be off, as a test takes it: the source of its p-values and its intervals."""

    def tail(self, distance: float) -> float:
        """Chance that the estimate misses by more than a distance, of either sign, to one side."""
        ...

    def half_width(self, level: float) -> float:
        """Half of the interval of a level."""
        ...

    def finds(self, difference: float, *, alpha: float) -> float:
        """Chance that this test claims a true difference, on the side of the sign that it has."""
        ...


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Whether a difference is shown to lie inside the rope."""

    tost_p: float
    """Two one-sided tests against the rope's edges."""
    interval: Interval
    """At 1 - 2 alpha: inside the rope where tost_p is at most alpha."""
    rope_probabilities: tuple[float, float, float]
    """Posterior probability that the difference is below, inside, above the rope. Decides nothing."""


@dataclass(frozen=True, kw_only=True)
class MeanTest:
    """A two-sided test of a mean difference against zero, whichever way its standard error came about."""

    name: str
    estimate: float
    """Mean of first minus second, fraction."""
    se: float
    """Standard error of the mean difference, fraction; 0 when nothing varied, and then t and p are NaN; 0, too, where
    the test has none, and then t and df are NaN."""
    df: float
    """Degrees of freedom; not always whole. NaN where the law of the mean has none, as that of the crossed test."""
    t: float
    """Estimate over standard error."""
    p: float
    """Two-sided."""
    interval: Interval
    num_blocks: int
    law: Law | None = None
    """How far the estimate may be off: whatever is said of the mean beside p comes from here. None where nothing
    varied, and where the test makes no promise on the mean."""
    num_images: int | None = None
    """Images of the fixed test set; None for a test on one score per block."""
    statistic: float | None = None
    """The test's own statistic, where that is not t; its p-value is then not that of t."""
    p_error: float | None = None
    """Monte-Carlo standard error of p; None where p is computed exactly."""
    equivalence: Equivalence | None = None
    """Of a test that shows equivalence in its own way; None where its law does, if it has one."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variances of one correctness difference D[r, i], by source; each at least 0."""

    repeats: float
    """Of the repeats: (MS_R - MS_E) / M."""
    images: float
    """Of the images: (MS_I - MS_E) / R."""
    residual: float
    """Of a repeat on an image: MS_E."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two configurations over the same blocks, with everything that belongs beside the verdict."""

    a: str
    b: str
    family: str = ""
    """Name of the declared family; empty where there is one without a name."""
    dataset: str = ""
    """Name of the data set; empty where there is one without a name."""
    verdict: Verdict
    sentence: str
    """The verdict in words, for a person."""
    provisional: bool = False
    """The verdict rests on three or four blocks."""
    reason: str | None = None
    """Why it is refused, or why it is inconclusive in spite of the numbers."""

    estimand: str
    """What the estimate is an estimate of."""
    test: str | None = None
    why: str | None = None
    """Why this test: by what was declared and stored, never by how the data look."""
    limits: str | None = None
    """When the test's promise fails."""

    num_blocks: int
    """Blocks with an outcome for both."""
    num_images: int | None = None
    num_mismatched: int = 0
    """Blocks that only one of the two was given."""
    num_lost: int = 0
    """Blocks of both where a result is missing, divergence aside."""
    failures_a: int = 0
    """Diverged repeats of the first, within the common blocks."""
    failures_b: int = 0
    failures_p: float | None = None
    """Exact McNemar test of the paired divergences, two-sided; None when none diverged."""

    blocks: tuple[str, ...] = ()
    """The common blocks, in the order of the scores below."""
    scores_a: tuple[float, ...] = ()
    """Accuracy per block; chance accuracy where a repeat left nothing finite."""
    scores_b: tuple[float, ...] = ()
    mean_a: float | None = None
    mean_b: float | None = None

    estimate: float | None = None
    """Mean of a minus mean of b."""
    interval: Interval | None = None
    """For this comparison alone, at 1 - alpha."""
    simultaneous_interval: Interval | None = None
    """At Bonferroni width, 1 - alpha / family size: all of the family's hold together."""
    se: float | None = None
    df: float | None = None
    t: float | None = None
    p: float | None = None
    p_error: float | None = None
    """Monte-Carlo standard error of p; None where p is computed exactly."""
    adjusted_p: float | None = None
    adjust_method: str
    family_size: int
    """Comparisons that were declared, the refused ones included."""
    alpha: float
    """Family-wise error rate."""

    d_z: float | None = None
    """Mean over standard deviation of the block differences."""
    g_z: float | None = None
    """d_z with Hedges' correction for few blocks."""
    p_a_gt_b: float | None = None
    """Share of blocks in which a scored above b; a tie counts one half."""
    p_a_gt_b_interval: Interval | None = None
    meaningful: bool | None = None
    """Whether that share is shown to lie above .5 and reaches .75; None below 29 blocks, which cannot say."""
    bca_interval: Interval | None = None
    """Bootstrap over blocks, shown beside the t interval and never deciding: below 20 blocks it is too narrow."""
    rope: float
    """Half-width of what counts as no practical difference."""
    rope_probabilities: tuple[float, float, float] | None = None
    """Posterior probability that the difference is below, inside, above the rope. Decides nothing."""
    tost_p: float | None = None
    """Two one-sided tests against the rope's edges."""
    adjusted_tost_p: float | None = None
    """Adjusted by Holm over the family, whatever adjusts the other p-values: at or below alpha is equivalence."""
    equivalence_interval: Interval | None = None
    """For this comparison alone, at 1 - 2 alpha: inside the rope where tost_p is at most alpha."""
    smallest_detectable: float | None = None
    """True difference found with 80 % power at alpha / family size, by this test, were its variances the true ones."""
    components: Components | None = None
    """Where the variance comes from: what planning further repeats rests on. None without correctness bits."""
    num_blocks_for_rope: int | None = None
    """Repeats after which a difference as large as the rope would be found with 80 % power; None: no number is."""
    num_blocks_for_rope_upper: int | None = None
    """The same with the variances at their upper 80 % limits: those of few repeats are known badly."""
    smallest_ever: float | None = None
    """Smallest detectable difference with repeats without end, on these test images or at this ratio."""

    check: MeanTest | None = None
    """The Multi-Bootstrap beside the crossed test, never part of the decision; not adjusted."""
    secondary: MeanTest | None = None
    """Corrected resampled t on the validation scores, beside the decision, never part of it; not adjusted."""
    sensitivity: MeanTest | None = None
    """The same test on the blocks in which neither diverged; None when none diverged or too few are left."""
    sensitivity_verdict: Verdict | None = None

    num_unpaired: tuple[int, int] | None = None
    """Runs of each, where they share no block and are compared as independent; None where blocks pair them."""
    lower_is_better: bool = False
    """The better one has the lower scores: a loss or an error. `p_a_gt_b` is then the share in which a is below b."""
    own_unit: bool = False
    """Scores are numbers in a unit of their own instead of fractions of 1."""

    def to_dict(self) -> dict[str, object]:
        """Write it as a JSON-safe dictionary: tuples become lists, NaN and infinity become None."""
        return {key: _json_safe(value) for key, value in dataclasses.asdict(self).items()}


def _json_safe(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items() if key != "law"}  # of a test: no result
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
