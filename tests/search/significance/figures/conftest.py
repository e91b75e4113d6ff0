"""Comparisons made up of numbers: pictures need no analysis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search.significance import Comparison, Interval, Verdict

MakeComparison = Callable[..., Comparison]


def _make(
    a: str = "crnn", b: str = "cnn", estimate: float | None = 0.02, half: float = 0.01, **fields: Any
) -> Comparison:
    values: dict[str, Any] = {
        "verdict": Verdict.BETTER,
        "sentence": f"{a} beats {b}.",
        "estimand": "new data of this kind",
        "num_blocks": 4,
        "num_images": 50,
        "blocks": ("b0", "b1", "b2", "b3"),
        "scores_a": (0.8, 0.82, 0.84, 0.8),
        "scores_b": (0.78, 0.8, 0.85, 0.8),
        "mean_a": 0.815,
        "mean_b": 0.8075,
        "adjust_method": "holm",
        "family_size": 8,
        "alpha": 0.05,
        "rope": 0.005,
    }
    if estimate is not None:
        values |= {
            "interval": Interval(low=estimate - half, high=estimate + half, level=0.95),
            "simultaneous_interval": Interval(low=estimate - 2 * half, high=estimate + 2 * half, level=0.99375),
            "adjusted_p": 0.004,
            "p_a_gt_b": 0.625,
            "p_a_gt_b_interval": Interval(low=0.25, high=0.9, level=0.95),
        }
    return Comparison(a=a, b=b, estimate=estimate, **{**values, **fields})


@pytest.fixture
def make_comparison() -> MakeComparison:
    """Make a comparison: `make_comparison("a", "b", 0.01)`; without an estimate it has no numbers."""
    return _make


@pytest.fixture
def refused(make_comparison: MakeComparison) -> Comparison:
    """A comparison that was refused."""
    return make_comparison(
        "same",
        estimate=None,
        verdict=Verdict.REFUSED,
        reason="the difference is the same in every repeat (zero variance), so the seeds may not have reached training",
    )
