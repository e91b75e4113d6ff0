"""What `status` says of a study: the sweep's counts and nominee, and the verdicts if there are any."""

from __future__ import annotations

from typing import Any

from search.drive import load_comparison
from search.progress import duration
from search.records import Failed, TrialRecord
from search.status import best_first, summarise
from search.study import StudyConfig
from search.tracking.journal import read_events, read_records

NUM_BEST = 5


def make_overview(study: StudyConfig) -> dict[str, Any]:
    """Read a study's state from its journal, as plain data."""
    records = list(read_records(study.folder).values())
    trials = [record for record in records if record.kind == "trial"]
    repeats = [record for record in records if record.kind == "repeat"]
    marks = [event for event in read_events(study.folder / "journal.jsonl") if event["event"] in {"session", "stop"}]
    running = bool(marks) and marks[-1]["event"] == "session" and marks[-1]["verb"] == "sweep" and _running(trials)
    status = summarise(trials, study.search.trials, since=marks[-1]["at"] if running else None)
    document = load_comparison(study.folder)
    return {
        "study": study.name,
        "folder": str(study.folder),
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
        "best": [_row(record) for record in best_first(trials)[:NUM_BEST]],
        "best_is": "nominated, not confirmed: one run each, chosen for this score",
        "failures": [{"reason": reason, "count": count} for reason, count in status.failures],
        "repeats": {
            "completed": sum(record.test_accuracy is not None for record in repeats),
            "failed": sum(isinstance(record.outcome, Failed) for record in repeats),
            "unfinished": sum(record.outcome is None for record in repeats),
        },
        "verdicts": [item["sentence"] for item in document["comparisons"]] if document else [],
    }


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
    """The state for people."""
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
    if overview["best"]:
        lines.append(f"nominated   {overview['best'][0]['label']} (not confirmed: one run, chosen for this score)")
        lines += [
            f"            {100 * row['val_accuracy']:6.2f} %  {row['label']}, {row['epochs']} epochs"
            for row in overview["best"]
            if row["val_accuracy"] is not None
        ]
    repeats = overview["repeats"]
    if any(repeats.values()):
        lines.append(
            f"repeats     {repeats['completed']} completed, {repeats['failed']} failed, "
            f"{repeats['unfinished']} unfinished"
        )
    lines += [f"verdict     {sentence}" for sentence in overview["verdicts"]]
    return lines
