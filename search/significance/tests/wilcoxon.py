"""Wilcoxon's signed-rank test, exact with ties, and the matching estimate and interval.

With one difference per data set it is the pairwise test over six or more data sets: ranks give equal weight to a data
set with differences of ten percentage points and one with tenths.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from search.significance.records import Interval, MeanTest
from search.significance.tests.differences import checked, merged, t_part, tolerance, varies

NAME = "Wilcoxon signed-rank test"
MAX_EXACT = 500
"""Maximum number of nonzero differences for the exact null distribution; beyond it, the normal approximation is
accurate."""


def wilcoxon_test(diff: NDArray[Any], *, alpha: float = 0.05) -> MeanTest:
    """Run the two-sided signed-rank test, exact given the observed ranks.

    Differences equal up to rounding errors share their mean rank; zeros have no direction and are left out, as in
    Wilcoxon's paper. The null distribution is that of the observed ranks under all sign vectors, so ties need no
    correction. The smallest p that n nonzero differences can reach is 2 / 2^n: 6 for one comparison at .05.

    Valid over data sets (one difference each, independent data sets), or over repeats for "this data set". The
    guarantee fails for repeats and "new data of this kind", where blocks share images; if equal configurations would
    not give symmetric differences; and if the data sets are variants of each other. Over data sets the claim is about
    similar data sets, equally weighted, not about any one of them.

    Args:
        diff: Differences, shape (R,), R >= 2.
        alpha: The accompanying t interval covers with probability 1 - alpha; `hodges_lehmann` returns this test's own
            interval.

    Returns:
        The test; `statistic` is the smaller of the two rank sums; estimate, se, df, t and interval are those of the
        plain paired t. p is NaN where nothing varied.

    Raises:
        ScoresError: The differences are malformed.

    Reference:
        Wilcoxon 1945, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1; exact with ties: Hollander,
        Wolfe & Chicken 2014, Nonparametric Statistical Methods, section 3.1, comment 11.
    """
    values = checked(diff)
    test = t_part(NAME, values, alpha=alpha)
    if not test.se > 0:
        return test
    nonzero = values[np.abs(values) > tolerance(values)]
    ranks = scipy.stats.rankdata(merged(np.abs(nonzero)))
    plus = float(ranks[nonzero > 0].sum())
    smaller = min(plus, float(ranks.sum()) - plus)
    if nonzero.size <= MAX_EXACT:
        p = min(1.0, 2 * float(null_distribution(ranks)[: round(2 * smaller) + 1].sum()))
    else:
        signed = np.where(nonzero > 0, ranks, -ranks)
        found = scipy.stats.wilcoxon(signed, correction=True, method="asymptotic")  # type: ignore[call-overload, unused-ignore]
        p = float(found.pvalue)
    return dataclasses.replace(test, p=p, statistic=smaller)


def null_distribution(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of every doubled rank sum if each rank counts with probability one half.

    Args:
        ranks: Mean ranks, integers or half-integers, shape (n,).

    Returns:
        Shape (2 * sum of ranks + 1,); sums are doubled because tied ranks can be half-integers.
    """
    doubled = np.rint(2 * ranks).astype(int)
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0] = 1.0
    for rank in doubled:
        chance *= 0.5
        chance[rank:] += chance[:-rank].copy()
    return chance


def hodges_lehmann(diff: NDArray[Any], *, level: float = 0.95) -> tuple[float, Interval | None]:
    """Return the estimate of the typical difference that belongs to the signed-rank test, with its exact interval.

    The estimate is the median of all Walsh averages (d_i + d_j) / 2, i <= j. The interval contains every shift that the
    test without ties would not reject at 1 - level; it covers with at least `level`, more if there are ties. The
    guarantee fails where the test's does. If the differences are not symmetric, the estimate is the pseudo-median,
    neither mean nor median.

    Args:
        diff: Differences, shape (R,), R >= 2.
        level: Coverage.

    Returns:
        The estimate and its interval; None if so few differences cannot reach this level (five for .95), or nothing
        varied.

    Raises:
        ScoresError: The differences are malformed.

    Reference:
        Hodges & Lehmann 1963, Estimates of Location Based on Rank Tests, Annals of Mathematical Statistics 34;
        interval: Tukey 1949, in Hollander, Wolfe & Chicken 2014, section 3.3.
    """
    values = checked(diff)
    first, second = np.triu_indices(values.size)
    walsh = np.sort((values[first] + values[second]) / 2)
    estimate = float(np.median(walsh))
    n = values.size
    if n <= MAX_EXACT:  # averages to drop on each side: 1 + the largest rank sum whose tail is within the level
        tails = np.cumsum(null_distribution(np.arange(1.0, n + 1)))[::2]
        cut = int((tails <= (1 - level) / 2).sum())
    else:
        cut = int(n * (n + 1) / 4 + special.ndtri((1 - level) / 2) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    if cut == 0 or not varies(values):
        return estimate, None
    return estimate, Interval(low=float(walsh[cut - 1]), high=float(walsh[-cut]), level=level)
