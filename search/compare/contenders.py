"""The configurations that take part in a comparison, and the declared pairs among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.errors import NothingToDoError
from search.journal.budgets import sweep_end
from search.journal.commands import num_planned
from search.journal.fronts import choose_from_front
from search.journal.summary import nominees
from search.records import TrialRecord, digest_of
from search.study.bind import check_baselines, complete_point
from search.study.claims import Family, declare, families_of
from search.study.config import StudyConfig
from search.study.section import PointLike
from search.sweep.names import describe_in
from search.text.counted import counted

Point = dict[str, bool | int | float | str]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One configuration of a comparison."""

    name: str
    point: Point
    trial: TrialRecord | None
    """The sweep's trial that nominated it; None for a baseline."""
    sweep_rank: int | None
    """Rank among the sweep's nominees, from 1; None for a baseline that the sweep did not find."""

    @property
    def is_finalist(self) -> bool:
        """Whether the sweep nominated this configuration."""
        return self.trial is not None


def pick_contenders(study: StudyConfig, records: Sequence[TrialRecord]) -> list[Contender]:
    """Return the sweep's best points, followed by the declared baselines.

    A nominee that is also a baseline is listed once, as a baseline.

    Args:
        study: The study.
        records: All records of the study; only those of trials are used.

    Returns:
        At least two contenders, at least one of them a finalist; finalists in the order that `compare.choose` gives.

    Raises:
        NothingToDoError: The sweep has no nominee yet, or there is nothing to compare it with.
    """
    ranked = nominees([record for record in records if record.kind == "trial"])
    points = [dict(record.point) for record in ranked]
    baselines = []
    for like in study.compare.baselines:
        point = complete_point(study, like)
        rank = points.index(point) + 1 if point in points else None
        baselines.append(Contender(name=name_of(study, like), point=point, trial=None, sweep_rank=rank))
    check_baselines(study)
    taken = [contender.point for contender in baselines]
    finalists: list[Contender] = []
    for record in choose_from_front(ranked, study.search.objectives, study.compare.choose):
        point = dict(record.point)
        if point not in taken and len(finalists) < study.compare.finalists:
            name = f"{describe_in(study, point)} (trial {record.number})"
            finalists.append(Contender(name=name, point=point, trial=record, sweep_rank=points.index(point) + 1))
            taken.append(point)
    if not finalists:
        raise NothingToDoError(
            f"{study.folder}: no completed trial to compare with the baselines; run `hybrid-search sweep` first, or "
            "extend it with `hybrid-search extend`"
        )
    if len(finalists) + len(baselines) < 2:
        raise NothingToDoError(
            "compare: one finalist and no other configuration to compare it with; set compare.baselines"
        )
    return [*finalists, *baselines]


def unfinished_sweep(
    study: StudyConfig, records: Sequence[TrialRecord], marks: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a line if the sweep has fewer trials than planned, so that its nominee may still change."""
    if sweep_end(marks := tuple(marks), study.search.budgets):
        return
    trials = [record for record in records if record.kind == "trial"]
    num_over, size = sum(record.outcome is not None for record in trials), study.build_space().size
    planned = num_planned(study.search.trials, marks)
    source = "search.trials" if planned == study.search.trials else "extended"
    if trials and num_over < min(planned, size or planned):
        yield f"the sweep has {num_over} of {counted(planned, 'trial')} ({source}); a later one may change the nominee"


def name_of(study: StudyConfig, like: PointLike) -> str:
    """Return the name of a baseline in comparisons."""
    return like if isinstance(like, str) else f"{describe_in(study, like)} ({digest_of(like)[:4]})"


def declare_families(study: StudyConfig, contenders: Sequence[Contender]) -> tuple[Family, ...]:
    """Return the comparisons that the study declares, with the contenders' names filled in.

    Args:
        study: The study.
        contenders: As returned by `pick_contenders`.

    Raises:
        NothingToDoError: A declared family names a finalist that the sweep has not nominated.
    """
    finalists = [contender.name for contender in contenders if contender.is_finalist]
    baselines = [contender.name for contender in contenders if not contender.is_finalist]
    families = families_of(study.compare)
    missing = {f"finalist-{place}" for place in range(len(finalists) + 1, study.compare.finalists + 1)}
    if isinstance(study.compare.family, dict):
        for family in families:
            if wanted := sorted({name for pair in family.pairs for name in pair} & missing):
                raise NothingToDoError(
                    f"compare.family.{family.name}: {wanted[0]} is declared, but the sweep has nominated only "
                    f"{len(finalists)} so far; extend it with `hybrid-search extend`, or declare the family without it"
                )
    return declare(study.compare, finalists=finalists, baselines=baselines)
