"""docs/stars.md is what bench/stars.py writes, and what it says follows from the tests themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.stars import RATIO, Row, allowed_after_holm, marked_families, misses, rows_of
from bench.stars_page import DOCS, PAGE, PICTURE, make_page
from search.reproduce.paper import load_paper
from search.significance.adjust.multiplicity import holm
from search.significance.tests.resampled import corrected_resampled_t

PAPER = load_paper("ecrnn")
TABLES = {family.title[:7]: rows_of(PAPER, family) for family in marked_families(PAPER)}
ROWS = [row for rows in TABLES.values() for row in rows]


def three_runs(mean: float, sd: float) -> NDArray[np.float64]:
    return mean + sd * np.array([-1.0, 0.0, 1.0])


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / PAGE).read_text(encoding="utf-8") == make_page(PAPER), "run python -m bench.stars_page"
    assert (DOCS / PICTURE).stat().st_size > 10_000


def test_every_printed_mark_is_given_and_by_no_other_number_of_images() -> None:
    assert len(ROWS) == 36
    assert all(row.stars == row.printed_stars for row in ROWS)
    assert [misses(PAPER, num_images=count * 15_000) for count in (1, 2, 3)] == [14, 6, 0]
    printed_differences = [row for row in ROWS if abs(row.printed - 100 * row.difference) > 1e-9]
    assert all(abs(row.printed - 100 * row.difference) < 0.0101 for row in printed_differences)  # last digits


@pytest.mark.parametrize("row", ROWS[:4], ids=lambda row: row.first)
def test_three_runs_that_vary_as_allowed_are_just_significant(row: Row) -> None:
    test = corrected_resampled_t(three_runs(row.difference, row.allowed), ratio=RATIO)
    assert test.p == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize("title", ["Table 2", "Table 4"])
def test_within_its_table_each_is_rejected_up_to_what_is_allowed_and_not_beyond(title: str) -> None:
    rows = TABLES[title]
    for place, row in enumerate(rows):
        for factor, told in ((0.999, True), (1.001, False)):
            sd = factor * row.allowed_holm
            tests = [corrected_resampled_t(three_runs(other.difference, sd), ratio=RATIO) for other in rows]
            adjusted = holm([test.p for test in tests])[place]
            assert adjusted is not None
            assert (adjusted <= 0.05) is told


def test_holm_by_hand() -> None:
    # Two comparisons: the larger at .025, then the smaller at .05, but only once the larger is through.
    at_025, at_05 = 6.2053468 * math.sqrt(1 / 3 + RATIO), 4.3026527 * math.sqrt(1 / 3 + RATIO)
    assert allowed_after_holm([0.01, -0.02]) == pytest.approx([0.01 / at_05, 0.02 / at_025], rel=1e-6)
    assert allowed_after_holm([0.019, -0.02]) == pytest.approx([0.02 / at_025, 0.02 / at_025], rel=1e-6)


def test_chances_are_those_of_simulated_runs() -> None:
    row = TABLES["Table 3"][4]
    assert (row.first, row.printed) == ("ECRNN, BiLSTM 16", 3.83)
    runs = np.random.default_rng(0).normal(row.difference, row.noise, (20_000, 3)).std(axis=1, ddof=1)
    assert np.mean(runs <= row.allowed) == pytest.approx(row.chance, abs=0.01)
    assert np.mean(runs <= row.allowed_holm) == pytest.approx(row.chance_holm, abs=0.015)


def test_the_noise_is_that_of_drawing_images() -> None:
    row = TABLES["Table 2"][0]  # 74.08 and 73.25 %: independent errors disagree on .3872, three quarters on .2904
    assert row.noise == pytest.approx(math.sqrt((0.75 * (0.7408 * 0.2675 + 0.7325 * 0.2592) - 0.0083**2) / 15_000))
