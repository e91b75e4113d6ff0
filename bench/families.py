"""Families of equal configurations that interact with images: family-wise false claims, false equivalence, and power.

A configuration's *taste* is its interaction with images: some images are easier for it than for another configuration.
A fixed test set then favours one of two configurations that are equal over all images, and only a test that treats
images as a sample keeps its level. `bench/simulated.py` simulates tastes; stored runs receive them by giving each fake
configuration different images in a share of the places. Shapes: K configurations, R repeats, M images, P pairs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.claims import ALPHA, Share
from bench.nulls import NullStudy, load_null
from bench.simulated import WORLDS, World, simulate
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.records import Verdict
from search.significance.results import Results
from search.significance.tests.crossed import FEW_IMAGES
from search.significance.tests.mixture import grid, tails

STRONG = next(world for world in WORLDS if world.name == "runs and tastes differ strongly")
DIGITS_SPREAD = World(name="the digits' own spread of runs", luck=0.17, taste=0.5)
"""World with an SD of accuracy between runs of 3.3 percentage points, as in the stored runs on the digits."""
CELLS = ((STRONG, 250), (DIGITS_SPREAD, 250), (STRONG, 150))
"""Worlds and numbers of images; up to 200 images, the test also averages over the variance of images."""
REPEATS = (3, 5, 10, 20)
NUM_FAMILIES = 4000
NUM_CONFIGS = 8
PAIRS = tuple(combinations(range(NUM_CONFIGS), 2))
SIZES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 1),),
    3: tuple(combinations(range(3), 2)),
    7: tuple((0, place) for place in range(1, NUM_CONFIGS)),
    28: PAIRS,
}
"""Family size -> its pairs: one pair, all pairs of three, all against a control, all pairs of eight."""
EDGE_SIZES = (1, 3, 8, 27)
"""Family sizes of comparisons with one control, from which all configurations differ by exactly the rope."""
ROPE = 0.25
"""Half-width of the region of practical equivalence, so wide that its far edge has no effect."""
TRUE_ERRORS = 3.5
"""Size of the planted difference for power, in true standard errors."""
OWN_IMAGES = 0.5
"""Share of places in which each fake configuration has a different image."""
NUM_PLACES = 500

Variant = Literal["generalized", "Satterthwaite"]
Key = TypeVar("Key")
VARIANTS: tuple[Variant, ...] = ("generalized", "Satterthwaite")


@dataclass(frozen=True, kw_only=True, eq=False)
class Squares:
    """Means and mean squares of many pairwise differences, all with the same R and M."""

    mean: NDArray[np.float64]
    repeats: NDArray[np.float64]
    images: NDArray[np.float64]
    residual: NDArray[np.float64]
    num_repeats: int
    num_images: int

    def variances(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the contributions of repeats and of the rest to the variance of each mean, as `crossed.variances`."""
        plain = self.repeats + self.images - self.residual
        chosen = np.maximum.reduce([plain, self.repeats, self.images])
        cells = self.num_repeats * self.num_images
        return self.repeats / cells, (chosen - self.repeats) / cells

    def tails(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability that a mean deviates by more than a distance, as the crossed test computes it."""
        runs, rest = self.variances()
        few = self.num_images <= FEW_IMAGES
        nodes = grid(self.num_repeats - 1, self.num_images - 1 if few else math.inf)
        chunk = max(1, 4_000_000 // nodes.weights.size)
        parts = zip(
            *(np.split(value, range(chunk, len(value), chunk)) for value in (distance, runs, rest)), strict=True
        )
        return np.concatenate([tails(*part, nodes) for part in parts])

    def p_values(self, variant: Variant, shift: float = 0.0) -> NDArray[np.float64]:
        """Return two-sided p-values of the means plus a shift; 1 if nothing varied."""
        runs, rest = self.variances()
        varied = runs + rest > 0
        mean = self.mean + shift
        with np.errstate(divide="ignore", invalid="ignore"):
            if variant == "generalized":
                found = np.minimum(2 * self.tails(np.abs(mean)), 1)
            else:
                found = 2 * stats.t.sf(np.abs(mean) / np.sqrt(runs + rest), self._satterthwaite())
        return np.where(varied, found, 1.0)

    def _satterthwaite(self) -> NDArray[np.float64]:
        rows, cols = self.num_repeats - 1, self.num_images - 1
        plain = np.maximum(self.repeats + self.images - self.residual, 0)
        spread = self.repeats**2 / rows + self.images**2 / cols + self.residual**2 / (rows * cols)
        return np.maximum(plain**2 / spread, min(rows, cols))


def squares_of(families: Iterator[NDArray[np.int8]], pairs: tuple[tuple[int, int], ...]) -> Squares:
    """Return the mean squares of every pair of every family, equal to `crossed.mean_squares` but faster.

    Args:
        families: Correctness of the configurations of each of N families, shape (K, R, M).
        pairs: Pairs of configurations to compare.

    Returns:
        Arrays of length N * P, family by family.
    """
    first, second = np.array(pairs).T
    found, shape = [], (0, 0)
    for correct_KRM in families:
        num, rows, cols = correct_KRM.shape
        shape = rows, cols
        flat = correct_KRM.reshape(num, -1).astype(np.float32)
        both = (flat @ flat.T).astype(np.float64)  # exact, as all values are integers below 2^24
        right = np.diag(both)
        by_row, by_col = (correct_KRM.sum(axis=axis, dtype=np.int32).astype(np.float64) for axis in (2, 1))
        total = right[first] - right[second]
        ss_rows = ((by_row[first] - by_row[second]) ** 2).sum(axis=1) / cols - total**2 / (rows * cols)
        ss_cols = ((by_col[first] - by_col[second]) ** 2).sum(axis=1) / rows - total**2 / (rows * cols)
        ss_all = right[first] + right[second] - 2 * both[first, second] - total**2 / (rows * cols)
        ss_rest = np.maximum(ss_all - ss_rows - ss_cols, 0)
        parts = (ss_rows / (rows - 1), ss_cols / (cols - 1), ss_rest / ((rows - 1) * (cols - 1)))
        found.append((total / (rows * cols), *parts))
    mean, repeats, images, residual = np.concatenate(found, axis=1)
    return Squares(
        mean=mean, repeats=repeats, images=images, residual=residual, num_repeats=shape[0], num_images=shape[1]
    )


@dataclass(frozen=True, kw_only=True)
class FamilyCell:
    """Counts for one world and number of repeats."""

    world: str
    num_images: int
    num_repeats: int
    claims: dict[Variant, dict[int, Share]]
    """Variant -> family size -> share of families with any false claim at .05, Holm-adjusted."""
    power: dict[Variant, Share]
    """Variant -> share of single comparisons in which a difference of 3.5 true standard errors was found."""
    equivalent: dict[int, Share]
    """Family size -> share of families in which adjusted TOST called any comparison at the rope's edge equivalent."""
    posterior: dict[int, Share]
    """The same for an unadjusted posterior of .95 inside the rope, which does not decide verdicts."""

    def __add__(self, other: FamilyCell) -> FamilyCell:
        """Pool the counts of two sets of families."""
        return dataclasses.replace(
            self,
            claims={variant: _add(shares, other.claims[variant]) for variant, shares in self.claims.items()},
            power=_add(self.power, other.power),
            equivalent=_add(self.equivalent, other.equivalent),
            posterior=_add(self.posterior, other.posterior),
        )


def _add(first: dict[Key, Share], second: dict[Key, Share]) -> dict[Key, Share]:
    return {key: share + second[key] for key, share in first.items()}


def count_cell(
    world: str,
    num_repeats: int,
    equal: Callable[[], Iterator[NDArray[np.int8]]],
    edge: Callable[[], Iterator[NDArray[np.int8]]] | None = None,
    *,
    num_configs: int = NUM_CONFIGS,
) -> FamilyCell:
    """Count claims, power and equivalence over families.

    Args:
        world: Name of the world.
        num_repeats: R of each configuration.
        equal: Returns families of equal configurations.
        edge: Returns families in which all configurations differ from the first one by the rope; None if unavailable.
        num_configs: K of the equal configurations; family sizes that need more are skipped.

    Returns:
        The shares.
    """
    pairs = tuple(combinations(range(num_configs), 2))
    squares = squares_of(equal(), pairs)
    sizes = {
        size: [pairs.index(pair) for pair in chosen] for size, chosen in SIZES.items() if set(chosen) <= set(pairs)
    }
    claims: dict[Variant, dict[int, Share]] = {}
    power: dict[Variant, Share] = {}
    shift = TRUE_ERRORS * float(squares.mean.reshape(-1, len(pairs))[:, 0].std())
    for variant in VARIANTS:
        p_NP = squares.p_values(variant).reshape(-1, len(pairs))
        # Holm rejects at least one hypothesis if and only if the smallest p is at most alpha / m.
        claims[variant] = {size: _share(p_NP[:, chosen].min(axis=1) <= ALPHA / size) for size, chosen in sizes.items()}
        power[variant] = _share(squares.p_values(variant, shift).reshape(-1, len(pairs))[:, 0] <= ALPHA)
    equivalent: dict[int, Share] = {}
    posterior: dict[int, Share] = {}
    if edge is not None:
        against = tuple((place, 0) for place in range(1, EDGE_SIZES[-1] + 1))
        at_edge = squares_of(edge(), against)
        outside = np.stack([at_edge.tails(at_edge.mean + ROPE), at_edge.tails(ROPE - at_edge.mean)])
        tost_NP, inside_NP = (
            value.reshape(-1, len(against)) for value in (outside.max(axis=0), 1 - outside.sum(axis=0))
        )
        equivalent = {size: _share(tost_NP[:, :size].min(axis=1) <= ALPHA / size) for size in EDGE_SIZES}
        posterior = {size: _share(inside_NP[:, :size].max(axis=1) >= 1 - ALPHA) for size in EDGE_SIZES}
    return FamilyCell(
        world=world,
        num_images=squares.num_images,
        num_repeats=num_repeats,
        claims=claims,
        power=power,
        equivalent=equivalent,
        posterior=posterior,
    )


def _share(told: NDArray[np.bool_]) -> Share:
    return Share(count=int(told.sum()), total=told.size)


def simulated_cell(world: World, num_images: int, num_repeats: int, first: int, num_families: int) -> FamilyCell:
    """Count over simulated families of one world: equal configurations, and configurations at the rope's edge."""
    rng = np.random.default_rng([num_images, num_repeats, first])

    def families(leads: tuple[float, ...]) -> Iterator[NDArray[np.int8]]:
        return (simulate(world, num_repeats, rng, num_images, leads=leads) for _ in range(num_families))

    return count_cell(
        world.name,
        num_repeats,
        lambda: families((0.0,) * NUM_CONFIGS),
        lambda: families((0.0, *(world.lead(-ROPE),) * EDGE_SIZES[-1])),
    )


def with_tastes(
    null: NullStudy, num_configs: int, num_repeats: int, rng: np.random.Generator, num_images: int = NUM_PLACES
) -> NDArray[np.int8]:
    """Make fake configurations from the stored repeats of one, each with different images in a share of the places.

    Every place draws its image from all stored images, so that no configuration is better over all images.

    Args:
        null: The stored repeats.
        num_configs: K.
        num_repeats: R of each configuration; no repeat is used twice.
        rng: Source of repeats and images.
        num_images: Number of places, M.

    Returns:
        Correctness, shape (K, R, M).
    """
    chosen_KR = rng.permutation(len(null.correct))[: num_configs * num_repeats].reshape(num_configs, num_repeats)
    pool = null.correct.shape[1]
    own_KM = rng.random((num_configs, num_images)) < OWN_IMAGES
    images_KM = np.where(own_KM, rng.integers(pool, size=own_KM.shape), rng.integers(pool, size=num_images))
    return null.correct[chosen_KR[:, :, None], images_KM[:, None, :]].astype(np.int8)


def stored_cell(name: str, num_repeats: int, first: int, num_families: int) -> FamilyCell:
    """Count over families of fake configurations of one null study."""
    null, rng = load_null(name), np.random.default_rng([num_repeats, first])
    num_configs = min(NUM_CONFIGS, len(null.correct) // num_repeats)
    return count_cell(
        name,
        num_repeats,
        lambda: (with_tastes(null, num_configs, num_repeats, rng) for _ in range(num_families)),
        num_configs=num_configs,
    )


@dataclass(frozen=True, kw_only=True)
class JudgedFamilies:
    """Counts of null studies that the whole analysis judged."""

    claims: Share
    """Share of studies in which any verdict was better or worse."""
    num_unlike: int
    """Number of comparisons whose p differs between the analysis and the fast functions of this module."""

    def __add__(self, other: JudgedFamilies) -> JudgedFamilies:
        """Pool two counts."""
        return JudgedFamilies(claims=self.claims + other.claims, num_unlike=self.num_unlike + other.num_unlike)


def judge_families(world: World, num_images: int, num_repeats: int, first: int, num_studies: int) -> JudgedFamilies:
    """Judge families of seven configurations and an equal control with the whole analysis.

    Args:
        world: The simulated world.
        num_images: M.
        num_repeats: R.
        first: Number of the first family, which determines its seed.
        num_studies: Number of families.

    Returns:
        Counts of claims and of unequal p-values.
    """
    names = tuple(f"config {place}" for place in range(NUM_CONFIGS))
    family = [(names[a], names[b]) for a, b in SIZES[7]]
    blocks = tuple(map(str, range(num_repeats)))
    asked = Declared(alpha=ALPHA, num_classes=10)
    told = unlike = 0
    for study in range(first, first + num_studies):
        rng = np.random.default_rng([num_images, num_repeats, study])
        correct_KRM = simulate(world, num_repeats, rng, num_images, leads=(0.0,) * NUM_CONFIGS)
        results = Results(
            configs=names,
            blocks=dict.fromkeys(names, blocks),
            correct={name: list(correct_KRM[place].astype(np.uint8)) for place, name in enumerate(names)},
        )
        found = judge_results([results], family, asked)
        told += any(item.verdict in {Verdict.BETTER, Verdict.WORSE} for item in found)
        fast = squares_of(iter([correct_KRM]), SIZES[7]).p_values("generalized")
        unlike += sum(bool(item.p is None or abs(item.p - p) > 1e-9) for item, p in zip(found, fast, strict=True))
    return JudgedFamilies(claims=Share(count=told, total=num_studies), num_unlike=unlike)
