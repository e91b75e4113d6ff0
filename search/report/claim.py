"""The comparison that would turn a parameter's importance into a claim, as a command."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from search.journal.importance import Importance
from search.journal.reading import read_history
from search.journal.summary import nominee
from search.records import Failed, Infeasible
from search.study.bind import DataFacts, facts_in, why_not
from search.study.config import StudyConfig
from search.study.own_model import is_built_in
from search.study.settings import setting_faults
from spaces.domains import show
from spaces.errors import SpaceError
from spaces.space import Space


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A configuration to compare the sweep's nominee with."""

    parameter: str
    """The parameter that the comparison is about."""
    value: str
    """Its value in the rival, in words."""
    ours: str
    """Its value in the nominee, in words."""
    trial: int | None
    """Number of the rival's trial; None if the rival is the nominee with only this parameter changed."""
    point: dict[str, Any]
    """Its free parameters."""

    @property
    def words(self) -> str:
        """What is compared, as part of a sentence."""
        ours, theirs = f"{self.parameter} {self.ours}", f"{self.parameter} {self.value}"
        if self.trial is None:
            return f"compare the nominee ({ours}) with the same model at {theirs}"
        return f"compare the nominee ({ours}) with trial {self.trial}, the best with {theirs}, which differs in more"


def find_rival(importance: Importance, study: StudyConfig) -> Rival | None:
    """Return the nominee's rival: the best trial with another value of the most important parameter.

    If the nominee with only this value changed is a point of the space and a valid model within the study's limits, it
    is the rival. Of a number, another value is one in the other half of its range.

    Args:
        importance: What mattered.
        study: The study.

    Returns:
        The rival; None if no trial has another value of any parameter.
    """
    trials, space, facts = importance.trials, study.build_space(), facts_in(read_history(study.folder))
    best = nominee(trials.records)
    if best is None:
        return None
    place = next(index for index, record in enumerate(trials.records) if record.key == best.key)
    by_name = {factor.name: factor for factor in trials.factors}
    for name in importance.parameters:
        factor = by_name[name]
        side = (factor.positions > 0.5).astype(float) if factor.is_ordered else factor.positions
        is_other = factor.is_active & factor.is_active[place] & (side != side[place])
        for index in is_other.nonzero()[0]:
            record = trials.records[index]
            if isinstance(record.outcome, Failed | Infeasible):
                continue
            changed = {**_free(best.point, space.free), name: record.point[name]}
            is_alone = _is_valid(changed, study, space, facts)
            return Rival(
                parameter=name,
                value=show(record.point[name]),
                ours=show(best.point[name]),
                trial=None if is_alone else record.number,
                point=changed if is_alone else _free(record.point, space.free),
            )
    return None


def _is_valid(free: dict[str, Any], study: StudyConfig, space: Space, facts: DataFacts | None) -> bool:
    """Return whether a point could be trained; without the facts about the data that is not known, so it is not."""
    try:
        point = space.point(free)
    except SpaceError:
        return False
    if not is_built_in(study, point):
        return False  # to count its model would run the user's code, and a page only looks
    return facts is not None and not any(setting_faults("point", dict(point))) and not why_not(study, point, facts)


def _free(point: Any, free: tuple[str, ...]) -> dict[str, Any]:  # noqa: ANN401
    return {name: point[name] for name in free if name in point}


def command_lines(rival: Rival, study: StudyConfig) -> list[str]:
    """Return the command that compares the nominee with its rival, and with nothing else, in lines of 80 columns.

    A shell reads the lines as one command.
    """
    return list(_command(rival, study))


def _command(rival: Rival, study: StudyConfig) -> Iterator[str]:
    import yaml

    yield f"hybrid-search compare {shlex.quote(str(study.location))} \\"
    if study.compare.finalists != 1:
        yield "  --set compare.finalists=1 \\"
    if study.compare.family != "baselines":
        yield "  --set compare.family=baselines \\"
    pairs = ", ".join(f"{name}: {yaml.safe_dump(value).splitlines()[0]}" for name, value in rival.point.items())
    whole = shlex.quote(f"compare.baselines=[{{{pairs}}}]")
    yield from textwrap.wrap(
        whole,
        76,
        initial_indent="  --set ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
