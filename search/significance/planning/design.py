"""Power analysis before training: repeats for a difference, and the difference that repeats detect.

A design gives the distribution by which a test will decide after R repeats. With infinitely many repeats (`math.inf`)
it gives the floor, which further repeats cannot reduce.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scipy import special

from search.significance.effects import smallest_detectable
from search.significance.records import Components, Law
from search.significance.tests.crossed import Variances, law_of
from search.significance.tests.student import Student

POWER = 0.8
CONFIDENCE = 0.8
"""Probability that the true variance is no larger than its upper limit, for normal values; of each limit alone."""
MOST = 10**9
"""Maximum number of repeats or images; beyond it, no number is reported."""


class Design(Protocol):
    """Standard error and error distribution of a test as functions of the number of repeats.

    `num_blocks` may be `math.inf`; the standard error must not increase with it.
    """

    def se(self, num_blocks: float) -> float:
        """Return the standard error of the mean difference, fraction."""
        ...

    def law(self, num_blocks: float) -> Law | None:
        """Return the distribution of the estimation error; None where the standard error is 0."""
        ...


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Plain paired t test for claims about this data set, or the corrected resampled t for overlapping splits."""

    sd: float
    """Standard deviation of the block differences, fraction."""
    ratio: float = 0.0
    """Scored images over training images, for the corrected t; 0 for the plain one."""

    def __post_init__(self) -> None:
        if not (0 < self.sd < math.inf and 0 <= self.ratio < math.inf):
            msg = f"sd must be above 0 and ratio at least 0, got {self.sd} and {self.ratio}"
            raise ValueError(msg)

    def se(self, num_blocks: float) -> float:
        """Return sd sqrt(1/R + ratio), by Nadeau & Bengio 2003."""
        return self.sd * math.sqrt(1 / num_blocks + self.ratio)

    def law(self, num_blocks: float) -> Law | None:
        """Return Student's t with R - 1 degrees of freedom."""
        se = self.se(num_blocks)
        return Student(se=se, df=num_blocks - 1) if se > 0 else None


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """Crossed test, for claims that include new images.

    The power is that of the plain sum of mean squares. The test uses at least the larger of two mean squares, so if
    neither repeats nor images contribute variance of their own, the power at 80 % is .77.
    """

    components: Components
    num_images: int
    """Number of test images, M >= 2."""

    def __post_init__(self) -> None:
        parts = dataclasses.astuple(self.components)
        if not (all(0 <= part < math.inf for part in parts) and sum(parts) > 0 and self.num_images >= 2):
            msg = (
                "variances must be at least 0, one of them above, and num_images at least 2, "
                f"got {self.components} and {self.num_images}"
            )
            raise ValueError(msg)

    def se(self, num_blocks: float) -> float:
        """Return SE, with SE^2 = images / M + repeats / R + residual / (R M)."""
        parts, images = self.components, self.num_images
        return math.sqrt(parts.images / images + (parts.repeats + parts.residual / images) / num_blocks)

    def law(self, num_blocks: float) -> Law | None:
        """Return the distribution of the crossed test with the expected mean squares of these variances."""
        parts, images = self.components, self.num_images
        of_repeats = (parts.repeats + parts.residual / images) / num_blocks
        expected = Variances(repeats=of_repeats, rest=parts.images / images)
        return law_of(expected, num_repeats=num_blocks, num_images=images)


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """Number of repeats or images for a target difference."""

    difference: float
    """The target difference, fraction."""
    number: int | None
    """The smallest sufficient number; None if no number suffices."""
    floor: float
    """Smallest detectable difference as that number goes to infinity; 0 if there is no floor."""


def detectable(design: Design, num_blocks: float, *, alpha: float = 0.05, power: float = POWER) -> float:
    """Return the smallest true difference that a two-sided test detects with a given power.

    It is as reliable as the variances: a pilot of five repeats determines the standard deviation to within a factor of
    .6 to 2.9.

    Args:
        design: Assumed or estimated variances.
        num_blocks: Repeats R >= 2; `math.inf` for the floor.
        alpha: Level of the test; alpha / family size for the first step of Holm.
        power: Required power.

    Returns:
        The difference, fraction.
    """
    law = design.law(num_blocks)
    return 0.0 if law is None else smallest_detectable(law, alpha=alpha, power=power)


def blocks_needed(design: Design, difference: float, *, alpha: float = 0.05, power: float = POWER) -> SampleSize:
    """Return the smallest number of repeats that detects a true difference with a given power.

    Args:
        design: Assumed or estimated variances.
        difference: The target difference, fraction, above 0.
        alpha: Level of the test; alpha / family size for the first step of Holm.
        power: Required power.

    Returns:
        The number, at least 2; None at or below the floor.
    """

    def enough(num_blocks: int) -> bool:
        law = design.law(num_blocks)
        return law is None or law.power(difference, alpha=alpha) >= power

    floor = detectable(design, math.inf, alpha=alpha, power=power)
    return SampleSize(difference=difference, number=_fewest(enough) if difference > floor else None, floor=floor)


def images_needed(
    design: Crossed, difference: float, num_blocks: float, *, alpha: float = 0.05, power: float = POWER
) -> SampleSize:
    """Return the smallest number of test images with which a number of repeats detects a true difference.

    The images must be new ones of the same kind. The result does not hold if they are easier, harder or near copies.

    Args:
        design: Assumed or estimated variances; its own number of images is ignored.
        difference: The target difference, fraction, above 0.
        num_blocks: Repeats R >= 2; `math.inf` for the number of images below which no number of repeats suffices.
        alpha: Level of the test.
        power: Required power.

    Returns:
        The number, at least 2; None at or below the floor that the variance between repeats sets.
    """

    def enough(num_images: int) -> bool:
        larger = dataclasses.replace(design, num_images=num_images)
        law = larger.law(num_blocks)
        return law is None or law.power(difference, alpha=alpha) >= power

    repeats = design.components.repeats
    limit = Paired(sd=math.sqrt(repeats)) if repeats else None
    floor = detectable(limit, num_blocks, alpha=alpha, power=power) if limit else 0.0
    return SampleSize(difference=difference, number=_fewest(enough), floor=floor)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest integer from 2 on that is enough, assuming that all larger ones are too."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2  # not enough, or 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def upper_variance(variance: float, df: float) -> float:
    """Return the upper 80 % confidence limit of a pilot's variance; the plain estimate is too small half the time.

    Args:
        variance: The pilot's estimate.
        df: Its degrees of freedom.

    Returns:
        The limit, in the unit of the variance.

    Reference:
        Browne 1995, On the use of a pilot sample for sample size determination, Statistics in Medicine 14.
    """
    return variance * df / float(special.chdtri(df, CONFIDENCE))


def upper_components(components: Components, *, num_blocks: int, num_images: int) -> Components:
    """Return upper 80 % confidence limits of a pilot's variance components, from those of their mean squares.

    Args:
        components: The pilot's estimates.
        num_blocks: Repeats of the pilot, R >= 2.
        num_images: Its test images, M >= 2.

    Returns:
        Variances that are no smaller; the residual is unchanged, since thousands of cells determine it.
    """
    rest = components.residual
    of_repeats = upper_variance(num_images * components.repeats + rest, num_blocks - 1)
    of_images = upper_variance(num_blocks * components.images + rest, num_images - 1)
    return Components(
        repeats=max(of_repeats - rest, 0.0) / num_images, images=max(of_images - rest, 0.0) / num_blocks, residual=rest
    )


def upper_design(design: Crossed | Paired, *, num_blocks: int) -> Crossed | Paired:
    """Return the design with a pilot's variances at their upper confidence limits.

    Args:
        design: The pilot's design, with its own number of images.
        num_blocks: Repeats of the pilot, R >= 2.

    Returns:
        The same kind of design, with larger variances.
    """
    if isinstance(design, Paired):
        return dataclasses.replace(design, sd=math.sqrt(upper_variance(design.sd**2, num_blocks - 1)))
    upper = upper_components(design.components, num_blocks=num_blocks, num_images=design.num_images)
    return dataclasses.replace(design, components=upper)
