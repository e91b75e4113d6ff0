"""A12 and Cliff's delta of unpaired scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from search.significance.effects import unpaired_superiority

some_scores = arrays(np.float64, st.integers(1, 12), elements=st.integers(0, 6).map(lambda x: x / 6))


def test_of_ten_splits() -> None:
    a = np.array([0.7408, 0.7339, 0.7431, 0.7302, 0.7419, 0.7344, 0.7447, 0.7397, 0.7312, 0.7411])
    b = np.array([0.7325, 0.7341, 0.7362, 0.731, 0.7333, 0.7348, 0.7371, 0.7305, 0.7317, 0.735])
    assert unpaired_superiority(a, b) == pytest.approx((0.73, 0.46), abs=1e-10)


def test_float_noise_is_a_tie() -> None:
    assert unpaired_superiority(np.array([0.1 + 0.2]), np.array([0.3])) == (0.5, 0.0)


@settings(max_examples=60, deadline=None)
@given(some_scores, some_scores)
def test_it_counts_every_couple(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    couples = np.sign(np.round(a[:, None] - b, 9))
    found = unpaired_superiority(a, b)
    assert found == pytest.approx(((couples.mean() + 1) / 2, couples.mean()), abs=1e-12)
    assert unpaired_superiority(b, a) == pytest.approx((1 - found[0], -found[1]), abs=1e-12)
