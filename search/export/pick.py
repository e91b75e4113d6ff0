"""Selects the run whose weights are exported: the study's choice, or the one that the user named."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.compare.contenders import name_of, pick_contenders
from search.errors import InputError, NothingToDoError
from search.journal.comparison import ComparedContender, ComparisonDocument
from search.journal.comparison_file import load_comparison
from search.journal.nominee import NOMINATED, choose_reported, chosen_point, comparisons_of, find_contender, state_in
from search.journal.reading import read_records
from search.journal.summary import best_first
from search.records import Infeasible, Stopped, TrialRecord
from search.significance.records import Comparison
from search.storage.working_copy import fetch
from search.study.config import StudyConfig
from search.sweep.keeping import describe_kept
from search.text.counted import counted

BY_HAND = "chosen by hand, not confirmed"


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The run that is exported, and the reason for it."""

    name: str
    point: dict[str, Any]
    record: TrialRecord
    """The run whose weights are exported."""
    records: Mapping[str, TrialRecord]
    """All trials and repeats of the study, by key."""
    document: ComparisonDocument | None
    """The newest comparison; None if there is none."""
    state: str
    """State as returned by `nominee.state_of`, or BY_HAND."""
    why: str
    """Why these weights were selected, in words."""
    is_choice: bool
    """Whether `export` takes these weights by default; False if the user named them."""
    notes: tuple[str, ...]
    """Notes on the choice, as in `nominee.Choice`."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Comparisons that include the configuration; empty if none was run."""
        return comparisons_of(self.document, self.name)

    @property
    def alias(self) -> str | None:
        """Alias in MLflow's registry: `champion` for a confirmed winner, `candidate` for a nominee, else None."""
        if not self.is_choice:
            return None
        return "candidate" if self.state == NOMINATED else "champion"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The configuration or trial to export instead of the study's choice; at most one of the two."""

    config: str | None = None
    """Name of a configuration of the comparison."""
    trial: int | None = None
    """Number of a trial of the sweep."""


def pick_winner(study: StudyConfig, wanted: Wanted | None = None) -> Winner:
    """Select the run to export: the one that `nominee.choose` returns, or the wanted one.

    A configuration of a comparison is exported with the weights of its first repeat, a rule that does not depend on any
    score. A trial is exported with its own weights, of several blocks those of the first.

    Args:
        study: The study.
        wanted: A configuration or trial to export instead of the study's choice.

    Raises:
        NothingToDoError: Nothing was trained yet, or the weights were deleted.
        InputError: There is no configuration or trial of that name.
    """
    wanted = wanted or Wanted()
    records = read_records(study.folder)
    trials = [record for record in records.values() if record.kind == "trial"]
    document = load_comparison(study.folder)
    choice, chosen = choose_reported(trials, document), chosen_point(trials, document)
    if wanted.trial is not None:
        record = _trial_of(study, trials, wanted.trial)
        contender = find_contender(document, record.point)
    else:
        if choice is None and wanted.config is None:
            raise NothingToDoError(f"{study.folder}: no completed trial to export; run `hybrid-search sweep` first")
        if wanted.config is not None:
            contender = _contender_of(document, wanted.config)
        else:
            assert chosen is not None
            contender = find_contender(document, chosen)
        number = choice.trial if choice is not None else None
        record = _first_repeat(contender, records) if contender else _trial_of(study, trials, number)
    point = dict(record.point)
    name = contender.name if contender else record.label
    state = state_in(document, name)
    is_chosen_point = chosen == point
    is_choice = is_chosen_point and (contender is None or record.kind == "repeat")
    if record.kind == "repeat":
        why = "the first repeat; not selected by score"
    else:
        runs = len(record.blocks)
        which = "one run" if runs == 1 else f"the first of {runs} runs, not selected by score"
        why = f"the sweep's nominee: {which}" if is_choice else f"trial {record.number} of the sweep: {which}"
    return Winner(
        name=name,
        point=point,
        record=record,
        records=records,
        document=document,
        state=BY_HAND if state == NOMINATED and not is_chosen_point else state,
        why=why,
        is_choice=is_choice,
        notes=choice.notes if choice is not None and is_chosen_point else (),
    )


def _contender_of(document: ComparisonDocument | None, name: str) -> ComparedContender:
    if document is None:
        raise InputError(
            f"--config {name}: there is no comparison yet; run `hybrid-search compare` first, or use --trial"
        )
    known = {item.name: item for item in document.contenders}
    if name not in known:
        raise InputError(f"--config {name}: not in the comparison; known: {', '.join(known)}")
    return known[name]


def _first_repeat(contender: ComparedContender, records: Mapping[str, TrialRecord]) -> TrialRecord:
    for run in contender.repeats:
        if run.state == "completed" and run.key in records:
            return records[run.key]
    raise NothingToDoError(f"{contender.name}: no completed repeat with weights; run `hybrid-search compare` again")


def _trial_of(study: StudyConfig, trials: Sequence[TrialRecord], number: int | None) -> TrialRecord:
    record = next((record for record in trials if record.number == number), None)
    if record is None:
        raise InputError(
            f"--trial {number}: expected a trial of the sweep, which has {counted(len(trials), 'trial')}; see "
            "`hybrid-search status`"
        )
    if isinstance(record.outcome, Infeasible):
        raise NothingToDoError(
            f"{study.folder}: trial {record.number} is infeasible and has no weights: {record.outcome.reason}"
        )
    if "weights-0" not in record.artifacts:
        outcome = record.outcome.word if record.outcome else "not finished"
        way = "; `hybrid-search compare` trains it to the end" if isinstance(record.outcome, Stopped) else ""
        raise NothingToDoError(f"{study.folder}: trial {record.number} was {outcome} and has no weights{way}")
    return record


def way_to_weights(study: StudyConfig, winner: Winner) -> str:
    """Return how to get weights of a trial whose own were deleted: a comparison trains its point again."""
    point = dict(winner.point)
    try:
        contenders = pick_contenders(study, list(winner.records.values()))
    except NothingToDoError:
        contenders = []
    name = next((item.name for item in contenders if item.point == point), None)
    given = ""
    if name is None:
        name = name_of(study, point)
        value = json.dumps([*study.compare.baselines, point])
        given = f" --set {shlex.quote(f'compare.baselines={value}')}"
    folder = shlex.quote(str(study.location))
    return (
        f"train its point again: `hybrid-search compare {folder}{given}`, then `hybrid-search export {folder} --config "
        f"{shlex.quote(name)} --to FOLDER`"
    )


def pick_top(study: StudyConfig, count: int) -> list[Wanted]:
    """Return the trials of the sweep with the highest validation accuracy, best first.

    Args:
        study: The study.
        count: Number of trials.

    Raises:
        InputError: The sweep has fewer trials, or did not keep their weights.
    """
    records = [record for record in read_records(study.folder).values() if record.kind == "trial"]
    ranked = best_first(records)
    if not 1 <= count <= len(ranked):
        raise InputError(f"--top {count}: expected 1 to {len(ranked)}, the completed trials of the sweep")
    for place, record in enumerate(ranked[:count]):
        if fetch(study.location, record.artifacts.get("weights-0", "gone")) is None:
            take = f"; use --top {place}" if place else ""
            raise InputError(
                f"--top {count}: the weights of trial {record.number} were deleted; {describe_kept(study)}{take}"
            )
    return [Wanted(trial=record.number) for record in ranked[:count]]
