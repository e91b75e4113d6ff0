"""The overview that `status` prints: counts, nominee and failures of the sweep, and the verdicts if there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from search.compare.nomination import select
from search.console.measures import show_measure
from search.console.progress import duration, infeasible, waiting
from search.console.scores import expected_line, score_rows
from search.console.verdict_lines import verdict_lines
from search.data.splits import second_size
from search.journal.budgets import sweep_end
from search.journal.commands import Command, answers_in, command_of, num_planned, waiting_in
from search.journal.comparison import Choice, ComparisonDocument
from search.journal.comparison_file import load_comparison
from search.journal.earlier import Earlier, earlier_in
from search.journal.measures import MEASURES, value_of
from search.journal.nominee import choose_reported
from search.journal.reading import History, read_history
from search.journal.selection import Selection, selection_data
from search.journal.summary import Status, best_first, summarise
from search.records import Completed, Failed, TrialRecord
from search.study.config import StudyConfig
from search.text.counted import counted, num_runs

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
    return Overview(
        study=study.name,
        folder=str(study.location),
        status=summarise(trials, planned, since=marks[-1]["at"] if running else None),
        training_secs=sum(record.elapsed_secs for record in trials),
        selection=_select(study, trials, marks, document),
        choice=choose_reported(trials, document),
        nominated=tuple(best_first(trials)[:NUM_NOMINATED]),
        front=_front(study, trials),
        repeats={
            "completed": sum(isinstance(record.outcome, Completed) for record in repeats),
            "failed": sum(isinstance(record.outcome, Failed) for record in repeats),
            "unfinished": sum(record.outcome is None for record in repeats),
        },
        race=document.race.sentences if document and document.race else (),
        verdicts=tuple(verdict_lines(document.comparisons)) if document else (),
        commands=_commands(study, history),
        ended=sweep_end(history.marks, study.search.budgets),
        earlier=tuple((earlier_in(history.marks) or Earlier()).lines),
    )


def _front(study: StudyConfig, trials: list[TrialRecord]) -> Front | None:
    search = study.search
    if len(search.objectives) == 1:
        return None
    from search.journal.fronts import front_of

    front = front_of(trials, search.objectives, search.limits, num_startup=min(search.startup_trials, search.trials))
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


def _front_lines(front: Front) -> Iterator[str]:
    """Yield the front as a table whose rows fit 80 columns unless labels are long."""
    aims = ", ".join(f"{name} {direction}" for name, direction in front.objectives.items())
    yield f"front       {counted(len(front.trials), 'trial')} on the Pareto front of {aims}"
    rows = [[show_measure(name, value_of(record, name)) for name in front.objectives] for record in front.trials]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for record, cells in zip(front.trials, rows, strict=True):
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"            {numbers}  {record.label}{' (knee)' * (record is front.knee and len(front.trials) > 2)}"
    if front.hypervolumes and front.hypervolumes[-1][1] > 0:
        yield f"            hypervolume {front.hypervolumes[-1][1]:.3f}"


def to_lines(overview: Overview) -> list[str]:
    """Return the overview as lines of text."""
    status = overview.status
    lines = [
        f"study       {overview.study} ({overview.folder})",
        f"trials      {status.num_over}/{status.num_planned}: {status.num_completed} completed, "
        f"{status.num_stopped} stopped, {status.num_failed} failed, "
        f"{infeasible(status)}{status.num_unfinished} unfinished{waiting(status)}",
        f"epochs      {status.num_epochs} in {duration(overview.training_secs)} of training",
    ]
    if overview.ended:
        lines.append(f"ended       no new trial begins: {overview.ended}")
    lines += [f"{'' if place else 'earlier':12}{line}" for place, line in enumerate(overview.earlier)]
    if status.eta_secs:
        lines.append(f"ETA         {duration(status.eta_secs)}")
    lines += [f"failure     {count} x {reason}" for reason, count in status.failures]
    selection, choice = overview.selection, overview.choice
    if selection:
        lines.append(f"nominee     {selection.name}: {selection.state}")
        lines += [f"            {name:22}{score:>8}  {words}" for name, score, words in score_rows(selection)]
        if selection.expected_highest:
            lines.append(f"            {expected_line(selection.expected_highest)}")
    if choice:
        lines += [f"export      {choice.name}: {choice.state}", *(f"note        {note}" for note in choice.notes)]
    rows = [
        f"            {100 * record.val_accuracy:6.2f} %  {record.label}, {counted(len(record.curve), 'epoch')}"
        for record in overview.nominated
        if record.val_accuracy is not None
    ]
    if rows:
        runs = num_runs(len(overview.nominated[0].blocks))
        lines += [f"nominated   by validation accuracy of {runs} each", *rows]
    if overview.front:
        lines += _front_lines(overview.front)
    if any(overview.repeats.values()):
        lines.append(f"repeats     {', '.join(f'{count} {word}' for word, count in overview.repeats.items())}")
    lines += [f"race        {sentence}" for sentence in overview.race]
    lines += [f"verdict     {sentence}" for sentence in overview.verdicts]
    lines += [f"command     {line}" for line in overview.commands]
    return lines
