"""Numbers that R prints for its own data sets, found again by way of a file and the command's analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.analysis.document import to_lines
from search.analysis.options import Options
from search.analysis.run import analyze

SLEEP = (
    (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0),
    (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4),
)
"""R's data set `sleep`: extra hours of ten patients under two drugs (Student 1908)."""
ROUNDING = (
    (5.40, 5.50, 5.55), (5.85, 5.70, 5.75), (5.20, 5.60, 5.50), (5.55, 5.50, 5.40), (5.90, 5.85, 5.70),
    (5.45, 5.55, 5.60), (5.40, 5.40, 5.35), (5.45, 5.50, 5.35), (5.25, 5.15, 5.00), (5.85, 5.80, 5.70),
    (5.25, 5.20, 5.10), (5.65, 5.55, 5.45), (5.60, 5.35, 5.45), (5.05, 5.00, 4.95), (5.50, 5.50, 5.40),
    (5.45, 5.55, 5.50), (5.55, 5.55, 5.35), (5.45, 5.50, 5.55), (5.50, 5.45, 5.25), (5.65, 5.60, 5.40),
    (5.70, 5.65, 5.55), (6.30, 6.30, 6.25),
)  # fmt: skip
"""RoundingTimes in R's help on friedman.test (Hollander & Wolfe 1973, p. 140): 22 players, three ways to first base."""


def test_rs_paired_t_test_of_sleep(write: Callable[..., Path]) -> None:
    # t.test(extra ~ group, sleep, paired = TRUE): t = -4.0621, df = 9, p-value = 0.002833, -2.4598858 to -0.7001142
    rows = [
        f"{drug},{patient},{(value + 2) / 10:.2f}"  # hours from -2 to 8 as fractions: t and p stay
        for drug, values in zip(("drug1", "drug2"), SLEEP, strict=True)
        for patient, value in enumerate(values)
    ]
    (found,) = analyze(write("config,block,score", *rows), Options()).comparisons
    assert found.t == pytest.approx(-4.0621, abs=5e-5)
    assert found.df == 9
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.interval is not None
    assert (10 * found.interval.low, 10 * found.interval.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert found.sentence.startswith(
        "drug1 loses to drug2 by 15.8 percentage points (95 % interval 7.0 to 24.6; p = .003"
    )


def test_rs_friedman_test_of_rounding_times(write: Callable[..., Path]) -> None:
    # friedman.test(RoundingTimes): Friedman chi-squared = 11.143, df = 2, p-value = 0.003805
    ways = ("Round Out", "Narrow Angle", "Wide Angle")
    rows = [
        f"player-{player},{way},0,{secs / 10:.3f}"
        for player, times in enumerate(ROUNDING)
        for way, secs in zip(ways, times, strict=True)
    ]
    analysis = analyze(write("dataset,config,block,score", *rows), Options(all_pairs=True))
    document = analysis.document
    assert document["across"]["chi2"] == pytest.approx(11.143, abs=5e-4)
    assert document["across"]["p_chi2"] == pytest.approx(0.003805, abs=5e-7)
    assert document["across"]["df"][0] == 2
    words = "Friedman's chi squared 11.14 with 2 degrees of freedom, corrected for ties, p = .004;"
    assert any(words in line for line in to_lines(document, analysis.comparisons))
