"""Splits: exact, repeatable, complete."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.errors import ClassMissingError, DataError
from search.data.splits import SplitConfig, split
from search.errors import InputError

METHODS = ("random", "stratified")


@pytest.mark.parametrize("method", METHODS)
def test_ecrnn_protocol_has_its_exact_sizes(method: str) -> None:
    labels = np.repeat(np.arange(10), 5000)
    train, val = split(labels, SplitConfig(method=method, fraction=0.3), 1)
    assert (len(train), len(val)) == (35_000, 15_000)
    assert train.dtype == val.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(50_000))
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()
    per_class = np.bincount(labels[val])
    assert (per_class == 1500).all() == (method == "stratified")


@pytest.mark.parametrize("method", METHODS)
def test_yilmaz_and_johnson_protocols_have_their_exact_sizes(method: str) -> None:
    labels = np.repeat(np.arange(10), 5000)
    train, val = split(labels, SplitConfig(method=method, fraction=0.1), 1)
    assert (len(train), len(val)) == (45_000, 5_000)
    train, val = split(labels, SplitConfig(method="none"), 1)
    assert np.array_equal(train, np.arange(50_000))
    assert len(val) == 0


@pytest.mark.parametrize("total", [97, 359, 1198, 2703, 3379])
@pytest.mark.parametrize("fraction", [0.07, 0.1, 0.2, 0.3, 1 / 3])
def test_sizes_are_those_of_scikit_learn(total: int, fraction: float) -> None:
    from sklearn.model_selection import train_test_split

    labels = np.arange(total) % 7
    theirs = train_test_split(labels, test_size=fraction, stratify=labels, random_state=0)
    ours = split(labels, SplitConfig(fraction=fraction), 0)
    for rows, their_labels in zip(ours, theirs, strict=True):
        assert len(rows) == len(their_labels)
        assert (abs(np.bincount(labels[rows]) - np.bincount(their_labels)) <= 1).all()


def test_a_share_that_floats_overshoot_is_not_rounded_up() -> None:
    assert 100 * 0.07 > 7
    assert len(split(np.zeros(100, dtype=np.int64), SplitConfig(fraction=0.07), 0)[1]) == 7


def test_without_a_validation_part_the_fraction_is_none() -> None:
    config = SplitConfig(method="none", fraction=0.25)
    assert asdict(config) == {"method": "none", "fraction": 0.0}
    assert SplitConfig(**asdict(config)) == SplitConfig(method="none")


@pytest.mark.parametrize("method", METHODS)
def test_seed_decides(method: str) -> None:
    labels = np.repeat(np.arange(4), 50)
    config = SplitConfig(method=method)
    assert np.array_equal(split(labels, config, 2**62 + 5)[1], split(labels, config, 2**62 + 5)[1])
    assert not np.array_equal(split(labels, config, 1)[1], split(labels, config, 2)[1])


@given(
    counts=st.lists(st.integers(10, 60), min_size=1, max_size=8),
    fraction=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**63 - 1),
)
def test_stratified_is_exact_for_any_counts(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    _, val = split(labels, SplitConfig(fraction=fraction), seed)
    assert len(val) == math.ceil(fraction * len(labels) - 1e-9)
    assert (np.abs(np.bincount(labels[val], minlength=len(counts)) - np.array(counts) * fraction) < 1.5).all()


def test_places_left_over_are_drawn_by_lot() -> None:
    labels = np.repeat(np.arange(3), 3)  # a third of each class, 4 of 9: one class gives two
    config = SplitConfig(fraction=0.4)
    generous = {int(np.bincount(labels[split(labels, config, seed)[1]]).argmax()) for seed in range(30)}
    assert generous == {0, 1, 2}


def test_missing_class_is_named_with_its_counts() -> None:
    labels = np.array([0] * 10 + [1])
    with pytest.raises(ClassMissingError, match=r"class dog must be in both parts, got 1 .* 0 .*change the share"):
        split(labels, SplitConfig(fraction=0.2), 0, ("cat", "dog"))
    with pytest.raises(ClassMissingError, match=r"class dog .*; add images of this class, or split stratified"):
        split(labels, SplitConfig(method="random"), 0, ("cat", "dog"))
    with pytest.raises(ClassMissingError, match="class 1 "):
        split(labels, SplitConfig(), 0)
    with pytest.raises(ClassMissingError, match="no images"):
        split(np.array([], dtype=np.int64), SplitConfig(), 0)


def test_impossible_settings_are_refused_all_at_once() -> None:
    with pytest.raises(DataError) as caught:
        SplitConfig(method="official", fraction=1.0)
    assert isinstance(caught.value, InputError)
    assert caught.value.faults == (
        "method must be one of random, stratified, none, got 'official'",
        "fraction must be above 0 and below 1, got 1.0",
    )
