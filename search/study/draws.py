"""Check which points of a space can be trained, using random points or all points of a small space."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator

from search.errors import StudyError
from search.seeds import derive
from search.study.bind import DataFacts, describe_rejected, why_not
from search.study.config import StudyConfig
from spaces.space import Point, Space

NUM_DRAWS = 400
"""Number of random points that are checked."""
MAX_DRAWS = 20_000
"""Random points of a space among which a valid one is searched."""
SEARCH_SECS = 10.0
"""Longest search among them before a sweep, for models that take long to count."""


def random_points(study: StudyConfig, space: Space) -> Iterator[Point]:
    """Yield random points endlessly; the sequence is determined by the study's seed."""
    generator = random.Random(derive(study.seed, "plan"))  # noqa: S311
    while True:
        yield space.assemble(lambda _name, domain: domain.draw(generator))


def check_possible(study: StudyConfig, facts: DataFacts) -> None:
    """Check that at least one point of the space is a valid model; stops at the first one.

    Raises:
        StudyError: None of the random points, or none of all points of a small space, is valid.
    """
    space = study.build_space()
    is_small = space.size is not None and space.size <= NUM_DRAWS
    points = space.enumerate() if is_small else itertools.islice(random_points(study, space), MAX_DRAWS)
    rejected, until = Counter[str](), time.monotonic() + SEARCH_SECS
    for point in points:
        why = why_not(study, point, facts)
        if why is None:
            return
        rejected[why] += 1
        if not is_small and rejected.total() >= NUM_DRAWS and time.monotonic() > until:
            break
    which = f"its {space.size}" if is_small else f"{rejected.total():,} random"
    raise StudyError(
        f"space: no valid model among {which} points: {describe_rejected(rejected)}; fix fewer parameters"
        f"{', or raise the limits' if study.search.limits else ''}"
    )
