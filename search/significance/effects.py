"""Size of a difference: effect sizes, rope, equivalence and power."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from search.significance.records import Equivalence, Interval, Law, MeanTest
from search.significance.tests.mcnemar import discordant_test
from search.significance.tests.student import interval_of

MEANINGFUL = 0.75
"""P(A > B) from which a difference counts as meaningful (gamma)."""
MEANINGFUL_BLOCKS = 29
"""Number of blocks to detect it, by Noether's formula."""


def cohen_d_z(diff: NDArray[Any]) -> float | None:
    """Return Cohen's d_z: the mean over the standard deviation of the block differences.

    Args:
        diff: Score differences, shape (R,).

    Returns:
        d_z, without unit; None if the differences do not vary.
    """
    spread = float(np.std(diff, ddof=1)) if diff.size > 1 else 0.0
    return float(np.mean(diff)) / spread if spread > 1e-12 else None  # below: rounding errors of equal scores


def hedges_g_z(diff: NDArray[Any]) -> float | None:
    """Return Hedges' g_z: d_z times the exact J(df), df = R - 1, which removes its upward bias for few blocks.

    Args:
        diff: Score differences, shape (R,).

    Returns:
        g_z, without unit; None if d_z is None, or with fewer than three blocks.

    Reference:
        Hedges 1981, Distribution theory for Glass's estimator of effect size, equation 6e.
    """
    d_z, df = cohen_d_z(diff), diff.size - 1
    if d_z is None or df < 2:
        return None
    return d_z * math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def probability_of_superiority(diff: NDArray[Any], *, level: float = 0.95) -> tuple[float, Interval]:
    """Return P(A > B) over paired blocks: the share of blocks in which A scored higher; a tie counts one half.

    Counting ties one half makes P(A > B) + P(B > A) = 1. The interval is Wilson's, which stays inside [0, 1] and is
    mirrored if A and B are swapped. It covers further blocks on these images, not the choice of images. Calling a P
    above .75 meaningful takes 29 blocks.

    Args:
        diff: Score differences, shape (R,), R >= 1.
        level: Coverage of the interval.

    Returns:
        The share and its interval.

    Reference:
        Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks, section 4; Wilson 1927.
    """
    rounded = np.round(diff, 12)  # differences of equal scores can differ from 0 by rounding errors
    share = float(np.mean((rounded > 0) + 0.5 * (rounded == 0)))
    n, z = diff.size, -float(special.ndtri((1 - level) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 up to rounding errors.
    low, high = (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
    return share, Interval(low=low, high=high, level=level)


def unpaired_superiority(scores_a: NDArray[Any], scores_b: NDArray[Any]) -> tuple[float, float]:
    """Return A12 and Cliff's delta: how often a score of A exceeds one of B, over all pairs of blocks.

    For scores without common blocks. On shared blocks it ignores the pairing and loses most of its benefit.

    >>> unpaired_superiority(np.array([0.9, 0.8]), np.array([0.7, 0.8]))
    (0.875, 0.75)

    Args:
        scores_a: Scores of the first, shape (R_a,), R_a >= 1.
        scores_b: Scores of the second, shape (R_b,), R_b >= 1.

    Returns:
        A12, a tie counting one half, from 0 to 1; Cliff's delta, 2 A12 - 1.

    Reference:
        Vargha & Delaney 2000, Journal of Educational and Behavioral Statistics 25; Cliff 1993, Psychological Bulletin
        114.
    """
    ranked = scipy.stats.mannwhitneyu(np.round(scores_a, 12), np.round(scores_b, 12), method="asymptotic")
    a12 = float(ranked.statistic) / (scores_a.size * scores_b.size)
    return a12, 2 * a12 - 1


def rope_probabilities(estimate: float, law: Law, *, rope: float) -> tuple[float, float, float]:
    """Return the posterior probabilities that the difference is below, inside and above +-rope.

    With a flat prior the posterior is the deciding test's distribution, centred on its estimate; for a t test that is
    the Bayesian correlated t test. The probabilities are as reliable as that distribution.

    Args:
        estimate: The mean difference, fraction.
        law: Distribution of the estimation error.
        rope: Half-width of the region of practical equivalence, fraction.

    Returns:
        Three probabilities that sum to 1.

    Reference:
        Benavoli et al. 2017, Time for a Change, JMLR 18, equation 9.
    """
    left, right = law.tail(estimate + rope), law.tail(rope - estimate)
    return left, max(1 - left - right, 0.0), right


def tost_p(estimate: float, law: Law, *, rope: float) -> float:
    """Return the p-value of two one-sided tests: small if the difference is shown to lie inside +-rope.

    Args:
        estimate: The mean difference, fraction.
        law: Distribution of the estimation error.
        rope: Half-width of the region of practical equivalence, fraction, fixed before seeing the results.

    Returns:
        The larger of the two one-sided p-values.

    Reference:
        Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15.
    """
    return max(law.tail(estimate + rope), law.tail(rope - estimate))


def equivalence_of(test: MeanTest, *, rope: float, alpha: float) -> Equivalence | None:
    """Return a test's own equivalence result, or the one computed from its distribution.

    Args:
        test: The test that decides.
        rope: Half-width of the region of practical equivalence, fraction.
        alpha: The interval covers with probability 1 - 2 alpha.

    Returns:
        None if the test has neither.
    """
    if test.equivalence is not None or test.law is None:
        return test.equivalence
    return Equivalence(
        tost_p=tost_p(test.estimate, test.law, rope=rope),
        interval=interval_of(test.estimate, test.law, level=1 - 2 * alpha),
        rope_probabilities=rope_probabilities(test.estimate, test.law, rope=rope),
    )


def smallest_detectable(law: Law, *, alpha: float, power: float = 0.8) -> float:
    """Return the true difference that a two-sided test detects with a given power, assuming the estimated variances.

    It describes the design, not the result, and is as uncertain as the variances.

    Args:
        law: Distribution of the estimation error in the deciding test.
        alpha: Level of the test; alpha / family size for the first step of Holm.
        power: Required power.

    Returns:
        The difference, in the unit of the law.
    """
    far = 2 * law.half_width(1 - alpha)
    while law.power(far, alpha=alpha) < power:
        far *= 2
    return float(
        scipy.optimize.brentq(lambda difference: law.power(difference, alpha=alpha) - power, 0, far, xtol=1e-12 * far)
    )


def failures_mcnemar(failed_a: NDArray[np.bool_], failed_b: NDArray[np.bool_]) -> float | None:
    """Return the p-value of an exact McNemar test of whether one configuration diverges more often on the same blocks.

    Args:
        failed_a: Whether the first diverged, shape (R,).
        failed_b: Whether the second diverged, shape (R,).

    Returns:
        Two-sided p-value; None if neither diverged.

    Reference:
        McNemar 1947; exact form: the binomial test of the discordant pairs.
    """
    if not (failed_a.any() or failed_b.any()):
        return None
    return discordant_test(int((failed_a & ~failed_b).sum()), int((failed_b & ~failed_a).sum()), variant="exact")[1]


def is_meaningful(share: float, interval: Interval, *, num_blocks: int) -> bool | None:
    """Return whether P(A > B) is both shown to differ from .5 and large enough to matter, in either direction.

    Args:
        share: P(A > B), from `probability_of_superiority`.
        interval: Its interval.
        num_blocks: Number of blocks behind it.

    Returns:
        Whether .5 lies outside the interval and the share is at least .75, or at most .25; None below 29 blocks, which
        by Noether's formula cannot distinguish .75 from .5.

    Reference:
        Bouthillier et al. 2021, section 4 and appendix C.
    """
    if num_blocks < MEANINGFUL_BLOCKS:
        return None
    return max(share, 1 - share) >= MEANINGFUL and not interval.low <= 0.5 <= interval.high
