"""How large a difference is, beside whether it is there: effect sizes, the rope, equivalence, power."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from search.significance.records import Equivalence, Interval, Law, MeanTest
from search.significance.tests.mcnemar import discordant_test
from search.significance.tests.student import interval_of

MEANINGFUL = 0.75
"""P(A > B) from which a difference is worth calling meaningful (gamma)."""
MEANINGFUL_BLOCKS = 29
"""Noether's number of blocks for it."""


def cohen_d_z(diff: NDArray[Any]) -> float | None:
    """Mean over standard deviation of the block differences.

    Args:
        diff: Score differences, shape (R,).

    Returns:
        d_z, without unit; None when the differences do not vary.
    """
    spread = float(np.std(diff, ddof=1)) if diff.size > 1 else 0.0
    return float(np.mean(diff)) / spread if spread > 1e-12 else None  # below: float noise of equal scores


def hedges_g_z(diff: NDArray[Any]) -> float | None:
    """d_z without its upward bias for few blocks: times the exact J(df), df = R - 1.

    Args:
        diff: Score differences, shape (R,).

    Returns:
        g_z, without unit; None when d_z is, or with fewer than three blocks.

    Reference:
        Hedges 1981, Distribution theory for Glass's estimator of effect size, equation 6e.
    """
    d_z, df = cohen_d_z(diff), diff.size - 1
    if d_z is None or df < 2:
        return None
    return d_z * math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def probability_of_superiority(diff: NDArray[Any], *, level: float = 0.95) -> tuple[float, Interval]:
    """P(A > B) over paired blocks: the share of blocks in which A scored higher, a tie counting one half.

    Half a tie makes P(A > B) + P(B > A) = 1. The interval is Wilson's, which stays inside [0, 1] and mirrors when A and
    B swap. It speaks of blocks like these on these images: it knows nothing of the choice of images. Calling a P above
    .75 meaningful takes 29 blocks.

    Args:
        diff: Score differences, shape (R,), R >= 1.
        level: Coverage of the interval.

    Returns:
        The share and its interval.

    Reference:
        Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks, section 4; Wilson 1927.
    """
    rounded = np.round(diff, 12)  # differences of equal scores can miss 0 by float noise
    share = float(np.mean((rounded > 0) + 0.5 * (rounded == 0)))
    n, z = diff.size, -float(special.ndtri((1 - level) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for float noise.
    low, high = (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
    return share, Interval(low=low, high=high, level=level)


def unpaired_superiority(scores_a: NDArray[Any], scores_b: NDArray[Any]) -> tuple[float, float]:
    """A12 and Cliff's delta: how often a score of A lies above one of B, whichever blocks they are from.

    For scores without blocks in common; it forgets the pairing, and so most of what shared blocks buy.

    Args:
        scores_a: Scores of the first, shape (R_a,), R_a >= 1.
        scores_b: Scores of the second, shape (R_b,), R_b >= 1.

    Returns:
        A12, a tie counting one half, from 0 to 1; Cliff's delta, 2 A12 - 1.

    Reference:
        Vargha & Delaney 2000, Journal of Educational and Behavioral Statistics 25; Cliff 1993, Psychological Bulletin
        114.
    """
    from scipy import stats

    ranked = stats.mannwhitneyu(np.round(scores_a, 12), np.round(scores_b, 12), method="asymptotic")
    a12 = float(ranked.statistic) / (scores_a.size * scores_b.size)
    return a12, 2 * a12 - 1


def rope_probabilities(estimate: float, law: Law, *, rope: float) -> tuple[float, float, float]:
    """Posterior of the difference: below, inside and above +-rope.

    With a flat prior the posterior is the law of the test that decides, around its estimate; for a t test that is the
    Bayesian correlated t test. The probabilities are as trustworthy as that law.

    Args:
        estimate: The mean difference, fraction.
        law: How far it may be off.
        rope: Half-width of the region of practical equivalence, fraction.

    Returns:
        Three probabilities that sum to 1.

    Reference:
        Benavoli et al. 2017, Time for a Change, JMLR 18, equation 9.
    """
    left, right = law.tail(estimate + rope), law.tail(rope - estimate)
    return left, max(1 - left - right, 0.0), right


def tost_p(estimate: float, law: Law, *, rope: float) -> float:
    """p-value of two one-sided tests: small when the difference is shown to lie inside +-rope.

    Args:
        estimate: The mean difference, fraction.
        law: How far it may be off.
        rope: Half-width of the region of practical equivalence, fraction, fixed before looking.

    Returns:
        The larger of the two one-sided p-values.

    Reference:
        Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15.
    """
    return max(law.tail(estimate + rope), law.tail(rope - estimate))


def equivalence_of(test: MeanTest, *, rope: float, alpha: float) -> Equivalence | None:
    """What a test says of equivalence: in its own way, or by the law of its mean.

    Args:
        test: The test that decides.
        rope: Half-width of the region of practical equivalence, fraction.
        alpha: The interval covers 1 - 2 alpha.

    Returns:
        None where the test has neither.
    """
    if test.equivalence is not None or test.law is None:
        return test.equivalence
    return Equivalence(
        tost_p=tost_p(test.estimate, test.law, rope=rope),
        interval=interval_of(test.estimate, test.law, level=1 - 2 * alpha),
        rope_probabilities=rope_probabilities(test.estimate, test.law, rope=rope),
    )


def smallest_detectable(law: Law, *, alpha: float, power: float = 0.8) -> float:
    """True difference that a two-sided test would find with the wished power, were its variances the true ones.

    It describes the design, not the result: computed from the variances that were seen, and as uncertain as those.

    Args:
        law: The test's own, by which it decides.
        alpha: Level of the test; alpha / family size for the first step of Holm.
        power: Wished power.

    Returns:
        The difference, in the unit of the law.
    """
    from scipy import optimize

    far = 2 * law.half_width(1 - alpha)
    while law.finds(far, alpha=alpha) < power:
        far *= 2
    return float(
        optimize.brentq(lambda difference: law.finds(difference, alpha=alpha) - power, 0, far, xtol=1e-12 * far)
    )


def failures_mcnemar(failed_a: NDArray[np.bool_], failed_b: NDArray[np.bool_]) -> float | None:
    """Exact McNemar test of paired divergences: does one configuration fail more often on the same blocks?

    Args:
        failed_a: Whether the first diverged, shape (R,).
        failed_b: Whether the second did, shape (R,).

    Returns:
        Two-sided p-value; None when neither ever failed.

    Reference:
        McNemar 1947; exact form: the binomial test of the discordant pairs.
    """
    if not (failed_a.any() or failed_b.any()):
        return None
    return discordant_test(int((failed_a & ~failed_b).sum()), int((failed_b & ~failed_a).sum()), variant="exact")[1]


def is_meaningful(share: float, interval: Interval, *, num_blocks: int) -> bool | None:
    """Whether P(A > B) is both shown to differ from .5 and large enough to matter, on either side.

    Args:
        share: P(A > B), from `probability_of_superiority`.
        interval: Its interval.
        num_blocks: Blocks that it was measured on.

    Returns:
        Whether .5 lies outside the interval and the share is at least .75, or at most .25; None below 29 blocks, which
        by Noether's formula cannot tell .75 from .5.

    Reference:
        Bouthillier et al. 2021, section 4 and appendix C.
    """
    if num_blocks < MEANINGFUL_BLOCKS:
        return None
    return max(share, 1 - share) >= MEANINGFUL and not interval.low <= 0.5 <= interval.high
