"""Simulated learners that are equal over the population of images, but not on a fixed test set.

Each image has a hardness, each learner a taste (its interaction with an image), each run a random effect (`luck`):

    correct[k, r, i] = hardness[i] + taste[k, i] + luck[k, r] + noise > 0

All learners draw from the same distributions, so that none is better on new images, while one is better on a fixed test
set. A lead makes a learner better or worse by a known difference. Shapes: K learners, R runs, M images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from bench.claims import ALPHA, Share
from search.significance.tests.bootstrap import multi_bootstrap
from search.significance.tests.crossed import crossed_test, satterthwaite_test
from search.significance.tests.mcnemar import mcnemar_test
from search.significance.tests.pooled import pooled_images_t
from search.significance.tests.resampled import corrected_resampled_t, paired_t
from search.significance.tests.signflip import sign_flip_test

NUM_IMAGES = 250
NOISE, HARDNESS, EASE = 0.7, 1.5, 1.0
"""Standard deviations of noise and hardness, and mean of the latent scale."""
RATIO = 3 / 7


@dataclass(frozen=True, kw_only=True)
class World:
    """Standard deviations of run effects and tastes on the latent scale."""

    name: str
    luck: float
    taste: float

    @property
    def accuracy(self) -> float:
        """Expected accuracy over all images and runs."""
        return float(ndtr(EASE / self._spread))

    def lead(self, difference: float) -> float:
        """Return the shift on the latent scale that changes a learner's expected accuracy by a difference."""
        return float(ndtri(self.accuracy + difference)) * self._spread - EASE

    @property
    def _spread(self) -> float:
        return math.sqrt(NOISE**2 + HARDNESS**2 + self.taste**2 + self.luck**2)


WORLDS = (
    World(name="nothing but noise", luck=0.0, taste=0.0),
    World(name="runs differ", luck=0.2, taste=0.0),
    World(name="runs and tastes differ", luck=0.15, taste=0.5),
    World(name="tastes differ strongly", luck=0.05, taste=1.0),
    World(name="runs and tastes differ strongly", luck=0.5, taste=1.0),
)


def simulate(
    world: World,
    num_runs: int,
    rng: np.random.Generator,
    num_images: int = NUM_IMAGES,
    *,
    leads: Sequence[float] = (0.0, 0.0),
) -> NDArray[np.int8]:
    """Simulate correctness, 0 or 1, of learners with leads on the latent scale; shape (K, R, M)."""
    single, num = np.float32, len(leads)
    latent_KRM = rng.standard_normal((num, num_runs, num_images), dtype=single) * single(NOISE)
    latent_KRM += single(EASE) + single(HARDNESS) * rng.standard_normal(num_images, dtype=single)
    latent_KRM += single(world.taste) * rng.standard_normal((num, 1, num_images), dtype=single)
    latent_KRM += single(world.luck) * rng.standard_normal((num, num_runs, 1), dtype=single)
    return (latent_KRM > -np.asarray(leads, single)[:, None, None]).astype(np.int8)


@dataclass(frozen=True, kw_only=True)
class SimulatedRow:
    """One test of two simulated learners."""

    title: str
    offered: bool
    """Whether the analysis offers the test for claims about new images, which the simulation checks."""
    p_value: Callable[[NDArray[np.int8]], float]
    """Function from correctness (2, R, M) to a p-value."""
    every: int = 1


def _diff(correct_KRM: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.asarray(correct_KRM[0] - correct_KRM[1])


def _per_run(correct_KRM: NDArray[np.int8]) -> NDArray[Any]:
    return np.asarray(_diff(correct_KRM).mean(axis=1))


def _pooled(correct_KRM: NDArray[np.int8]) -> float:
    first, second = (float(side.mean()) for side in correct_KRM)
    _, num_runs, num_images = correct_KRM.shape
    return pooled_images_t(first, second, num_runs=num_runs, num_images=num_images).p


ROWS = (
    SimulatedRow(
        title="crossed repeats x images, conservative", offered=True, p_value=lambda c: crossed_test(_diff(c)).p
    ),
    SimulatedRow(
        title="crossed repeats x images, plain variance",
        offered=False,
        p_value=lambda c: crossed_test(_diff(c), variance="plain").p,
    ),
    SimulatedRow(
        title="crossed repeats x images, Satterthwaite",
        offered=False,
        p_value=lambda c: satterthwaite_test(_diff(c)).p,
    ),
    SimulatedRow(title="Multi-Bootstrap", offered=False, p_value=lambda c: multi_bootstrap(_diff(c)).p, every=20),
    SimulatedRow(title="plain paired t", offered=False, p_value=lambda c: paired_t(_per_run(c)).p),
    SimulatedRow(title="sign-flip", offered=False, p_value=lambda c: sign_flip_test(_per_run(c), num_samples=10_000).p),
    SimulatedRow(
        title="corrected resampled t, misused on a fixed test set",
        offered=False,
        p_value=lambda c: corrected_resampled_t(_per_run(c), ratio=RATIO).p,
    ),
    SimulatedRow(title="pooled images, as published", offered=False, p_value=_pooled),
)


def fixed_test_set(number: int, num_runs: int, num_sims: int, seed: int = 0) -> dict[str, Share]:
    """Test pairs of equal learners of one world on a fixed test set, in many simulations.

    Args:
        number: Number of the world.
        num_runs: R of each learner.
        num_sims: Number of simulations.
        seed: Seed of the simulations.

    Returns:
        Test -> share of simulations in which p <= alpha.
    """
    rng = np.random.default_rng([seed, num_runs, number])
    counts = np.zeros((len(ROWS), 2), dtype=int)
    for sim in range(num_sims):
        correct_KRM = simulate(WORLDS[number], num_runs, rng)
        for place, row in enumerate(ROWS):
            if sim % row.every == 0:
                counts[place] += row.p_value(correct_KRM) <= ALPHA, 1
    return {
        row.title: Share(count=int(count), total=int(total)) for row, (count, total) in zip(ROWS, counts, strict=True)
    }


def two_checkpoints(num_sims: int, seed: int = 0) -> dict[str, Share]:
    """Test two checkpoints that are equal over all images with McNemar's test, whose claim is about checkpoints."""
    rng = np.random.default_rng(seed)
    world = World(name="two checkpoints", luck=0.0, taste=1.0)
    counts = {"exact": 0, "mid-p": 0}
    for _ in range(num_sims):
        first, second = simulate(world, 1, rng)[:, 0]
        for variant in counts:
            counts[variant] += mcnemar_test(first, second, variant=variant).p <= ALPHA  # type: ignore[arg-type]
    return {variant: Share(count=int(count), total=num_sims) for variant, count in counts.items()}


def spread_over_pools(num_repeats: int, num_blocks: int, num_pools: int = 200, num_splits: int = 1000) -> float:
    """Return the overdispersion of the share of claims between pools of repeats, relative to independent splits.

    Scores are normal and the test is the plain paired t, so that the expected share is exactly alpha.

    Returns:
        Standard deviation of the share over pools, divided by that of a binomial share of the same number of splits.
    """
    from scipy.stats import t

    rng = np.random.default_rng([num_repeats, num_blocks])
    critical = t.isf(ALPHA / 2, num_blocks - 1)
    shares = []
    for _ in range(num_pools):
        pool = rng.standard_normal(num_repeats)
        drawn = pool[rng.permuted(np.tile(np.arange(num_repeats), (num_splits, 1)), axis=1)[:, : 2 * num_blocks]]
        diff = drawn[:, :num_blocks] - drawn[:, num_blocks:]
        size = np.abs(diff.mean(axis=1)) / (diff.std(axis=1, ddof=1) / np.sqrt(num_blocks))
        shares.append(float((size > critical).mean()))
    return float(np.std(shares, ddof=1) / np.sqrt(ALPHA * (1 - ALPHA) / num_splits))
