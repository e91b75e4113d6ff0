"""The overview that `status` prints: counts, nominee and failures of the sweep, and the verdicts if there are any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.compare.nomination import select, to_dict
from search.console.progress import duration
from search.console.scores import expected_line, score_rows
from search.console.verdict_lines import verdict_lines
from search.data.splits import second_size
from search.journal.journal import read_history
from search.journal.nominee import choose
from search.journal.summary import best_first, summarise
from search.records import Completed, Failed, TrialRecord
from search.study.config import StudyConfig
from search.study.folder import load_comparison
from search.text.counted import counted

NUM_NOMINATED = 5


def make_overview(study: StudyConfig) -> dict[str, Any]:
    """Return the state of a study, read from its journal and comparison.json, as plain data."""
    history = read_history(study.folder)
    by_key = history.records
    marks = [event for event in history.marks if event["event"] in {"session", "stop"}]
    trials = [record for record in by_key.values() if record.kind == "trial"]
    repeats = [record for record in by_key.values() if record.kind == "repeat"]
    running = bool(marks) and marks[-1]["event"] == "session" and marks[-1]["verb"] == "sweep" and _running(trials)
    status = summarise(trials, study.search.trials, since=marks[-1]["at"] if running else None)
    document = load_comparison(study.folder)
    choice = choose(trials, document)
    return {
        "study": study.name,
        "folder": str(study.location),
        "trials": {
            "planned": status.num_planned,
            "completed": status.num_completed,
            "stopped": status.num_stopped,
            "failed": status.num_failed,
            "unfinished": status.num_unfinished,
        },
        "epochs": status.num_epochs,
        "training_secs": sum(record.elapsed_secs for record in trials),
        "eta_secs": status.eta_secs,
        "selection": _select(study, trials, marks, document),
        "choice": choice.to_dict() if choice else None,
        "nominated": [_row(record) for record in best_first(trials)[:NUM_NOMINATED]],
        "failures": [{"reason": reason, "count": count} for reason, count in status.failures],
        "repeats": {
            "completed": sum(isinstance(record.outcome, Completed) for record in repeats),
            "failed": sum(isinstance(record.outcome, Failed) for record in repeats),
            "unfinished": sum(record.outcome is None for record in repeats),
        },
        "race": document.get("race", {}).get("sentences", []) if document else [],
        "verdicts": verdict_lines(document["comparisons"]) if document else [],
    }


def _select(
    study: StudyConfig,
    trials: list[TrialRecord],
    marks: list[Mapping[str, Any]],
    document: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Return the nominee's three scores; None without a nominee."""
    session = next((event for event in reversed(marks) if event["event"] == "session"), None)
    if session is None:
        return None
    data = session["data"]
    num_val = second_size(data["num_train"], study.split, data.get("num_val", 0))
    found = select(study, trials, document, num_val=num_val, num_classes=len(session["classes"]))
    return to_dict(found) if found else None


def _running(trials: list[TrialRecord]) -> bool:
    return any(record.outcome is None for record in trials)


def _row(record: TrialRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "key": record.key,
        "label": record.label,
        "val_accuracy": record.val_accuracy,
        "epochs": len(record.curve),
        "secs": record.elapsed_secs,
        "node": record.node,
        "point": dict(record.point),
    }


def to_lines(overview: dict[str, Any]) -> list[str]:
    """Return the overview as lines of text."""
    counts = overview["trials"]
    over = counts["completed"] + counts["stopped"] + counts["failed"]
    lines = [
        f"study       {overview['study']} ({overview['folder']})",
        f"trials      {over}/{counts['planned']}: {counts['completed']} completed, {counts['stopped']} stopped, "
        f"{counts['failed']} failed, {counts['unfinished']} unfinished",
        f"epochs      {overview['epochs']} in {duration(overview['training_secs'])} of training",
    ]
    if overview["eta_secs"]:
        lines.append(f"ETA         {duration(overview['eta_secs'])}")
    lines += [f"failure     {item['count']} x {item['reason']}" for item in overview["failures"]]
    selection = overview["selection"]
    if selection:
        lines.append(f"nominee     {selection['name']}: {selection['state']}")
        lines += [f"            {name:22}{score:>8}  {words}" for name, score, words in score_rows(selection)]
        if selection["expected_highest"]:
            lines.append(f"            {expected_line(selection['expected_highest'])}")
    lines += choice_lines(overview["choice"])
    rows = [row for row in overview["nominated"] if row["val_accuracy"] is not None]
    if rows:
        lines.append("nominated   by validation accuracy of one run each")
        lines += [
            f"            {100 * row['val_accuracy']:6.2f} %  {row['label']}, {counted(row['epochs'], 'epoch')}"
            for row in rows
        ]
    repeats = overview["repeats"]
    if any(repeats.values()):
        lines.append(
            f"repeats     {repeats['completed']} completed, {repeats['failed']} failed, "
            f"{repeats['unfinished']} unfinished"
        )
    lines += [f"race        {sentence}" for sentence in overview["race"]]
    lines += [f"verdict     {sentence}" for sentence in overview["verdicts"]]
    return lines


def choice_lines(choice: Mapping[str, Any] | None) -> list[str]:
    """Return lines on the configuration that `export` would take, with its notes."""
    if choice is None:
        return []
    return [f"export      {choice['name']}: {choice['state']}", *(f"note        {note}" for note in choice["notes"])]
