"""Rank tests of several configurations over several data sets: Friedman, Iman-Davenport, Nemenyi.

Configurations are ranked within each data set, 1 for the best, so that a data set with differences of ten percentage
points counts as much as one with tenths. Mean ranks depend on the other configurations: a third one can reverse "A
differs from B" (Benavoli et al. 2016). Decide pairs by Wilcoxon and Holm; the critical difference is descriptive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from search.significance.pairing import ScoresError
from search.significance.tests.differences import merged


@dataclass(frozen=True, kw_only=True)
class FriedmanTest:
    """Friedman's test of whether k configurations rank alike over N data sets."""

    num_datasets: int
    num_configs: int
    average_ranks: tuple[float, ...]
    """Mean rank of each configuration; 1 is best."""
    chi2: float
    """Friedman's chi squared with k - 1 degrees of freedom, corrected for ties unless this was disabled; NaN if all
    scores are tied on every data set."""
    p_chi2: float
    f: float
    """Iman and Davenport's F; infinite if all data sets agree."""
    df: tuple[int, int]
    """(k - 1, (k - 1)(N - 1))"""
    p_f: float
    """p-value of F; if F is infinite, the exact probability of full agreement."""
    tie_correction: bool


def friedman(scores: NDArray[Any], *, tie_correction: bool = True) -> FriedmanTest:
    """Run Friedman's test with Iman and Davenport's F.

    The guarantee fails if data sets are variants of each other, and if repeats on one data set are passed as data sets.
    With few data sets F is slightly liberal (equal configurations were called different in .060 of simulations at .05
    for four on six data sets, .055 on twelve, .051 on twenty) and chi squared conservative (.037, .046, .048);
    `permutation_p` is neither. With ties and without the correction both are conservative; many published tables,
    including Demsar's, do not use the correction.

    Args:
        scores: Mean scores, higher is better, shape (D, K): D >= 2 data sets, K >= 3 configurations. Scores equal up to
            rounding errors are ties.
        tie_correction: Divide by the variance under the observed ties, as SciPy and R do.

    Returns:
        The test.

    Raises:
        ScoresError: The scores are malformed.

    Reference:
        Friedman 1937; Iman & Davenport 1980, Communications in Statistics; Demsar 2006, JMLR 7, section 3.2.2.
    """
    ranked = rank_scores(scores)
    num, k = ranked.shape
    means = ranked.mean(axis=0)
    centred = means - (k + 1) / 2
    chi2 = 12 * num / (k * (k + 1)) * float(centred @ centred)
    if tie_correction:
        left = 1 - sum(_tied(row) for row in ranked) / (num * k * (k**2 - 1))
        chi2 = chi2 / left if left > 1e-12 else math.nan
    p_chi2 = float(special.chdtrc(k - 1, chi2))
    df = (k - 1, (k - 1) * (num - 1))
    rest = num * (k - 1) - chi2
    if rest < 1e-9 * num:  # all data sets rank alike: the probability that each further one repeats the first by chance
        log_orders = math.lgamma(k + 1) - sum(math.lgamma(count + 1) for count in _counts(ranked[0]))
        f, p_f = math.inf, math.exp((1 - num) * log_orders)
    else:
        f = (num - 1) * chi2 / rest
        p_f = float(special.fdtrc(*df, f))
    return FriedmanTest(
        num_datasets=num,
        num_configs=k,
        average_ranks=tuple(means.tolist()),
        chi2=chi2,
        p_chi2=p_chi2,
        f=f,
        df=df,
        p_f=p_f,
        tie_correction=tie_correction,
    )


def permutation_p(ranks: NDArray[Any], *, num_samples: int = 100_000, seed: int = 0) -> tuple[float, float]:
    """Return the p-value of Friedman's test by permutation: ranks are shuffled within every data set.

    The guarantee holds for any number of data sets, and ties need no correction. Chi squared, corrected or not, and F
    all order the shuffled tables in the same way, so this is the p of each. It fails if data sets are not independent.

    Args:
        ranks: Shape (D, K), see `rank_scores`.
        num_samples: Number of random tables; the observed one is added to them.
        seed: Seed of the random tables.

    Returns:
        p and its Monte-Carlo standard error.

    Raises:
        ScoresError: The ranks are malformed.
    """
    ranked, rng = _checked_ranks(ranks), np.random.default_rng(seed)
    sums = np.zeros((num_samples, ranked.shape[1]))
    for row in ranked:
        sums += rng.permuted(np.tile(row, (num_samples, 1)), axis=1)
    centre = ranked.sum() / ranked.shape[1]
    observed = float(((ranked.sum(axis=0) - centre) ** 2).sum())
    reached = int((((sums - centre) ** 2).sum(axis=1) >= observed - 1e-6).sum())  # steps are at least 1/4
    p = (reached + 1) / (num_samples + 1)
    return p, math.sqrt(p * (1 - p) / (num_samples + 1))


def rank_scores(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ranks of configurations within every data set, 1 for the highest score; ties share their mean rank.

    Args:
        scores: Shape (D, K).

    Returns:
        Ranks, shape (D, K).

    Raises:
        ScoresError: There are fewer than two data sets or three configurations, or a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    _check_shape(values, "scores")
    return np.asarray(scipy.stats.rankdata(-np.array([merged(row) for row in values]), axis=1), dtype=np.float64)


def nemenyi_difference(num_configs: int, num_datasets: int, *, alpha: float = 0.05) -> float:
    """Return the smallest difference of two mean ranks that is significant in Nemenyi's test of all pairs.

    The guarantee fails where Friedman's does. Descriptive: the ranks depend on the set of configurations.

    Args:
        num_configs: Number of configurations K, at least 2.
        num_datasets: Number of data sets D.
        alpha: Family-wise error rate over all pairs.

    Returns:
        The critical difference, in ranks.

    Reference:
        Nemenyi 1963; Demsar 2006, JMLR 7, section 3.2.2.
    """
    q = float(scipy.stats.studentized_range.isf(alpha, num_configs, np.inf)) / math.sqrt(2)
    return q * rank_error(num_configs, num_datasets)


def rank_error(num_configs: int, num_datasets: int) -> float:
    """Return the standard error of a difference of two mean ranks."""
    return math.sqrt(num_configs * (num_configs + 1) / (6 * num_datasets))


def _checked_ranks(ranks: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(ranks, dtype=np.float64)
    _check_shape(values, "ranks")
    k = values.shape[1]
    if wrong := [row + 1 for row, total in enumerate(values.sum(axis=1)) if abs(total - k * (k + 1) / 2) > 1e-9]:
        msg = f"ranks of {k} configurations must sum to {k * (k + 1) / 2:g} in every row, rows {wrong} do not"
        raise ScoresError(msg)
    return values


def _check_shape(values: NDArray[np.float64], what: str) -> None:
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3:
        msg = f"{what} must be (data sets, configurations), at least 2 by 3, got {values.shape}"
        raise ScoresError(msg)
    if not np.isfinite(values).all():
        rows = (np.flatnonzero(~np.isfinite(values).all(axis=1)) + 1).tolist()
        msg = f"{what} must be finite, rows {rows} are not: remove data sets on which a configuration has no result"
        raise ScoresError(msg)


def _counts(row: NDArray[np.float64]) -> list[int]:
    return [int(count) for count in np.unique(row, return_counts=True)[1]]


def _tied(row: NDArray[np.float64]) -> int:
    return sum(count**3 - count for count in _counts(row))
