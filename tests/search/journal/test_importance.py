"""What mattered, from records: which trials count, with which score, and when they are too few."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search.journal.importance import MIN_TRIALS, what_mattered
from search.journal.scored_trials import score_trials
from search.records import Completed, Failed, Infeasible, Outcome, Stopped, TrialRecord
from spaces.space import Space

Make = Callable[..., TrialRecord]

SPACE = Space.from_dict(
    "s",
    {
        "rate": {"float": [1e-4, 1e-1], "log": True},
        "cell": ["none", "gru", "lstm"],
        "nodes": {"int": [8, 64], "step": 8, "when": {"cell": {"not": "none"}}},
        "bn": [True, False],
        "fixed": 3,
    },
)


@pytest.fixture
def make_trial(make_record: Make, make_epoch: Callable[..., Any]) -> Callable[..., TrialRecord]:
    """Make a trial: `make_trial("a", Completed(), 0.5, 0.6, rate=0.1)` with its accuracy after each epoch."""

    def make(key: str, outcome: Outcome | None, *accuracies: float | None, **point: Any) -> TrialRecord:
        curve = tuple(make_epoch(number, value) for number, value in enumerate(accuracies, start=1))
        default = {"rate": 0.01, "cell": "none", "bn": True, "fixed": 3}
        return make_record(key, outcome=outcome, curve=curve, point={**default, **point})

    return make


@pytest.fixture
def sweep(make_trial: Callable[..., TrialRecord]) -> Callable[[int], list[TrialRecord]]:
    """Make random trials of which the rate, and then the cell, decide the accuracy."""

    def make(num_trials: int) -> list[TrialRecord]:
        generator, made = random.Random(3), []
        for number in range(num_trials):
            point = dict(SPACE.assemble(lambda _, domain: domain.draw(generator)))
            best = 0.9 - 0.05 * (math.log10(point["rate"]) + 2.5) ** 2 + 0.04 * (point["cell"] == "gru")
            made.append(make_trial(f"t{number}", Completed(), best - 0.1, best + generator.gauss(0, 0.005), **point))
        return made

    return make


def test_trials_are_ranked_as_the_sweep_ranks_them(make_trial: Callable[..., TrialRecord]) -> None:
    records = [
        make_trial("late", Stopped(epoch=2), 0.2, 0.4),
        make_trial("running", None, 0.9, 0.9),
        make_trial("worst", Completed(), 0.1, 0.2, 0.3),
        make_trial("lost", Failed(reason="killed"), 0.9),
        make_trial("diverged", Failed(reason="nan", diverged=True), 0.99),
        make_trial("best", Completed(), 0.1, 0.2, 0.5),
        make_trial("early", Stopped(epoch=1), 0.8),
        make_trial("slow", Infeasible(measure="latency_ms", value=9.0, limit=5.0), 0.7),
        make_trial("tie", Completed(), 0.3, 0.3, 0.5),
        make_trial("blind", Completed(), None),
    ]
    trials = score_trials(records, SPACE)
    keys = [record.key for record in trials.records]
    assert set(keys[:2]) == {"best", "tie"}
    assert keys[2:] == ["worst", "late", "early", "slow", "diverged"]
    assert trials.rank[:2].tolist() == [1.0, 1.0]
    assert trials.rank[2:].tolist() == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert trials.ended(Infeasible).tolist() == [False] * 5 + [True, False]


def test_repeats_do_not_count(make_record: Make, make_epoch: Callable[..., Any]) -> None:
    repeat = make_record("r", kind="repeat", outcome=Completed(), curve=(make_epoch(1, 0.5),))
    assert score_trials([repeat], SPACE).records == ()


@pytest.mark.parametrize(("num_stopped", "epoch"), [(0, 3), (1, 3), (2, 1)])
def test_the_epoch_is_the_last_that_nearly_all_trials_reached(
    make_trial: Callable[..., TrialRecord], num_stopped: int, epoch: int
) -> None:
    records = [
        *(make_trial(f"s{number}", Stopped(epoch=1), 0.1) for number in range(num_stopped)),
        *(make_trial(f"c{number}", Completed(), 0.2, 0.3, 0.4) for number in range(10 - num_stopped)),
        make_trial("d", Failed(reason="nan", diverged=True)),
    ]
    trials = score_trials(records, SPACE)
    assert trials.epoch == epoch
    known = [] if epoch == 3 else [0.1] * num_stopped
    known += [0.4 if epoch == 3 else 0.2] * (10 - num_stopped)
    assert sorted(trials.accuracy[~np.isnan(trials.accuracy)]) == known


def test_parameters_become_positions(make_trial: Callable[..., TrialRecord]) -> None:
    records = [
        make_trial("a", Completed(), 0.9, rate=1e-4, cell="gru", nodes=8),
        make_trial("b", Completed(), 0.8, rate=1e-1, cell="lstm", nodes=36 + 4, bn=False),
        make_trial("c", Completed(), 0.7, rate=1e-3),
    ]
    rate, cell, nodes, bn = score_trials(records, SPACE).factors  # not the fixed one
    assert rate.positions.tolist() == pytest.approx([0, 1, 1 / 3])
    assert (rate.is_log, rate.num_values, rate.ends) == (True, None, (1e-4, 1e-1))
    assert cell.positions.tolist() == [1, 2, 0]
    assert cell.choices == ("none", "gru", "lstm")
    assert nodes.positions[:2].tolist() == pytest.approx([0, 4 / 7])
    assert math.isnan(nodes.positions[2])
    assert bn.choices == ("true", "false")


def test_a_value_outside_the_space_is_no_position(make_trial: Callable[..., TrialRecord]) -> None:
    records = [make_trial(str(rate), Completed(), 0.9, rate=rate) for rate in (0.01, 0.02, 1e-6, 3.0)]
    (rate,) = score_trials(records, SPACE).factors
    assert np.isnan(rate.positions).sum() == 2


def test_a_parameter_with_one_value_is_left_out(make_trial: Callable[..., TrialRecord]) -> None:
    records = [make_trial("a", Completed(), 0.9, rate=0.01), make_trial("b", Completed(), 0.8, rate=0.02)]
    assert [factor.name for factor in score_trials(records, SPACE).factors] == ["rate"]


def test_what_mattered_is_found(sweep: Callable[[int], list[TrialRecord]]) -> None:
    importance = what_mattered(sweep(160), SPACE)
    assert importance.parameters[:2] == ("rate", "cell")
    first, second, *others = importance.reaching.shares
    assert first.is_beyond_chance
    assert second.is_beyond_chance
    assert not any(share.is_beyond_chance for share in others)
    assert [ranking.num_trials for ranking in importance.rankings] == [160, 40, 160]
    assert not importance.reaching.too_few
    # The conditional parameter has no share of the variance, but one of the best quarter.
    assert {share.parameter for share in importance.variance.shares} == {"rate", "cell", "bn"}
    assert importance.variance.shares[0].parameter == "rate"
    gru = next(item for item in importance.choices if (item.parameter, item.a) == ("cell", "gru"))
    assert gru.estimate > 0
    assert importance.choices[0].parameter == "cell"  # the most important choice


def test_fewer_trials_are_too_few(sweep: Callable[[int], list[TrialRecord]]) -> None:
    few, enough = what_mattered(sweep(MIN_TRIALS - 1), SPACE), what_mattered(sweep(MIN_TRIALS), SPACE)
    assert [ranking.shares for ranking in few.rankings] == [(), (), ()]
    assert few.reaching.too_few == "importances take at least 20, there are 19"
    assert few.parameters == ("rate", "cell", "nodes", "bn")
    assert enough.reaching.shares
    assert enough.within.too_few == "importances take at least 20, there are 5"


def test_noise_is_too_few_trials(sweep: Callable[[int], list[TrialRecord]], make_epoch: Callable[..., Any]) -> None:
    noise = np.random.default_rng(0).uniform(size=60)
    records = [
        TrialRecord(**{**vars(record), "curve": (make_epoch(1, value),)})
        for record, value in zip(sweep(60), noise, strict=True)
    ]
    importance = what_mattered(records, SPACE)
    assert importance.reaching.too_few == "shuffled scores give importances as high"
    assert importance.variance.too_few == "the forest predicts no trial that it was not fitted to"


def test_nothing_is_known_of_no_trials() -> None:
    importance = what_mattered([], SPACE)
    assert importance.parameters == ()
    assert importance.choices == ()
    assert not importance.has_enough_trials
