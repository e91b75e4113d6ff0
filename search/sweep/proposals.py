"""Make the sampler of a study in the state of its journal."""

from __future__ import annotations

from collections.abc import Callable

from search.errors import StudyError
from search.journal.commands import answers_in
from search.journal.earlier import Earlier
from search.journal.journal import Journal
from search.sampling.sampler import Sampler
from search.study.bind import DataFacts, complete_point, why_not
from search.study.config import StudyConfig
from search.study.section import top_of
from search.uris import redacted
from spaces.space import SpaceError


def make_sampler(
    study: StudyConfig,
    facts: DataFacts,
    journal: Journal,
    earlier: Earlier | None = None,
    print_line: Callable[[str], None] = lambda _: None,
) -> Sampler:
    """Return the sampler of a study in the state of its journal.

    The points that commands added in earlier starts are enqueued again; it ignores those proposed since.

    Args:
        study: The study.
        facts: Facts about its data.
        journal: Its open journal, which records the sampler's draws.
        earlier: What the sweep takes from earlier studies; None for nothing.
        print_line: Receives lines for the user.

    Raises:
        StudyError: An enqueued preset is not a point of the search space.
    """
    space, earlier = study.build_space(), earlier or Earlier()
    first = []
    for position, like in enumerate(study.search.enqueue):
        try:
            if top_of(like):
                first += [space.point(item.point) for item in earlier.points_of(redacted(str(like)))]
            else:
                first.append(space.point(complete_point(study, like)))
        except SpaceError as error:
            raise StudyError(*(f"search.enqueue.{position} ({like}): {fault}" for fault in error.faults)) from None
    sampler = Sampler(
        space=space,
        seed=study.seed,
        method=study.search.sampler,
        startup_trials=study.search.startup_trials,
        arguments=study.search.sampler_args,
        objectives=study.search.objectives,
        limits=study.search.limits,
        keep=study.train.keep,
        rungs=study.search.rungs(study.train.epochs),
        has_pauses=study.search.scheduler == "asha-promote",
        first=first,
        why_not=lambda point: why_not(study, point, facts),
        earlier=earlier.trials,
        records={record.key: record for record in journal.of_kind("trial")},
        draws=journal.draws,
        note=journal.draw,
    )
    for event in answers_in(journal.marks):
        if event["verb"] == "enqueue" and event["done"]:
            try:
                sampler.enqueue(space.point(event["point"]))
            except SpaceError as error:  # without trials, the space may have changed
                print_line(f"{study.name}: an enqueued point is left out: {error.faults[0]}")
    return sampler
