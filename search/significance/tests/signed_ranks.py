"""Equivalence over data sets by signed ranks: the two one-sided tests that decide it, and the posterior beside them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from search.significance.records import Equivalence, Interval
from search.significance.tests.differences import checked, tolerance
from search.significance.tests.wilcoxon import MAX_EXACT, hodges_lehmann, null_distribution

PRIOR_STRENGTH = 0.5
"""Weight of one pseudo-difference of 0, relative to 1 for every observed difference."""
NUM_SAMPLES = 50_000
CHUNK_CELLS = 2_000_000
"""Number of weights drawn at a time."""


def signed_rank_equivalence(diff: NDArray[Any], *, rope: float, alpha: float) -> Equivalence:
    """Test by signed ranks whether the typical difference lies inside +-rope.

    Args:
        diff: Differences, shape (N,), N >= 2.
        rope: Half-width of practical equivalence, fraction, fixed before seeing the results.
        alpha: The interval covers with probability 1 - 2 alpha.

    Returns:
        p of the two one-sided tests, the matching interval, and the posterior, which is not used for the decision.

    Raises:
        ScoresError: The differences are malformed.
    """
    _, interval = hodges_lehmann(diff, level=1 - 2 * alpha)
    return Equivalence(
        tost_p=signed_rank_tost(diff, rope=rope),
        interval=interval or Interval(low=math.nan, high=math.nan, level=1 - 2 * alpha),
        rope_probabilities=signed_rank_probabilities(diff, rope=rope),
    )


def signed_rank_tost(diff: NDArray[Any], *, rope: float) -> float:
    """Return p of two one-sided signed-rank tests: small if the typical difference is shown to lie inside +-rope.

    Each side counts the Walsh averages (d_i + d_j) / 2, i <= j, at or beyond its edge; without ties that is Wilcoxon's
    rank sum of the differences from the edge. An average on the edge counts as beyond it, so ties only make the test
    more conservative, and p is at most alpha exactly if `hodges_lehmann` at 1 - 2 alpha lies inside the rope. The
    smallest p that N differences can reach is 2^-N: 5 data sets for one comparison at .05, 7 for four.

    The guarantee fails where that of `wilcoxon_test` does: if the data sets are variants of each other, or the
    differences are not symmetric around their typical value.

    Args:
        diff: Differences, shape (N,), N >= 2.
        rope: Half-width of practical equivalence, fraction.

    Returns:
        The larger of the two one-sided p-values.

    Raises:
        ScoresError: The differences are malformed.

    Reference:
        Wellek 2010, Testing Statistical Hypotheses of Equivalence and Noninferiority, section 5.4; Walsh averages:
        Hollander, Wolfe & Chicken 2014, section 3.3.
    """
    values = checked(diff)
    first, second = np.triu_indices(values.size)
    walsh, edge = (values[first] + values[second]) / 2, rope - tolerance(values)
    beyond = max(int((walsh >= edge).sum()), int((walsh <= -edge).sum()))
    n = values.size
    if n <= MAX_EXACT:
        return min(float(null_distribution(np.arange(1.0, n + 1))[::2][: beyond + 1].sum()), 1.0)
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return float(special.ndtr((beyond + 0.5 - n * (n + 1) / 4) / spread))


def signed_rank_probabilities(
    diff: NDArray[Any], *, rope: float, num_samples: int = NUM_SAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Run the Bayesian signed-rank test: the probabilities that the difference is mostly below, inside, above +-rope.

    The distribution of differences has a Dirichlet-process prior with one pseudo-difference of 0. Every draw weighs the
    differences, and selects the region with the largest weight of Walsh averages. A posterior does not control error
    rates, so it is reported but not used for the decision.

    Args:
        diff: Differences, shape (N,), N >= 2.
        rope: Half-width of practical equivalence, fraction.
        num_samples: Number of draws; the standard error of a probability is at most .0022 with 50,000.
        seed: Seed of the draws.

    Returns:
        Three probabilities that sum to 1.

    Raises:
        ScoresError: The differences are malformed.

    Reference:
        Benavoli et al. 2014, A Bayesian Wilcoxon signed-rank test based on the Dirichlet process, ICML; Benavoli et al.
        2017, Time for a Change, JMLR 18, section 4.2.
    """
    values = checked(diff)
    # Sorted by size, so that the order of the data sets does not matter, and swapping A and B mirrors the result
    # exactly.
    values = np.concatenate([[0.0], values[np.argsort(np.abs(values), kind="stable")]])
    slack = tolerance(values)
    gap_NN = (values[:, None] + values[None, :]) / 2
    above_NN, below_NN = (_step(side, rope, slack) for side in (gap_NN, -gap_NN))
    strength = np.ones(values.size)
    strength[0] = PRIOR_STRENGTH
    rng = np.random.default_rng(seed)
    wins = np.zeros(3)
    chunk = max(1, CHUNK_CELLS // values.size)
    for start in range(0, num_samples, chunk):
        weights_SN = rng.dirichlet(strength, size=min(chunk, num_samples - start))
        below, above = (((weights_SN @ side) * weights_SN).sum(axis=1) for side in (below_NN, above_NN))
        inside = 1 - below - above
        wins += [
            ((below > inside) & (below > above)).sum(),
            ((inside >= below) & (inside >= above)).sum(),
            ((above > inside) & (above > below)).sum(),
        ]
    below, inside, above = (float(count) for count in wins / wins.sum())
    return below, inside, above


def _step(values: NDArray[np.float64], edge: float, slack: float) -> NDArray[np.float64]:
    """Return 1 beyond the edge, one half on it, else 0."""
    on_edge = np.abs(values - edge) <= slack
    return np.where(on_edge, 0.5, (values > edge).astype(np.float64))
