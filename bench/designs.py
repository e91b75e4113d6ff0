"""Null studies of tests that do not use repeats on one test set: 5x2 cross-validation, and several data sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bench.claims import ALPHA, Share
from search.significance.adjust.multiplicity import adjust
from search.significance.tests.cross_validation import five_by_two_f, five_by_two_t
from search.significance.tests.friedman import friedman, nemenyi_difference, permutation_p, rank_scores
from search.significance.tests.wilcoxon import wilcoxon_test

NUM_FEATURES = 100
NUM_SHUFFLES = 1999
RIDGE = 1e-1
CONTRAST_ONLY = ("Friedman, Iman and Davenport's F",)
"""Tests that are known to be liberal with few data sets; a permutation test of ranks is offered instead."""


def five_by_two(num_studies: int, seed: int = 0) -> dict[str, Share]:
    """Compare ridge regression on random features of scikit-learn's digits with itself under other random features.

    Each study draws five halvings, and new features for every fit: one configuration, fitted 20 times.

    Returns:
        Test -> share of studies with a false claim.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    images_NF, labels_N = source.data / 16 - 0.5, source.target
    rng = np.random.default_rng(seed)
    counts = {"5x2cv paired t": 0, "5x2cv F": 0}
    for _ in range(num_studies):
        diff = np.empty((5, 2))
        for split in range(5):
            order = rng.permutation(len(labels_N))
            halves = order[: len(order) // 2], order[len(order) // 2 :]
            for fold, (trained, scored) in enumerate((halves, halves[::-1])):
                first, second = (_accuracy(images_NF, labels_N, trained, scored, rng) for _ in range(2))
                diff[split, fold] = first - second
        counts["5x2cv paired t"] += five_by_two_t(diff).p <= ALPHA
        counts["5x2cv F"] += five_by_two_f(diff).p <= ALPHA
    return {name: Share(count=int(count), total=num_studies) for name, count in counts.items()}


def _accuracy(
    images_NF: NDArray[np.float64],
    labels_N: NDArray[np.int64],
    trained: NDArray[np.int64],
    scored: NDArray[np.int64],
    rng: np.random.Generator,
) -> float:
    weights_FD = rng.standard_normal((images_NF.shape[1], NUM_FEATURES)) / 4
    feats_ND = np.tanh(images_NF @ weights_FD + rng.standard_normal(NUM_FEATURES))
    feats_TD, targets_TC = feats_ND[trained], np.eye(10)[labels_N[trained]]
    gram_DD = feats_TD.T @ feats_TD + RIDGE * np.eye(NUM_FEATURES)
    found_DC = np.linalg.solve(gram_DD, feats_TD.T @ targets_TC)
    return float(((feats_ND[scored] @ found_DC).argmax(axis=1) == labels_N[scored]).mean())


def over_data_sets(num_datasets: int, num_configs: int, num_studies: int, seed: int = 0) -> dict[str, Share]:
    """Compare equal configurations on simulated data sets of unequal difficulty and unequal noise.

    Returns:
        Test -> share of studies with a claim; for families, with any claim within the family.
    """
    rng = np.random.default_rng([seed, num_datasets])
    names = (
        "Friedman, shuffled ranks",
        *CONTRAST_ONLY,
        "Nemenyi, all pairs",
        "Wilcoxon, all pairs, Holm",
    )
    counts = dict.fromkeys(names, 0)
    pairs = list(combinations(range(num_configs), 2))
    critical = nemenyi_difference(num_configs, num_datasets, alpha=ALPHA)
    for _ in range(num_studies):
        noise_D = 0.02 * np.exp(rng.standard_normal(num_datasets))
        scores_DK = rng.uniform(0.4, 0.9, (num_datasets, 1))
        scores_DK = scores_DK + noise_D[:, None] * rng.standard_normal((num_datasets, num_configs))
        test = friedman(scores_DK)
        wilcoxon = adjust([wilcoxon_test(scores_DK[:, a] - scores_DK[:, b]).p for a, b in pairs], "holm")
        told = (
            permutation_p(rank_scores(scores_DK), num_samples=NUM_SHUFFLES)[0] <= ALPHA,
            test.p_f <= ALPHA,
            bool(np.ptp(test.average_ranks) >= critical),
            any(p is not None and p <= ALPHA for p in wilcoxon),
        )
        for name, claim in zip(names, told, strict=True):
            counts[name] += claim
    return {name: Share(count=int(count), total=num_studies) for name, count in counts.items()}
