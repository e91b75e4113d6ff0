"""The significance marks of the ECRNN paper, reproduced, and compared with valid tests.

Nothing is measured: all numbers follow from the printed accuracies and the assumptions below. `bench.stars_page` writes
docs/stars.md; a test checks that the page is up to date.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from search.reproduce.paper import Family, Pair, Paper
from search.significance.methods import METHODS
from search.significance.planning.design import Crossed, Design, Paired, blocks_needed
from search.significance.records import Components
from search.significance.tests.pooled import num_stars, pooled_images_t

RATIO = 3 / 7
ALPHA = 0.05
TEST_IMAGES = 10_000
DEPENDENCE = 0.75
"""Disagreement relative to that of independent errors; .64 to .82 was measured between shipped presets trained on 2,800
and tested on 800 CIFAR-10 images."""
LASTING = 0.25
"""Share of the disagreement that averaging over runs does not remove; at most a sixth was measured there."""
SD_SEEDS = 0.005
"""Standard deviation of a difference due to seeds, in addition to the sampling of images."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed comparison."""

    first: str
    second: str
    printed: float
    """Printed difference, percentage points; `difference` is used where the two disagree."""
    difference: float
    """Difference of the printed accuracies, fraction."""
    printed_stars: int
    p: float
    """p-value of the pooled test."""
    stars: int
    allowed: float
    """Largest standard deviation of the runs' differences for which the corrected t gives p below .05."""
    allowed_holm: float
    """The same after Holm's adjustment, if all differences of the family have that standard deviation."""
    noise: float
    """Standard deviation of one run's difference due to the sampling of validation images alone."""
    chance: float
    """Probability that three runs vary no more than `allowed`, if only that sampling makes them differ."""
    chance_holm: float
    """The same for `allowed_holm`."""
    runs: int | None
    """Runs needed by the corrected t, if only that sampling makes runs differ."""
    runs_seeds: int | None
    """The same if seeds make runs differ as well."""
    runs_crossed: int | None
    """Repeats needed by the crossed test on the test images that the paper did not use."""


def marked_families(paper: Paper) -> list[Family]:
    """Return the families whose comparisons the paper marks."""
    return [family for family in paper.families if family.pairs[0].stars is not None]


def rows_of(paper: Paper, family: Family) -> list[Row]:
    """Return one row per comparison of a table."""
    allowed = allowed_after_holm([_difference(paper, pair) for pair in family.pairs])
    return [_row(paper, pair, after, len(family.pairs)) for pair, after in zip(family.pairs, allowed, strict=True)]


def misses(paper: Paper, *, num_images: int) -> int:
    """Return the number of printed marks that the pooled test does not give for `num_images` images in total."""
    found = 0
    for pair in (pair for family in marked_families(paper) for pair in family.pairs):
        a, b = (_accuracy(paper, name) for name in (pair.a, pair.b))
        test = pooled_images_t(a, b, num_runs=1, num_images=num_images)
        found += num_stars(test.p, paper.marks) != pair.stars
    return found


def _row(paper: Paper, pair: Pair, allowed_holm: float, family_size: int) -> Row:
    scored = paper.data["cifar10"].scores["validation"]
    a, b = (_accuracy(paper, name) for name in (pair.a, pair.b))
    difference = _difference(paper, pair)
    test = pooled_images_t(a, b, num_runs=scored.runs, num_images=scored.images)
    disagreed = DEPENDENCE * (a * (1 - b) + b * (1 - a))
    noise = math.sqrt((disagreed - difference**2) / scored.images)
    components = Components(repeats=SD_SEEDS**2, images=LASTING * disagreed, residual=(1 - LASTING) * disagreed)
    alpha = ALPHA / family_size

    def needed(design: Design, method: str) -> int | None:
        number = blocks_needed(design, abs(difference), alpha=alpha).number
        return number and max(number, METHODS[method].min_blocks)

    assert pair.stars is not None
    assert pair.difference is not None
    return Row(
        first=paper.cells[pair.a].label,
        second=paper.cells[pair.b].label,
        printed=pair.difference,
        difference=difference,
        printed_stars=pair.stars,
        p=test.p,
        stars=num_stars(test.p, paper.marks),
        allowed=abs(difference) / _critical(ALPHA),
        allowed_holm=allowed_holm,
        noise=noise,
        chance=_chance(abs(difference) / _critical(ALPHA), noise),
        chance_holm=_chance(allowed_holm, noise),
        runs=needed(Paired(sd=noise, ratio=RATIO), "corrected-t"),
        runs_seeds=needed(Paired(sd=math.hypot(noise, SD_SEEDS), ratio=RATIO), "corrected-t"),
        runs_crossed=needed(Crossed(components=components, num_images=TEST_IMAGES), "crossed"),
    )


def _accuracy(paper: Paper, cell: str) -> float:
    return paper.cells[cell].printed["cifar10"]["validation"] / 100


def _difference(paper: Paper, pair: Pair) -> float:
    return round(_accuracy(paper, pair.a) - _accuracy(paper, pair.b), 6)


def _critical(alpha: float, *, num_runs: int = 3) -> float:
    """Return the ratio of mean and standard deviation of the runs' differences at which the corrected t gives alpha."""
    return float(stats.t.isf(alpha / 2, num_runs - 1)) * math.sqrt(1 / num_runs + RATIO)


def _chance(allowed: float, sd: float) -> float:
    """Return the probability that the sample SD of three normal values with SD `sd` is at most `allowed`."""
    return float(stats.chi2.cdf(2 * (allowed / sd) ** 2, 2))


def allowed_after_holm(differences: Sequence[float]) -> list[float]:
    """Return, for each difference, the largest common standard deviation at which Holm's procedure rejects it."""
    order = sorted(range(len(differences)), key=lambda place: -abs(differences[place]))
    allowed, so_far = [0.0] * len(differences), math.inf
    for step, place in enumerate(order):
        so_far = min(so_far, abs(differences[place]) / _critical(ALPHA / (len(differences) - step)))
        allowed[place] = so_far
    return allowed
