"""Drives a study: lock, runner, tracker and display around a sweep or a comparison."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from search.bind import DataFacts, check_points, check_race, check_sweep, load_facts, tell_rejected
from search.claims import too_few_repeats
from search.compare import Repeats, judge_repeats
from search.comparison_files import FOLDER, write_results
from search.contenders import Contender, declare_families, pick_contenders
from search.errors import InterruptedStudyError, StudyChangedError, TooManyFailuresError
from search.interruption import interruptible
from search.nodes import needs_of
from search.progress import Display, counter
from search.reconcile import mended_in_words
from search.records import Failed, TrialRecord
from search.rounds import Rounds, news, race_title, still_in
from search.status import Status, summarise
from search.storage.copies import copy_of
from search.study import ResourcesSection, StudyConfig, check_folder, claim_folder, make_folder
from search.sweep import Sweep
from search.tracking.journal import FILE_NAME, Journal, read_events
from search.tracking.mirror_process import TrackerProcess
from search.tracking.mlflow_client import check_uri, default_uri
from search.uris import redacted
from search.versions import git_revision, versions
from search.work import Work

TRACKER_PATIENCE_SECS = 120.0
"""At the end the command waits this long for MLflow to take the rest; what is left then is sent next time."""
INTERRUPTED_PATIENCE_SECS = 5.0
"""The same for a command that was told to end: whoever told it may kill it soon."""


@interruptible()
def run_sweep(study: StudyConfig, *, patience: float = TRACKER_PATIENCE_SECS) -> Status:
    """Run or resume the sweep of a study.

    Raises:
        HybridSearchError: Whatever keeps it from running; what was computed is saved.
    """
    check_folder(study)
    facts = load_facts(study, on_progress=counter("decoding images"))
    check_sweep(study, facts)
    with _runner(study, facts) as run, _session(study, facts, "sweep", patience) as journal:
        shown = _Shown()
        sweep = Sweep(study=study, facts=facts, journal=journal, on_change=lambda: shown.update(), say=say)
        if sweep.mended:
            say(f"{study.name}: Optuna's study {mended_in_words(sweep.mended, 'trial')}")
        with Display(
            title=study.name, noun="trials", num_planned=study.search.trials, records=lambda: sweep.records
        ) as display:
            shown.update = display.update
            if not sweep.finished:
                run(sweep)
        if sweep.rejected:
            say(f"{study.name}: {tell_rejected(sweep.rejected)} before training")
        if sweep.space_exhausted:
            say(f"{study.name}: the space has no further points; search.trials is {study.search.trials}")
        if not sweep.finished and sweep.out_of_time:
            say(f"{study.name}: the time budget is used up; the same command goes on")
        sweep.check_failures()
        return summarise(sweep.records, study.search.trials)


def run_compare(study: StudyConfig, *, patience: float = TRACKER_PATIENCE_SECS) -> dict[str, Any]:
    """Train what is missing of the comparison, judge it, write it down.

    Returns:
        The document that comparison.json holds.
    """
    _tell(study, too_few_repeats(study.compare, study.compare.repeats))
    return run_repeats(
        study,
        pick=lambda records: pick_contenders(study, records),
        conclude=lambda facts, repeats, journal: write_results(
            study, facts, repeats, judge_repeats(study, facts, repeats), journal
        ),
        title=f"{study.name}: compare",
        patience=patience,
    )


@interruptible()
def run_until_decided(study: StudyConfig, *, patience: float = TRACKER_PATIENCE_SECS) -> dict[str, Any]:
    """Race the contenders block by block, confirm the survivor on fresh blocks, judge that, write it down.

    The race looks at validation accuracies, the confirmation at the test set.

    Returns:
        The document that comparison.json holds; its verdicts are those of the fresh blocks.

    Raises:
        HybridSearchError: Whatever keeps it from running; what was computed is saved.
    """
    check_race(study)
    check_folder(study)
    facts = load_facts(study, on_progress=counter("decoding images"))
    check_points(study, facts, num_confirm=study.compare.num_confirm)
    _tell(study, too_few_repeats(study.compare, study.compare.num_confirm, where="compare.confirm"))
    with _runner(study, facts) as run, _session(study, facts, "compare", patience) as journal:
        contenders = pick_contenders(study, list(journal.records.values()))
        rounds = Rounds(
            study=study,
            facts=facts,
            journal=journal,
            contenders=contenders,
            families=declare_families(study, contenders),
        )
        _tell(study, rounds.warnings)
        rounds.begin()
        race = rounds.race()
        _tell(study, still_in(race))
        while race.running:
            repeats = _train(run, partial(rounds.next_round, race), title=partial(race_title, study, race))
            rounds.check(repeats)
            before, race = race, rounds.race()
            _tell(study, news(before, race))
        survivor = rounds.survivor(race)
        title = f"{study.name}: confirm {survivor} on fresh blocks"
        confirmed = _train(run, partial(rounds.confirmation, survivor), title=lambda _: title)
        families = rounds.claims(survivor)
        document = write_results(
            study,
            facts,
            confirmed,
            judge_repeats(study, facts, confirmed, families),
            journal,
            families=families,
            race=rounds.to_dict(race, survivor),
        )
        _check_repeats(study, confirmed.wanted_records)
        return document


def _tell(study: StudyConfig, lines: Sequence[str]) -> None:
    for line in lines:
        say(f"{study.name}: {line}")


def _train(
    run: Callable[[Work], None], make: Callable[[Callable[[], None]], Repeats], *, title: Callable[[Repeats], str]
) -> Repeats:
    """Carry out what is missing of some repeats, and show how it goes."""
    shown = _Shown()
    repeats = make(lambda: shown.update())
    with Display(
        title=title(repeats), noun="repeats", num_planned=repeats.num_planned, records=lambda: repeats.wanted_records
    ) as display:
        shown.update = display.update
        run(repeats)
    repeats.settle()
    return repeats


@interruptible()
def run_repeats(
    study: StudyConfig,
    *,
    pick: Callable[[list[TrialRecord]], Sequence[Contender]],
    conclude: Callable[[DataFacts, Repeats, Journal], dict[str, Any]],
    title: str,
    patience: float = TRACKER_PATIENCE_SECS,
) -> dict[str, Any]:
    """Train what is missing of some points on `study.compare.repeats` shared blocks, and conclude.

    Args:
        study: The study that records it.
        pick: From the records so far to what is trained.
        conclude: Writes down what came of it, as a document.
        title: Shown while it runs.
        patience: Seconds that MLflow is given at the end.

    Returns:
        The document.
    """
    check_folder(study)
    facts = load_facts(study, on_progress=counter("decoding images"))
    check_points(study, facts)
    with _runner(study, facts) as run, _session(study, facts, "compare", patience) as journal:
        contenders = pick(list(journal.records.values()))

        def make(on_change: Callable[[], None]) -> Repeats:
            return Repeats(
                study=study,
                facts=facts,
                journal=journal,
                contenders=contenders,
                num_blocks=study.compare.repeats,
                on_change=on_change,
            )

        repeats = _train(run, make, title=lambda _: title)
        document = conclude(facts, repeats, journal)
        _check_repeats(study, repeats.wanted_records)
        return document


def _check_repeats(study: StudyConfig, records: list[TrialRecord]) -> None:
    failed = [record for record in records if isinstance(record.outcome, Failed)]
    if len(failed) > study.search.max_failed_fraction * len(records):
        raise TooManyFailuresError(
            f"{len(failed)} of {len(records)} repeats failed:",
            *(f"  {record.label}: {record.outcome.reason}" for record in failed if isinstance(record.outcome, Failed)),
        )


def _refuse_other_data(folder: Path, facts: DataFacts) -> None:
    known = [event["data"]["digest"] for event in read_events(folder / FILE_NAME) if event["event"] == "session"]
    if known and known[-1] != facts.key:
        raise StudyChangedError(
            f"{folder}: the study began on data {known[-1]} and finds {facts.key} now; put the files back, or give the "
            "study another name"
        )


@dataclasses.dataclass
class _Shown:
    """Where changes go; the display exists only after the work does."""

    update: Callable[[], None] = lambda: None


@contextlib.contextmanager
def _runner(study: StudyConfig, facts: DataFacts) -> Iterator[Callable[[Work], None]]:
    """Open the runner that the study asks for; SIGTERM and Ctrl-C interrupt the work that it carries out."""
    resources: ResourcesSection = study.resources
    with interruptible() as interruption:
        if resources.runner == "inline":
            from search.runners import inline

            inline.pick_device(resources.gpus)
            yield lambda work: interruption.carry_out(work, inline.run, resources)
            return
        from search.runners import ray_tune

        needs = needs_of(study, facts)
        with ray_tune.cluster(resources) as there:
            yield lambda work: interruption.carry_out(work, lambda work, _: ray_tune.run(work, there, needs), resources)


@contextlib.contextmanager
def _session(study: StudyConfig, facts: DataFacts, verb: str, patience: float) -> Iterator[Journal]:
    """Hold the study's journal, with MLflow following it."""
    place = tracking_place(study)
    if place is not None and not (study.folder / FILE_NAME).is_file():
        # Only a study that begins: a running one must not be stopped by a server that is away.
        check_uri(place.uri)
    make_folder(study)
    with Journal(study.folder, copy_of(study.location, say)) as journal:
        folder = claim_folder(study)
        _refuse_other_data(folder, facts)
        journal.note(
            "session",
            verb=verb,
            pid=os.getpid(),
            node=socket.gethostname(),
            versions=versions(),
            git=git_revision(),
            device="cuda" if study.resources.gpus else "cpu",
            data={
                "name": study.data.name,
                "digest": facts.key,
                "num_train": facts.num_train,
                "num_test": facts.num_test,
                "root": redacted(study.data.root) if study.data.root else None,
            },
            classes=list(facts.classes),
        )
        tracker = TrackerProcess(folder, place.uri, place.experiment, say) if place else None
        try:
            yield journal
        except (KeyboardInterrupt, InterruptedStudyError):
            patience = min(patience, INTERRUPTED_PATIENCE_SECS)
            raise
        finally:
            journal.note("stop")
            if tracker is not None and not tracker.close(patience):
                say(f"{study.name}: {tracker.backlog}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingPlace:
    """Where MLflow records a study."""

    uri: str
    experiment: str


def tracking_place(study: StudyConfig) -> TrackingPlace | None:
    """Where MLflow records a study; None with tracking switched off."""
    if not study.tracking.enabled:
        return None
    uri = study.tracking.uri or default_uri(study.folder.parent)
    return TrackingPlace(uri=uri, experiment=study.tracking.experiment or study.name)


def say(line: str) -> None:
    """Tell the person at the terminal; standard output belongs to results."""
    print(redacted(line), file=sys.stderr, flush=True)  # noqa: T201


def load_comparison(folder: Path) -> dict[str, Any] | None:
    """The newest comparison of a study, if there is one."""
    import json

    path = folder / FOLDER / "comparison.json"
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
