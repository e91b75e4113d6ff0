"""Results of the analysis as frozen records, ready to be shown by a report, a table or a tracker.

Differences and accuracies are fractions (0.012 is 1.2 percentage points); only the sentence uses percentage points. A
value that could not be computed is None, never NaN.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Protocol


class Verdict(StrEnum):
    """Verdict on the first configuration of a comparison."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "practically equivalent"
    INCONCLUSIVE = "inconclusive"
    REFUSED = "refused"


class _NullIsNan:
    """Annotation: pydantic reads null, as which JSON stores a number that is not finite, as NaN."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # noqa: ANN401
        from pydantic_core import core_schema

        def read(value: object) -> object:
            return math.nan if value is None else value

        return core_schema.no_info_before_validator_function(read, handler(source))


class _NeverStored:
    """Annotation: pydantic reads null only."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # noqa: ANN401
        from pydantic_core import core_schema

        return core_schema.none_schema()


Number = Annotated[float, _NullIsNan()]
"""A number that may be NaN; JSON stores null instead."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: Number
    high: Number
    level: Number
    """Nominal coverage, such as 0.95."""


class Law(Protocol):
    """Distribution of the error of a mean difference in a test; p-values and intervals are computed from it.

    Implementations are immutable and symmetric around 0.
    """

    def tail(self, distance: float) -> float:
        """Return the probability that the error exceeds a distance, of either sign, on one side."""
        ...

    def half_width(self, level: float) -> float:
        """Return the half-width of an interval.

        Args:
            level: Coverage of the interval.
        """
        ...

    def power(self, difference: float, *, alpha: float) -> float:
        """Return the probability that the test rejects on the side of a true difference.

        Args:
            difference: The true difference.
            alpha: Level of the test.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Result of an equivalence test against the rope."""

    tost_p: float
    """p-value of two one-sided tests against the rope's edges."""
    interval: Interval
    """At 1 - 2 alpha: inside the rope if tost_p is at most alpha."""
    rope_probabilities: tuple[float, float, float]
    """Posterior probability that the difference is below, inside, above the rope. Not used for the decision."""


@dataclass(frozen=True, kw_only=True)
class MeanTest:
    """A two-sided test of a mean difference against zero."""

    name: str
    estimate: Number
    """Mean of first minus second, fraction."""
    se: Number
    """Standard error of the mean difference, fraction. 0 if nothing varied, and then t and p are NaN; also 0 if the
    test has none, and then t and df are NaN."""
    df: Number
    """Degrees of freedom, not always an integer; NaN if the distribution has none, as for the crossed test."""
    t: Number
    """Estimate divided by standard error."""
    p: Number
    """Two-sided."""
    interval: Interval
    num_blocks: int
    law: Annotated[Law | None, _NeverStored()] = None
    """Distribution of the estimation error, from which everything about the mean except p is computed. None if nothing
    varied, or if the test makes no claim about the mean."""
    num_images: int | None = None
    """Number of images of the fixed test set; None for a test on one score per block."""
    statistic: float | None = None
    """The test's own statistic if it is not t; p then belongs to it."""
    p_error: float | None = None
    """Monte-Carlo standard error of p; None if p is exact."""
    equivalence: Equivalence | None = None
    """The test's own equivalence result; None if it is computed from the law, or if there is none."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variance components of one correctness difference D[r, i]; each at least 0."""

    repeats: float
    """Between repeats: (MS_R - MS_E) / M."""
    images: float
    """Between images: (MS_I - MS_E) / R."""
    residual: float
    """Residual of a repeat on an image: MS_E."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of two configurations over the same blocks, with all numbers reported beside the verdict."""

    a: str
    b: str
    family: str = ""
    """Name of the declared family; empty for a single family without a name."""
    dataset: str = ""
    """Name of the data set; empty for a single data set without a name."""
    verdict: Verdict
    sentence: str
    """The verdict as text."""
    provisional: bool = False
    """Whether the verdict rests on three or four blocks."""
    reason: str | None = None
    """Why the comparison is refused, or inconclusive despite its p-value."""

    estimand: str
    """What the estimate estimates."""
    test: str | None = None
    why: str | None = None
    """Why this test was selected: by what was declared and stored, never by the data."""
    limits: str | None = None
    """When the guarantee of the test fails."""

    num_blocks: int
    """Number of blocks with an outcome of both."""
    interim: tuple[int, int] | None = None
    """Number of this declared interim analysis, and of all of them; p and the intervals hold at all of them. None if
    there is only one."""
    num_images: int | None = None
    num_mismatched: int = 0
    """Number of blocks that only one of the two has."""
    num_lost: int = 0
    """Number of common blocks with a missing result, except by divergence."""
    failures_a: int = 0
    """Number of diverged repeats of the first, within the common blocks."""
    failures_b: int = 0
    failures_p: float | None = None
    """Exact McNemar test of the paired divergences, two-sided; None if none diverged."""

    blocks: tuple[str, ...] = ()
    """The common blocks, in the order of the scores below."""
    scores_a: tuple[float, ...] = ()
    """Accuracy per block; chance accuracy if a repeat has no finite checkpoint."""
    scores_b: tuple[float, ...] = ()
    mean_a: float | None = None
    mean_b: float | None = None

    estimate: float | None = None
    """Mean of a minus mean of b."""
    interval: Interval | None = None
    """For this comparison alone, at 1 - alpha."""
    simultaneous_interval: Interval | None = None
    """At Bonferroni width, 1 - alpha / family size: all intervals of the family cover together."""
    se: float | None = None
    df: float | None = None
    t: float | None = None
    p: float | None = None
    p_error: float | None = None
    """Monte-Carlo standard error of p; None if p is exact."""
    adjusted_p: float | None = None
    adjust_method: str
    family_size: int
    """Number of declared comparisons, including refused ones."""
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
    """Whether this share is shown to differ from .5 and is at least .75 or at most .25; None below 29 blocks."""
    bca_interval: Interval | None = None
    """Bootstrap interval over blocks, reported beside the t interval and not used: below 20 blocks it is too narrow."""
    rope: float
    """Half-width of the region of practical equivalence."""
    rope_probabilities: tuple[float, float, float] | None = None
    """Posterior probability that the difference is below, inside, above the rope. Not used for the decision."""
    tost_p: float | None = None
    """p-value of two one-sided tests against the rope's edges."""
    adjusted_tost_p: float | None = None
    """Adjusted by Holm over the family, independently of the other adjustment; at or below alpha means equivalence."""
    equivalence_interval: Interval | None = None
    """For this comparison alone, at 1 - 2 alpha: inside the rope if tost_p is at most alpha."""
    smallest_detectable: float | None = None
    """True difference that this test detects with 80 % power at alpha / family size, assuming the estimated
    variances."""
    components: Components | None = None
    """Variance components, used to plan further repeats; None without correctness bits."""
    num_blocks_for_rope: int | None = None
    """Repeats that detect a difference as large as the rope with 80 % power; None if no number does."""
    num_blocks_for_rope_upper: int | None = None
    """The same with the variances at their upper 80 % limits, since few repeats estimate them poorly."""
    smallest_ever: float | None = None
    """Smallest difference that infinitely many repeats detect, on these test images or at this ratio."""

    check: MeanTest | None = None
    """The Multi-Bootstrap, reported beside the crossed test; not used for the decision and not adjusted."""
    secondary: MeanTest | None = None
    """Corrected resampled t on the validation scores; not used for the decision and not adjusted."""
    sensitivity: MeanTest | None = None
    """The same test on the blocks in which neither diverged; None if none diverged or too few blocks remain."""
    sensitivity_verdict: Verdict | None = None

    num_unpaired: tuple[int, int] | None = None
    """Number of runs of each, if they share no blocks and are compared as independent samples; None if they are
    paired."""
    lower_is_better: bool = False
    """Whether lower scores are better, as for a loss. `p_a_gt_b` is then the share in which a is below b."""
    own_unit: bool = False
    """Whether scores keep their own unit instead of being fractions of 1."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe dictionary: tuples become lists, NaN and infinity become None."""
        return to_plain(self)


_IF_GIVEN = ("interim", "choose")
"""Fields that are stored only if they have a value."""


def to_plain(record: Any) -> dict[str, Any]:  # noqa: ANN401  any frozen record
    """Return a frozen record as JSON-safe data, without the laws of its tests."""
    plain: dict[str, Any] = json_safe(dataclasses.asdict(record, dict_factory=_stored))
    return plain


def _stored(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Drop the fields of a record that are not stored; the keys of its mappings are not fields."""
    return {name: value for name, value in fields if name != "law" and (name not in _IF_GIVEN or value is not None)}


def json_safe(value: Any) -> Any:  # noqa: ANN401
    """Return plain data that JSON can store: tuples become lists, NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
