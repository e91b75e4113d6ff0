"""What a plan says before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from search.commands.plan import NUM_DRAWS, make_plan, to_dict, to_lines
from search.compare.power import Assumptions
from search.study.config import StudyConfig

MakeStudy = Callable[..., StudyConfig]


def text_of(plan: object, **changes: object) -> str:
    return "\n".join(to_lines(dataclasses.replace(plan, **changes)))  # type: ignore[type-var]


def test_small_costs_and_single_things_read_well(make_study: MakeStudy) -> None:
    plan = make_plan(make_study("train.epochs=1", "search.trials=1"))
    text = text_of(plan, secs_per_epoch=(0.0123, 0.2, 1234.5), sweep_hours=(0.001, 0.05), compare_hours=12.34)
    assert "1 trial of up to 1 epoch: 3.6 core-seconds to 3.0 core-minutes" in text
    assert "epoch       0.012 s to 1,234 s (median 0.2 s)" in text
    assert "compare     12.3 core-hours" in text
    assert "2 trials of up to 3 epochs" in text_of(plan, trials=2, epochs=3)
    assert plan.rejected == {}
    assert "disk  " not in text
    assert "disk        up to 2.0 GiB for the checkpoints of waiting trials" in text_of(plan, waiting_gib=2.0)
    assert "disk        up to 512 MiB for" in text_of(plan, waiting_gib=0.5)
    pausing = make_plan(make_study("train.epochs=4", "search.trials=100", "search.scheduler=asha-promote"))
    small, _, large = pausing.parameters
    assert 100 * 12 * small <= 2**30 * pausing.waiting_gib <= 100 * 12 * large
    assert f"of {NUM_DRAWS} random points: no draw rejected" in text


def test_blocks_multiply_the_cost_and_the_memory_of_the_sweep_alone(make_study: MakeStudy) -> None:
    one, three = (make_plan(make_study(f"search.blocks={blocks}", "search.trials=2")) for blocks in (1, 3))
    assert three.memory_gib == 3 * one.memory_gib
    for plan, trainings in ((one, 2), (three, 6)):
        median = plan.secs_per_epoch[1]
        assert plan.sweep_hours == pytest.approx((trainings * median / 3600, trainings * 3 * median / 3600))
        assert plan.compare_hours == pytest.approx(10 * 3 * median / 3600)
    assert "2 trials of up to 3 epochs on 3 blocks each: " in text_of(three)
    assert "2 trials of up to 3 epochs: " in text_of(one)


def test_what_is_declared_is_told_and_what_it_cannot_do(make_study: MakeStudy) -> None:
    study = make_study("train.epochs=2", "compare.baselines=[ecrnn/cnn]")
    plan = make_plan(study)
    text = text_of(plan)
    assert "claims      1 comparison, about new data of this kind; holm, family-wise error rate 0.05" in text
    assert plan.warnings == ()
    few = make_study("train.epochs=1", "compare.baselines=[ecrnn/cnn]", "compare.repeats=2")
    assert any("compare.repeats: 2 cannot lead to a verdict" in line for line in make_plan(few).warnings)


def test_what_the_repeats_can_find_is_told(make_study: MakeStudy) -> None:
    study = make_study("train.epochs=1", "compare.baselines=[ecrnn/cnn]")
    plan = make_plan(study, Assumptions(difference=0.2))
    lines = to_lines(plan)
    first = next(place for place, line in enumerate(lines) if line.startswith("repeats     "))
    assert "would detect a difference of 20 pp" in lines[first]
    assert all(line.startswith(" " * 12) for line in lines[first + 1 :])
    assert to_dict(plan)["foresight"]["components"]["images"] > 0


def test_draws_that_are_no_models_are_counted_by_reason(make_study: MakeStudy) -> None:
    # On 8x8 digits the union is cut down hard: tsn's strips and most poolings have no room.
    study = make_study(space="union", fix={"batch": 16, "wavelet": "none", "enc_on": False, "nodes": 8, "rnn": "gru"})
    plan = make_plan(study)
    assert plan.rejected["family: tsn expects images of at least 16x8"] > 50
    assert any(why.startswith("patch: expected a divisor") for why in plan.rejected)
    assert sum(plan.rejected.values()) < plan.num_drawn == NUM_DRAWS
    assert plan.num_sampled == 40
    assert f"of {NUM_DRAWS} random points: {sum(plan.rejected.values())} draws rejected (" in "\n".join(to_lines(plan))
    assert to_dict(plan)["rejected"] == plan.rejected
    assert make_plan(study).rejected == plan.rejected
