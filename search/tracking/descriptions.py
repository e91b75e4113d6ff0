"""Descriptions of runs in Markdown, which MLflow shows on a run's page and in the column `Description`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.console.measures import TITLES, show_measure
from search.journal.follower import Follower
from search.journal.mlflow_run import PREFIX, MlflowRun
from search.records import Completed, Stopped, TrialRecord
from search.text.counted import counted
from search.text.escaping import markdown
from search.tracking.mlflow_tracker import short
from search.tracking.run_values import flat

NOTE_TAG = "mlflow.note.content"
WRITTEN_TAG = f"{PREFIX}description"
"""Tag with the digest of the description that was written last, by which an edited one is recognised."""
NUM_EPOCHS_SHOWN = 6
_COUNTS = ("num_parameters", "macs", "sequential_steps")


def description_tags(run: MlflowRun | None, text: str) -> dict[str, str]:
    """Return the tags that describe a run; none if somebody has edited its description in MLflow.

    Args:
        run: The run as it is in MLflow; None if it is new.
        text: The description in Markdown; cut at MLflow's limit. Empty for no description.
    """
    held = run.tags.get(NOTE_TAG) if run else None
    is_edited = run is not None and held and _digest(held) != run.tags.get(WRITTEN_TAG)
    if is_edited or not text:
        return {}
    text = short(text)
    return {NOTE_TAG: text, WRITTEN_TAG: _digest(text)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe_record(record: TrialRecord, word: str) -> str:
    """Describe a trial or repeat: outcome, size of the model, some epochs, and the point.

    Args:
        record: The trial or repeat.
        word: Its state, as `Follower.state_of` returns it.
    """
    counts = [f"{show_measure(name, record.counts[name])} {TITLES[name]}" for name in _COUNTS if name in record.counts]
    point = [(name, str(value)) for name, value in flat(record.point).items()]
    parts = [f"**{markdown(record.label or record.key)}**: {_outcome(record, word)}"]
    parts += [f"{', '.join(counts)}."] if counts else []
    if record.outcome is not None and record.curve:
        parts.append(_curve(record))
    parts += [_table(("parameter", "value"), point)] if point else []
    return "\n\n".join(parts)


def _outcome(record: TrialRecord, word: str) -> str:
    scores = []
    if record.kept is not None:
        scores.append(f"validation accuracy {show_measure('val_accuracy', record.val_accuracy)}")
        if record.keep == "best":
            scores[-1] += f" (best epoch, {record.kept.epoch})"
    if record.test_accuracy is not None:
        scores.append(f"test accuracy {show_measure('val_accuracy', record.test_accuracy)}")
    match record.outcome:
        case None:
            return f"{word}."
        case Completed():
            text = f"completed after {counted(len(record.curve), 'epoch')}"
        case Stopped(epoch=epoch, by_hand=by_hand, reason=reason):
            text = f"stopped early {'by hand' if by_hand else 'by the scheduler'} after epoch {epoch}"
            if reason:
                text = f"stopped early after epoch {epoch}: {markdown(reason)}"
        case outcome:
            text = f"{outcome.word}: {markdown(outcome.reason)}"
    return "; ".join([text, *scores]) + "."


def _curve(record: TrialRecord) -> str:
    """Return a table of the first epoch, the last one, the one that counts, and some between them."""
    num = len(record.curve)
    steps = NUM_EPOCHS_SHOWN - 1
    places = {round(step * (num - 1) / steps) for step in range(steps + 1)}
    shown = [item for place, item in enumerate(record.curve) if place in places or item is record.kept]
    rows = [
        (
            f"**{item.epoch}**" if item is record.kept else str(item.epoch),
            _number(item.val_accuracy),
            _number(item.val_loss),
            _number(item.train_accuracy),
            _number(item.train_loss),
        )
        for item in shown
    ]
    return _table(("epoch", "val_accuracy", "val_loss", "train_accuracy", "train_loss"), rows, escape=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def describe_sweep(journal: Follower, folder: Path, status: str) -> str:
    """Describe a sweep: counts, the nominee or the choice of the newest comparison, and how to go on.

    Args:
        journal: The followed journal.
        folder: The study's folder.
        status: MLflow's status of the sweep's run.
    """
    parts = [_counts(journal, "trial", "trial")]
    nominee = journal.nominee
    if nominee is not None:
        score = show_measure("val_accuracy", nominee.val_accuracy)
        parts.append(f"Nominee: **{markdown(nominee.label)}**, validation accuracy {score}. {_NOMINATED}")
    compared = [event for event in journal.comparisons if "choice" in event.get("tags", {})]
    if compared:
        tags = compared[-1]["tags"]
        name, state = markdown(str(tags["choice"])), markdown(str(tags.get("choice.state", "")))
        parts.append(f"Comparison {compared[-1]['key'][:4]} chooses **{name}**: {state}.")
    if status == "RUNNING":
        commands = {"watch": "status"}
    elif status == "KILLED":
        commands = {"continue the sweep": "sweep", "what there is so far": "status"}
    elif compared:
        commands = {"write a report": "report", "export the chosen configuration": "export"}
    else:
        commands = {"confirm the nominee with repeats": "compare"}
    parts.append(_go_on(commands, folder))
    return "\n\n".join(parts)


_NOMINATED = "The best score of a sweep is inflated by selection; only a comparison with fresh repeats confirms it."


def describe_repeats(journal: Follower, folder: Path, status: str) -> str:
    """Describe the run of all repeats: counts, and how to go on if it was interrupted."""
    parts = [
        _counts(journal, "repeat", "repeat"),
        "Each repeat is trained once, and all comparisons that contain it use it. The verdicts are in the runs of the "
        f"comparisons (`tags.{PREFIX}kind = 'comparison'`).",
    ]
    if status == "KILLED":
        parts.append(_go_on({"continue": "compare"}, folder))
    return "\n\n".join(parts)


def _counts(journal: Follower, kind: str, noun: str) -> str:
    steps = journal.progress(kind)
    counts = steps[-1][1] if steps else {}
    words = [f"{counts[f'num_{word}']:g} {shown}" for word, shown in _OUTCOMES if counts.get(f"num_{word}")]
    num_left = len(journal.of_kind(kind)) - int(counts.get("num_finished", 0))
    words += [f"{num_left} without an outcome"] if num_left else []
    return f"**{counted(len(journal.of_kind(kind)), noun)}**: {', '.join(words) or 'none yet'}."


_OUTCOMES = (
    ("completed", "completed"),
    ("stopped", "stopped early"),
    ("failed", "failed"),
    ("infeasible", "above a limit"),
)


def _go_on(commands: Mapping[str, str], folder: Path) -> str:
    lines = [f"    hybrid-search {verb} {folder}   # {why}" for why, verb in commands.items()]
    return "\n".join(["How to go on:", "", *lines])


def describe_comparison(event: Mapping[str, Any]) -> str:
    """Describe a comparison: the text that `compare` wrote, or the verdicts of an earlier version's journal."""
    if event.get("description"):
        return str(event["description"])
    tags = event.get("tags", {})
    verdicts = [markdown(str(text)) for name, text in tags.items() if name.startswith("verdict")]
    if "choice" in tags:
        verdicts.append(f"`export` chooses **{markdown(str(tags['choice']))}**: {tags.get('choice.state', '')}.")
    return "\n\n".join(verdicts)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, escape: bool = True) -> str:
    def line(cells: Sequence[str]) -> str:
        shown = (markdown(cell).replace("|", "&#124;") for cell in cells) if escape else iter(cells)
        return f"| {' | '.join(shown)} |"

    return "\n".join([line(headings), "|" + "---|" * len(headings), *map(line, rows)])
