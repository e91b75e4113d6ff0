"""The union space against the models: what it offers is a model, what it forbids is none."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hybrid_models.config.model import ConfigError, ModelConfig
from search.records import Completed, EpochMetrics
from search.sampling.sampler import Sampler
from search.study.settings import FROM_DATA, MODEL_SETTINGS
from spaces.domains import Choice, Domain, Float, Int
from spaces.presets import load_space
from spaces.space import Point, Space, SpaceError

UNION = load_space("union")
IMAGES = dict(zip(FROM_DATA, (3, 32, 32, 10), strict=True))
NUM_DRAWS = 10_000


def draw(space: Space, generator: random.Random) -> Point:
    def suggest(_: str, domain: Domain) -> Any:
        match domain:
            case Choice(values=values):
                return generator.choice(values)
            case Int(low=low, high=high):
                return generator.randint(low, high)
            case Float(low=low, high=high, log=log):
                return math.exp(generator.uniform(math.log(low), math.log(high))) if log else generator.random() * high
        raise AssertionError(domain)

    return space.assemble(suggest)


def fault_of(point: Mapping[str, Any]) -> str | None:
    try:
        ModelConfig.from_dict({name: value for name, value in point.items() if name in MODEL_SETTINGS} | IMAGES)
    except ConfigError as error:
        return error.faults[0]
    return None


def is_forbidden(point: Point) -> bool:
    try:
        UNION.point(point)
    except SpaceError:
        return True
    return False


@pytest.fixture(scope="module")
def hybrids() -> list[Point]:
    generator = random.Random(1)
    space = UNION.pin({"family": "hybrid"})
    return [draw(space, generator) for _ in range(NUM_DRAWS)]


def test_no_draw_is_forbidden_and_few_are_no_models(hybrids: list[Point]) -> None:
    for point in hybrids[::5]:
        assert UNION.point(point) == point
    faults = Counter(fault.partition(",")[0] for point in hybrids if (fault := fault_of(point)))
    print(f"{sum(faults.values())} of {NUM_DRAWS:,} draws are no models at 32x32: {dict(faults)}")
    assert sum(faults.values()) < 0.02 * NUM_DRAWS  # measured: 1.1 %
    assert {fault.partition(":")[0] for fault in faults} <= {"readout", "model"}  # too wide, too many parameters


def test_every_choice_is_drawn_and_none_crowds_out_the_others(hybrids: list[Point]) -> None:
    for parameter in UNION.parameters:
        name, domain = parameter.name, parameter.domain
        if isinstance(domain, Float) or name == "family":
            continue
        counts = Counter(point[name] for point in hybrids if name in point)
        assert set(counts) == set(domain.members()), name
        assert min(counts.values()) > 0.2 * sum(counts.values()) / len(counts), (name, counts)


def test_what_the_union_forbids_is_no_model() -> None:
    free = dataclasses.replace(UNION.pin({"family": "hybrid"}), forbidden=())
    generator = random.Random(2)
    points = [draw(free, generator) for _ in range(3000)]
    forbidden = [point for point in points if is_forbidden(point)]
    assert len(forbidden) > 1000
    assert [dict(point) for point in forbidden if fault_of(point) is None] == []


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_optuna_draws_points_of_the_union_and_the_same_ones_again(
    method: str, tmp_path: Path, make_epoch: Callable[..., EpochMetrics]
) -> None:
    def run(folder: str) -> list[Point]:
        options: dict[str, Any] = {"seed": 1, "startup_trials": 5}
        sampler = Sampler(space=UNION.pin({"family": "hybrid"}), method=method, why_not=fault_of, **options)
        points = []
        for index in range(12):
            asked = sampler.ask()
            assert asked is not None
            sampler.tell(asked[0], (make_epoch(1, index % 7 / 7),), Completed())
            points.append(asked[1])
        return points

    points = run("a")
    assert all(UNION.point(point) == point and fault_of(point) is None for point in points)
    assert len({point.digest for point in points}) == 12
    assert run("b") == points
