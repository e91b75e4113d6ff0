from __future__ import annotations

import math

import pytest

from search.reproduce.paper import load_paper
from search.significance.tests.pooled import num_stars, pooled_images_t

RUNS, IMAGES = 3, 15_000


def printed() -> list[tuple[float, float, int]]:
    """Accuracies and stars of every comparison that the ECRNN paper marks."""
    paper = load_paper("ecrnn")

    def accuracy(cell: str) -> float:
        return paper.cells[cell].printed["cifar10"]["validation"] / 100

    return [
        (accuracy(pair.a), accuracy(pair.b), pair.stars)
        for family in paper.families
        for pair in family.pairs
        if pair.stars is not None
    ]


def misses(num_images: int) -> int:
    thresholds = load_paper("ecrnn").marks
    tests = [(pooled_images_t(a, b, num_runs=RUNS, num_images=num_images), stars) for a, b, stars in printed()]
    return sum(num_stars(test.p, thresholds) != stars for test, stars in tests)


def test_all_printed_marks_follow_from_the_printed_accuracies() -> None:
    # Tables 2 to 5 with 32 pairs and 4 best-of-each, two of which repeat a pair of a table.
    assert len(printed()) == 36
    assert misses(IMAGES) == 0


@pytest.mark.parametrize(("num_images", "expected"), [(15_000 // 3, 14), (10_000, 6), (50_000 // 3, 1)])
def test_no_other_number_of_images_gives_them(num_images: int, expected: int) -> None:
    assert misses(num_images) == expected


def test_it_is_the_test_of_two_proportions() -> None:
    test = pooled_images_t(0.8, 0.7, num_runs=2, num_images=50)
    assert test.se == pytest.approx(math.sqrt((0.16 + 0.21) / 100))
    assert test.t == pytest.approx(0.1 / test.se)
    assert test.df == 198
    assert (test.num_blocks, test.num_images) == (2, 50)
    assert "as published" in test.name


def test_nothing_to_test_where_nothing_varies() -> None:
    assert math.isnan(pooled_images_t(1.0, 0.0, num_runs=1, num_images=9).p)


@pytest.mark.parametrize(
    ("p", "expected"), [(0.06, 0), (0.05, 0), (0.04, 1), (0.005, 1), (0.0049, 2), (0.00001, 3), (math.nan, 0)]
)
def test_stars_count_the_thresholds_below_which_p_lies(p: float, expected: int) -> None:
    assert num_stars(p, (0.05, 0.005, 0.0001)) == expected
