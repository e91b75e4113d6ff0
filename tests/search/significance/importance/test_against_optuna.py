"""The measures of importance against Optuna's own, and against functions whose importances are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from search.significance.importance.factor import Factor
from search.significance.importance.fanova import NUM_TREES, fanova
from search.significance.importance.ped_anova import ped_anova, ped_anova_shares

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "nodes": IntDistribution(16, 64, step=16),
    "width": IntDistribution(1, 128, log=True),
    "cell": CategoricalDistribution(["gru", "lstm", "rnn"]),
    "x": FloatDistribution(0, 1),
    "late": FloatDistribution(0, 1),
}
"""`late` exists only with a cell that is not a gru."""


def drawn(num_trials: int, seed: int) -> tuple[dict[str, Any], list[Factor]]:
    """Values of random trials by parameter, None where a trial lacks it; and the same as factors."""
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.uniform(math.log(1e-4), math.log(1e-1), num_trials))
    nodes = 16 * rng.integers(1, 5, num_trials)
    width = np.exp(rng.uniform(0, math.log(128), num_trials)).astype(int)
    cell, x = rng.integers(0, 3, num_trials), rng.uniform(size=num_trials)
    late = np.where(cell > 0, rng.uniform(size=num_trials), np.nan)
    values = {
        "rate": rate.tolist(),
        "nodes": nodes.tolist(),
        "width": width.tolist(),
        "cell": [("gru", "lstm", "rnn")[index] for index in cell],
        "x": x.tolist(),
        "late": [None if math.isnan(value) else value for value in late],
    }
    factors = [
        Factor(name="rate", positions=np.log(rate / 1e-4) / math.log(1000), num_values=None, is_log=True),
        Factor(name="nodes", positions=(nodes - 16) / 48, num_values=4),
        Factor(name="width", positions=np.log(width) / math.log(128), num_values=128, is_log=True),
        Factor(name="cell", positions=cell.astype(float), num_values=3, choices=("gru", "lstm", "rnn")),
        Factor(name="x", positions=x, num_values=None),
        Factor(name="late", positions=late, num_values=None),
    ]
    return values, factors


def study_of(values: dict[str, Any], scores: np.ndarray) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for index, score in enumerate(scores):
        own = {name: each[index] for name, each in values.items() if each[index] is not None}
        study.add_trial(
            optuna.trial.create_trial(
                params=own, distributions={name: DISTRIBUTIONS[name] for name in own}, value=float(score)
            )
        )
    return study


@pytest.mark.parametrize(("target", "region"), [(0.25, 1.0), (0.125, 0.25), (0.1, 1.0)])
@pytest.mark.parametrize("num_trials", [9, 60])
def test_ped_anova_is_optunas(target: float, region: float, num_trials: int) -> None:
    values, factors = drawn(num_trials, seed=num_trials)
    scores = np.round(np.array(values["x"]) + 0.3 * np.array([cell == "gru" for cell in values["cell"]]), 1)  # ties
    evaluator = PedAnovaImportanceEvaluator(target_quantile=target, region_quantile=region)
    theirs = evaluator.evaluate(study_of(values, scores))
    ours = ped_anova(factors, scores[None], np.ones((1, num_trials)), target=target, region=region)[0]
    assert dict(zip(DISTRIBUTIONS, ours, strict=True)) == pytest.approx(theirs, rel=1e-9, abs=1e-15)


def test_a_weight_is_a_repeated_trial() -> None:
    values, factors = drawn(30, seed=1)
    scores, weights = np.array(values["x"]), np.random.default_rng(0).integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), weights)
    theirs = PedAnovaImportanceEvaluator(target_quantile=0.25).evaluate(
        study_of({name: [each[index] for index in repeated] for name, each in values.items()}, scores[repeated])
    )
    ours = ped_anova(factors, scores[None], weights[None].astype(float), target=0.25, region=1.0)[0]
    assert dict(zip(DISTRIBUTIONS, ours, strict=True)) == pytest.approx(theirs, rel=1e-9, abs=1e-15)


def independent(num_trials: int, seed: int) -> list[Factor]:
    """Three unconditional parameters: two numbers and a choice of three."""
    rng = np.random.default_rng(seed)
    return [
        Factor(name="a", positions=rng.uniform(size=num_trials), num_values=None),
        Factor(name="b", positions=rng.uniform(size=num_trials), num_values=None),
        Factor(name="c", positions=rng.integers(0, 3, num_trials).astype(float), num_values=3, choices=("x", "y", "z")),
    ]


def test_fanova_finds_known_variances() -> None:
    """Of 3a + b + [c is x], the variances of a, b and c are 9/12, 1/12 and 2/9."""
    factors = independent(400, seed=3)
    a, b, c = (factor.positions for factor in factors)
    found = fanova(factors, 3 * a + b + (c == 0))
    true = {"a": 9 / 12, "b": 1 / 12, "c": 2 / 9}
    total = sum(true.values())
    assert [share.parameter for share in found.shares] == ["a", "c", "b"]
    for share in found.shares:
        assert share.share == pytest.approx(true[share.parameter] / total, abs=0.03)
        assert share.low < share.share < share.high
    assert found.r2 > 0.9


def test_fanova_gives_interactions_to_no_parameter() -> None:
    """An exclusive or has no main effect."""
    factors = independent(400, seed=4)
    a, b, _ = (factor.positions for factor in factors)
    found = fanova(factors, ((a > 0.5) ^ (b > 0.5)).astype(float))
    assert sum(share.share for share in found.shares) < 0.15
    assert found.r2 > 0.5


def test_fanova_agrees_with_optunas() -> None:
    factors = independent(150, seed=5)
    a, b, c = (factor.positions for factor in factors)
    scores = a + 0.5 * b**2 + 0.4 * (c == 2) + np.random.default_rng(0).normal(0, 0.05, 150)
    study = optuna.create_study(direction="maximize")
    distributions: dict[str, BaseDistribution] = {
        "a": FloatDistribution(0, 1),
        "b": FloatDistribution(0, 1),
        "c": CategoricalDistribution([0, 1, 2]),
    }
    for index, score in enumerate(scores):
        own = {"a": a[index], "b": b[index], "c": int(c[index])}
        study.add_trial(optuna.trial.create_trial(params=own, distributions=distributions, value=score))
    theirs = FanovaImportanceEvaluator(seed=0).evaluate(study)
    ours = {share.parameter: share.share for share in fanova(factors, scores).shares}
    assert ours == pytest.approx(theirs, abs=0.06)


def test_scores_without_a_cause() -> None:
    """Of 20 sweeps of noise, about one in twenty has a parameter beyond chance, and the forest predicts nothing."""
    false = blind = 0
    for seed in range(20):
        factors = independent(60, seed=seed)
        noise = np.random.default_rng(100 + seed).normal(size=60)
        false += any(share.is_beyond_chance for share in ped_anova_shares(factors, noise, target=0.25))
        blind += fanova(factors, noise).r2 <= 0
    assert false <= 4
    assert blind >= 15


def test_a_cause_is_beyond_chance_also_among_the_best() -> None:
    factors = independent(200, seed=6)
    a, b, _ = (factor.positions for factor in factors)
    # b decides among the trials with a high a, which are the best quarter.
    scores = np.where(a > 0.75, 2 + b, a)
    everywhere = {share.parameter: share for share in ped_anova_shares(factors, scores, target=0.25)}
    among_best = {share.parameter: share for share in ped_anova_shares(factors, scores, target=0.125, region=0.25)}
    assert everywhere["a"].is_beyond_chance
    assert everywhere["a"].share > 0.7
    assert among_best["b"].is_beyond_chance
    assert among_best["b"].share > 0.5
    assert not among_best["c"].is_beyond_chance


def test_the_seed_changes_the_intervals_only() -> None:
    factors = independent(60, seed=7)
    first, again, other = (ped_anova_shares(factors, factors[0].positions, target=0.25, seed=s) for s in (0, 0, 1))
    assert first == again
    assert [share.share for share in first] == [share.share for share in other]
    assert [share.low for share in first] != [share.low for share in other]
    trees = [fanova(factors, factors[0].positions, seed=seed).shares for seed in (0, 1)]
    assert trees[0] != trees[1]


def test_the_intervals_are_the_middle_95_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of resamplings and trees whose shares lie evenly from 0 to 1."""
    factors = independent(60, seed=7)[:2]

    def even(factors: list[Factor], order: np.ndarray, weights: np.ndarray, **_: float) -> np.ndarray:
        shares = np.linspace(0, 1, len(weights))
        return np.column_stack([shares, 1 - shares])

    monkeypatch.setattr("search.significance.importance.ped_anova.ped_anova", even)
    shares = ped_anova_shares(factors, factors[0].positions, target=0.25)
    monkeypatch.setattr(
        "search.significance.importance.fanova._main_effects",
        lambda *_: np.column_stack([np.linspace(0, 1, NUM_TREES)] * 2),
    )
    trees = fanova(factors, factors[0].positions).shares
    assert [(share.low, share.high) for share in (*shares, *trees)] == [pytest.approx((0.025, 0.975))] * 4


def test_equal_scores_have_no_importance() -> None:
    factors = independent(40, seed=8)
    shares = ped_anova_shares(factors, np.ones(40), target=0.25)
    assert [share.share for share in shares] == pytest.approx([1 / 3] * 3)
    assert not any(share.is_beyond_chance for share in shares)
    found = fanova(factors, np.ones(40))
    assert [share.share for share in found.shares] == [0.0, 0.0, 0.0]
    assert found.r2 == 0.0
