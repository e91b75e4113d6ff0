"""Which points of a study's space can be trained, and why the others cannot: random ones, or all of a small space."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from search.errors import StudyError
from search.seeds import derive
from search.study.bind import DataFacts, tell_rejected, why_not
from search.study.config import StudyConfig
from spaces.domains import Choice, Domain, Fixed, Float, Int
from spaces.space import Point, Space

NUM_DRAWS = 400
"""Random draws that show how many points of the space are no models."""


def random_points(study: StudyConfig, space: Space) -> Iterator[Point]:
    """Draw points without end; the same study draws the same ones."""
    generator = random.Random(derive(study.seed, "plan"))  # noqa: S311
    while True:
        yield space.assemble(lambda _name, domain: _draw(domain, generator))


def check_possible(study: StudyConfig, facts: DataFacts) -> None:
    """Check that some point of the space is a model: stops at the first one.

    Raises:
        StudyError: None of many random points is, or, of a small space, none at all.
    """
    space = study.build_space()
    is_small = space.size is not None and space.size <= NUM_DRAWS
    points = space.enumerate() if is_small else itertools.islice(random_points(study, space), NUM_DRAWS)
    rejected = Counter[str]()
    for point in points:
        why = why_not(study, point, facts)
        if why is None:
            return
        rejected[why] += 1
    which = f"its {space.size}" if is_small else f"{NUM_DRAWS} random"
    raise StudyError(f"space: no model among {which} points: {tell_rejected(rejected)}; loosen fix")


def _draw(domain: Domain, generator: random.Random) -> Any:  # noqa: ANN401
    match domain:
        case Choice(values=values):
            return generator.choice(values)
        case Int(low=low, high=high, step=step):
            return generator.randrange(low, high + 1, step)
        case Float(low=low, high=high, log=True):
            return math.exp(generator.uniform(math.log(low), math.log(high)))
        case Float(low=low, high=high):
            return generator.uniform(low, high)
        case Fixed(value=value):
            return value
