"""The state of a study that `status` shows: counts, nominee and failures of the sweep, decision and verdicts.

`search.report.status_lines` writes it as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from search.compare.nomination import select
from search.console.verdict_lines import verdict_lines
from search.data.splits import second_size
from search.journal.budgets import sweep_end
from search.journal.commands import Command, answers_in, command_of, num_planned, waiting_in
from search.journal.comparison import Choice, ComparisonDocument
from search.journal.comparison_file import load_comparison
from search.journal.decision import decision_of
from search.journal.earlier import Earlier, earlier_in
from search.journal.measures import MEASURES, value_of
from search.journal.nominee import choose_reported
from search.journal.reading import History, read_history
from search.journal.selection import Selection, selection_data
from search.journal.summary import Status, best_first, is_exhausted, summarise
from search.records import Completed, Failed, TrialRecord
from search.study.config import StudyConfig

if TYPE_CHECKING:
    from search.journal.fronts import Front

NUM_NOMINATED = 5
NUM_COMMANDS = 3
"""Number of answered commands shown."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The state of a study."""

    study: str
    folder: str
    status: Status
    """Counts and failures of the sweep."""
    training_secs: float
    selection: Selection | None
    """The nominee's three scores; None without a nominee."""
    choice: Choice | None
    """The configuration that `export` would take; None without a nominee."""
    nominated: tuple[TrialRecord, ...]
    """The first trials by validation accuracy, best first."""
    front: Front | None
    """The Pareto front of a sweep with several objectives; None with one, and before the first completed trial."""
    repeats: Mapping[str, int]
    """Number of completed, failed and unfinished repeats."""
    race: tuple[str, ...]
    """Sentences on the race; empty if there was none."""
    verdicts: tuple[str, ...]
    decision: str | None = None
    """What the newest comparison decides; None without one of the configuration that the study reports."""
    next_steps: tuple[str, ...] = ()
    """Names in `search.console.next_steps.STEPS`; empty while a command runs the study."""
    commands: tuple[str, ...] = ()
    """The newest commands from other terminals, with their answers."""
    ended: str | None = None
    """Why the sweep begins no new trial although more are planned; None if it does."""
    earlier: tuple[str, ...] = ()
    """What the sweep took from earlier studies, one line each."""


def make_overview(study: StudyConfig) -> Overview:
    """Return the state of a study, read from its journal and comparison.json."""
    history = read_history(study.folder)
    return overview_of(study, history, load_comparison(study.folder))


def overview_of(study: StudyConfig, history: History, document: ComparisonDocument | None) -> Overview:
    """Return the state of a study from its journal and its newest comparison."""
    marks = [event for event in history.marks if event["event"] in {"session", "stop"}]
    trials = [record for record in history.records.values() if record.kind == "trial"]
    repeats = [record for record in history.records.values() if record.kind == "repeat"]
    running = bool(marks) and marks[-1]["event"] == "session" and marks[-1]["verb"] == "sweep" and _running(trials)
    planned = num_planned(study.search.trials, history.marks)
    choice = choose_reported(trials, document)
    return Overview(
        study=study.name,
        folder=str(study.location),
        status=summarise(trials, planned, since=marks[-1]["at"] if running else None),
        training_secs=sum(record.elapsed_secs for record in trials),
        selection=_select(study, trials, marks, document),
        choice=choice,
        nominated=tuple(best_first(trials)[:NUM_NOMINATED]),
        front=_front(study, trials, history),
        repeats={
            "completed": sum(isinstance(record.outcome, Completed) for record in repeats),
            "failed": sum(isinstance(record.outcome, Failed) for record in repeats),
            "unfinished": sum(record.outcome is None for record in repeats),
        },
        race=document.race.sentences if document and document.race else (),
        verdicts=tuple(verdict_lines(document.comparisons)) if document else (),
        decision=decision_of(choice, document),
        next_steps=_next_steps(study, trials, planned, history, is_compared=document is not None),
        commands=_commands(study, history),
        ended=sweep_end(history.marks, study.search.budgets),
        earlier=tuple((earlier_in(history.marks) or Earlier()).lines),
    )


def _next_steps(
    study: StudyConfig, trials: list[TrialRecord], planned: int, history: History, *, is_compared: bool
) -> tuple[str, ...]:
    """Return what to run next, as far as the journal shows it: a killed command looks like one that runs."""
    marks = [event["event"] for event in history.marks if event["event"] in {"session", "stop"}]
    if not marks or marks[-1] == "session":
        return ()
    is_on_server = (study.tracking.uri or "").startswith(("http://", "https://"))  # which has its own UI
    see = ("ui",) if study.tracking.enabled and not is_on_server else ()
    if is_compared:
        return ("export", "report", *see)
    num_over = sum(record.outcome is not None for record in trials)
    is_ended = num_over >= planned or is_exhausted(history.marks) or sweep_end(history.marks, study.search.budgets)
    if not is_ended and trials:
        return ("sweep", *see)
    return ("compare", *see) if any(record.curve for record in trials) else see


def _front(study: StudyConfig, trials: list[TrialRecord], history: History) -> Front | None:
    search = study.search
    if len(search.objectives) == 1:
        return None
    from search.journal.fronts import front_of, num_startup_of

    num_startup = num_startup_of(history.marks, default=min(search.startup_trials, search.trials))
    front = front_of(trials, search.objectives, search.limits, num_startup=num_startup)
    return front if front.trials else None


def _commands(study: StudyConfig, history: History) -> tuple[str, ...]:
    """Describe the newest commands with their answers, and those that still wait in the study's folder."""
    answered = [
        f"{_shortened(study, command_of(event)).words}: {event['answer']}"
        for event in list(answers_in(history.marks))[-NUM_COMMANDS:]
    ]
    known = {event["id"] for event in answers_in(history.marks)}
    waiting = [
        f"{_shortened(study, command).words}: waits for the driver"
        for command in waiting_in(study.folder)
        if command.id not in known  # else the driver was killed after it had answered
    ]
    return (*answered, *waiting)


def _shortened(study: StudyConfig, command: Command) -> Command:
    """Leave out the parameters of a point that do not vary."""
    if not isinstance(command.point, Mapping):
        return command
    free = study.build_space().free
    return replace(command, point={name: command.point[name] for name in free if name in command.point})


def to_dict(overview: Overview) -> dict[str, Any]:
    """Return the overview as plain data for `--json`."""
    status = overview.status
    return {
        "study": overview.study,
        "folder": overview.folder,
        "trials": {
            "planned": status.num_planned,
            "completed": status.num_completed,
            "stopped": status.num_stopped,
            "failed": status.num_failed,
            "infeasible": status.num_infeasible,
            "unfinished": status.num_unfinished,
            "waiting": status.num_waiting,
        },
        "epochs": status.num_epochs,
        "training_secs": overview.training_secs,
        "eta_secs": status.eta_secs,
        "selection": selection_data(overview.selection) if overview.selection else None,
        "choice": asdict(overview.choice) if overview.choice else None,
        "nominated": [_row(record) for record in overview.nominated],
        "front": _front_to_dict(overview.front) if overview.front else None,
        "failures": [{"reason": reason, "count": count} for reason, count in status.failures],
        "repeats": dict(overview.repeats),
        "race": list(overview.race),
        "verdicts": list(overview.verdicts),
        "decision": overview.decision,
        "commands": list(overview.commands),
        "ended": overview.ended,
        "earlier": list(overview.earlier),
    }


def _select(
    study: StudyConfig,
    trials: list[TrialRecord],
    marks: list[Mapping[str, Any]],
    document: ComparisonDocument | None,
) -> Selection | None:
    """Return the nominee's three scores; None without a nominee."""
    session = next((event for event in reversed(marks) if event["event"] == "session"), None)
    if session is None:
        return None
    data = session["data"]
    num_val = second_size(data["num_train"], study.split, data.get("num_val", 0))
    return select(
        study,
        trials,
        document,
        num_val=num_val,
        num_classes=len(session["classes"]),
        is_val_fixed=bool(data.get("num_val", 0)),
    )


def _running(trials: list[TrialRecord]) -> bool:
    return any(record.outcome is None for record in trials)


def _row(record: TrialRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "key": record.key,
        "label": record.label,
        **{name: value_of(record, name) for name in MEASURES},
        "epochs": len(record.curve),
        "secs": record.elapsed_secs,
        "node": record.node,
        "point": dict(record.point),
    }


def _front_to_dict(front: Front) -> dict[str, Any]:
    return {
        "objectives": dict(front.objectives),
        "trials": [
            {"number": record.number, **{name: value_of(record, name) for name in front.objectives}}
            for record in front.trials
        ],
        "knee": front.knee.number if front.knee else None,
        "reference": front.reference,
        "hypervolumes": [list(item) for item in front.hypervolumes],
    }
