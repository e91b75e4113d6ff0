"""Decide what a sweep takes from earlier studies: `search.learn_from`, and `top-5 of STUDY` in `search.enqueue`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from search.errors import StudyError
from search.journal.earlier import Earlier, EarlierPoint, EarlierTrial, Enqueued, LearnedStudy, earlier_in
from search.journal.events import MAX_LINE_BYTES
from search.journal.measures import measured
from search.journal.summary import nominees
from search.records import Completed, Failed, Outcome, Stopped, TrialRecord, canonical, digest_of, scores_by_epoch
from search.seeds import make_block
from search.study.bind import DataFacts, bind, why_not
from search.study.config import EarlierStudy, StudyConfig
from search.study.earlier_study import Opened, open_earlier, other_recipe, settings_of, to_point
from search.study.goals import count, over_cost
from search.study.samplers import method_of
from search.study.section import top_of
from search.uris import redacted, without_secrets
from spaces.space import Point, SpaceError

FEWEST = {"cmaes": 10}
"""Sampler -> number of earlier trials below which it cannot learn from them; cmaes starts from the best tenth."""


def asked_of(study: StudyConfig, facts: DataFacts) -> str:
    """Return what a study asks of earlier studies, with all that the answer depends on; empty if it asks nothing."""
    search = study.search
    tops = [like for like in search.enqueue if top_of(like)]
    studies = [entry.model_dump(mode="json") for entry in learned_from(study)]
    if not studies and not tops:
        return ""
    here = [study.build_space().digest, settings_of(study), dict(search.objectives), dict(search.limits), facts.key]
    return canonical(without_secrets({"learn_from": studies, "enqueue": tops, "study": digest_of(here)}))


def learned_from(study: StudyConfig) -> tuple[EarlierStudy, ...]:
    """Return `search.learn_from`, or nothing if the sampler does not learn."""
    return study.search.learn_from if method_of(study.search.sampler).learns else ()


def take_earlier(
    study: StudyConfig,
    facts: DataFacts,
    *,
    marks: Iterable[Mapping[str, Any]],
    allow_other: bool = False,
    has_trials: bool = False,
) -> tuple[Earlier, bool]:
    """Return what the sweep takes from earlier studies.

    Args:
        study: The study.
        facts: Facts about its data.
        marks: Events of its journal. If they have what is asked for, the earlier studies are not read.
        allow_other: Whether trials on other data or with another recipe are used.
        has_trials: Whether the study has trials, so that what it took from earlier studies is fixed.

    Returns:
        What the sweep takes, and whether it was read from the earlier studies now and must be written to the journal.

    Raises:
        StudyError: An earlier study cannot be used.
    """
    asked = asked_of(study, facts)
    known = earlier_in(marks) or Earlier()
    if known.asked == asked or (known.asked and has_trials):
        return known, False
    if not asked:
        return Earlier(), True
    return _read(study, facts, allow_other=allow_other), True


def _read(study: StudyConfig, facts: DataFacts, *, allow_other: bool) -> Earlier:
    faults: list[str] = []
    studies, trials, enqueued = [], [], []
    for position, entry in enumerate(learned_from(study)):
        try:
            opened = open_earlier(study, entry, f"search.learn_from.{position}")
            learned, used = _learn(study, facts, opened, allow_other=allow_other)
        except StudyError as error:
            faults += error.faults
        else:
            studies.append(learned)
            trials += used
    for position, like in enumerate(study.search.enqueue):
        if isinstance(like, str) and (top := top_of(like)):
            try:
                enqueued.append(_take_top(study, facts, like, *top, f"search.enqueue.{position}"))
            except StudyError as error:
                faults += error.faults
    fewest = FEWEST.get(study.search.sampler, 1)
    if not faults and studies and len(trials) < fewest:
        faults.append(
            f"search.learn_from: {study.search.sampler} needs at least {fewest} trials of earlier studies, found "
            f"{len(trials)}; remove search.learn_from, or set search.sampler to tpe"
        )
    if faults:
        raise StudyError(*faults)
    found = Earlier(
        asked=asked_of(study, facts), studies=tuple(studies), trials=tuple(trials), enqueued=tuple(enqueued)
    )
    if len(canonical(found.to_fields())) > MAX_LINE_BYTES - 1000:
        raise StudyError(
            f"search.learn_from: expected at most {MAX_LINE_BYTES >> 20} MiB of earlier trials in the journal, found "
            f"{len(trials):,} trials with more; name fewer studies"
        )
    return found


def _learn(
    study: StudyConfig, facts: DataFacts, earlier: Opened, *, allow_other: bool
) -> tuple[LearnedStudy, list[EarlierTrial]]:
    others = list(other_recipe(study, earlier, facts.key))
    if others and not allow_other:
        raise StudyError(
            f"{earlier.where}: expected the data and the recipe of this study, found another one in {earlier.name}: "
            f"{', '.join(others)}; remove it, or use it all the same with --allow-other"
        )
    used: list[EarlierTrial] = []
    left_out = Counter[str]()
    for record in earlier.records:
        found = _trial(study, facts, earlier, record)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            used.append(found)
    learned = LearnedStudy(
        study=earlier.name,
        journal=earlier.journal,
        num_trials=len(earlier.records),
        num_used=len(used),
        left_out=dict(left_out),
        other=", ".join(others),
    )
    if not used:
        raise StudyError(f"{earlier.where}: expected trials that can be used, found {learned.words}; remove it")
    return learned, used


def _trial(study: StudyConfig, facts: DataFacts, earlier: Opened, record: TrialRecord) -> EarlierTrial | str:
    """Return an earlier trial in the parameters of this study, or why it is left out."""
    search = study.search
    if record.outcome is None:
        return "unfinished"
    if isinstance(record.outcome, Failed):
        return "failed"
    try:
        point = _valid_point(study, facts, earlier, record)
    except SpaceError as error:
        return error.faults[0]
    # An earlier version may not have recorded the counts.
    counts = count(bind(study, point, facts, (make_block(study.seed, "sweep", 0),)).model)
    values = {name: measured(name, record.curve, counts, study.train.keep) for name in search.objectives}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        return f"{missing[0]}: not measured"
    outcome: Outcome = Stopped(epoch=len(record.curve))
    if infeasible := over_cost(record.curve, search.limits):
        outcome = infeasible
    elif isinstance(record.outcome, Completed):
        outcome = Completed()
    free = study.build_space().free
    return EarlierTrial(
        study=earlier.name,
        number=record.number,
        point={name: point[name] for name in free if name in point},
        outcome=outcome,
        values=tuple(float(value) for value in values.values() if value is not None),
        curve=scores_by_epoch(record.curve, study.train.keep),
    )


def _valid_point(study: StudyConfig, facts: DataFacts, earlier: Opened, record: TrialRecord) -> Point:
    point = to_point(study, earlier, record)
    if why := why_not(study, point, facts):
        raise SpaceError(why)
    return point


def _take_top(study: StudyConfig, facts: DataFacts, like: str, number: int, path: str, where: str) -> Enqueued:
    """Return the best points of an earlier study, whatever its data and recipe."""
    named = EarlierStudy(study=path)
    same = (entry for entry in study.search.learn_from if entry.study == named.study)
    earlier = open_earlier(study, next(same, named), where)
    points: list[EarlierPoint] = []
    left_out = Counter[str]()
    for record in nominees(earlier.records)[:number]:
        try:
            point = _valid_point(study, facts, earlier, record)
        except SpaceError as error:
            left_out[error.faults[0]] += 1
        else:
            points.append(EarlierPoint(study=earlier.name, number=record.number, point=dict(point)))
    if not points:
        found = Enqueued(top=redacted(like), points=(), left_out=dict(left_out)).words
        raise StudyError(f"{where}: expected points that can be used, found none; {found}; remove it")
    return Enqueued(top=redacted(like), points=tuple(points), left_out=dict(left_out))
