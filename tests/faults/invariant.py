"""What must hold of a study whatever hit it: nothing lost, nothing done twice, three memories that agree.

Reads the study's folder, MLflow and Optuna, changes nothing, and answers with complaints in words. Journal and files
are read here anew, not through the code that is under test.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.study.config import StudyConfig
from search.study.load import load_study
from search.sweep.keeping import num_kept
from search.sweep.schedulers import make_scheduler

if TYPE_CHECKING:
    import optuna

KNOWN_FILES = {"journal.jsonl", "study.yaml", "optuna.log", "optuna.log.damaged", "trials", "lock", "mlflow.lock"}
"""All that a study's folder holds after a sweep; of damaged logs the last one."""
TRACKED = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
"""Of an epoch: what is the same however often the trial was cut off."""
OPTUNA_STATES = {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
MLFLOW_STATES = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the three memories of a study are."""

    folder: Path
    """The study's folder."""
    tracking_uri: str | None
    """MLflow; None where tracking is switched off."""
    database: str | None = None
    """Optuna storage URL; None: the journal file in the folder."""


@dataclass(kw_only=True)
class Trial:
    """One trial as the journal tells it."""

    key: str
    number: int
    point: Mapping[str, Any]
    curve: list[Mapping[str, Any]] = field(default_factory=list)
    outcome: Mapping[str, Any] | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    micro_batch: bool = False
    """Whether it was noted that its batches had to be cut."""

    @property
    def word(self) -> str:
        """How it ended; empty while it has not."""
        return "" if self.outcome is None else str(self.outcome["word"])

    @property
    def val_accuracy(self) -> float | None:
        """Of the last epoch."""
        return self.curve[-1]["val_accuracy"] if self.curve else None


def complaints(
    place: Place, reference: Path, *, finished: bool, exempt: Collection[str] = (), may_fail: Collection[str] = ()
) -> list[str]:
    """Look for everything that is not as it must be.

    Args:
        place: The study.
        reference: Folder of an undisturbed sweep of the same points, every trial of which ran to its end.
        finished: Whether the sweep has ended by itself; before that only journal and curves are looked at.
        exempt: Keys of trials whose weights and curves may differ from the reference's.
        may_fail: Keys of trials that may have failed.

    Returns:
        One line each; none if all is well.
    """
    resolved = place.folder / "study.yaml"
    if not resolved.is_file():
        return ["there is no study.yaml in the study's folder"] if finished else []
    study = load_study(resolved)
    found = list(check_journal(place.folder, study, finished=finished, may_fail=may_fail))
    if found:  # what follows leans on a sound journal
        return found
    trials = read_trials(place.folder)
    found += check_reference(place.folder, study, trials, read_trials(reference), reference, exempt, finished=finished)
    found += check_schedule(place.folder, study, trials)
    if finished:
        found += check_disk(place.folder, study, trials)
        found += check_optuna(place, study, trials)
        found += check_mlflow(place, study, trials)
    return found


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """The events of a journal; a last line without end, and one that a later start marked as cut, do not count."""
    path = folder / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines if line and not line.endswith(b"\x18")]


def read_trials(folder: Path) -> dict[str, Trial]:
    """The trials of a journal by key, in the order in which they began."""
    trials: dict[str, Trial] = {}
    for event in read_lines(folder):
        if event["event"] == "begin" and event["kind"] == "trial":
            trials.setdefault(event["key"], Trial(key=event["key"], number=event["number"], point=event["point"]))
        trial = trials.get(event.get("key", ""))
        if trial is None:
            continue
        trial.micro_batch |= '"micro_batch"' in json.dumps(event)
        if event["event"] == "epoch":
            trial.curve.append(event["metrics"])
        elif event["event"] == "end":
            trial.outcome, trial.artifacts = event["outcome"], event.get("artifacts", {})
    return trials


def check_journal(folder: Path, study: StudyConfig, *, finished: bool, may_fail: Collection[str]) -> Iterator[str]:
    """Every trial begins once, tells each epoch once and in order, and ends once."""
    events = [event for event in read_lines(folder) if "key" in event and event["event"] in {"begin", "epoch", "end"}]
    begun: set[str] = set()
    ended: set[str] = set()
    epochs: Counter[str] = Counter()
    for event in events:
        key, kind = event["key"], event["event"]
        if kind == "begin":
            if key in begun:
                yield f"journal: trial {key} begins twice"
            begun.add(key)
            continue
        if key not in begun:
            yield f"journal: trial {key} has an {kind} before it begins"
        if key in ended:
            yield f"journal: trial {key} has an {kind} after its end"
        if kind == "end":
            ended.add(key)
        else:
            epochs[key] += 1
            if event["metrics"]["epoch"] != epochs[key]:
                yield f"journal: trial {key} tells epoch {event['metrics']['epoch']} where {epochs[key]} is due"
                epochs[key] = event["metrics"]["epoch"]
    trials = read_trials(folder)
    for trial in trials.values():
        due = {"completed": study.train.epochs, "stopped": (trial.outcome or {}).get("epoch")}.get(trial.word)
        if due is not None and due != len(trial.curve):
            yield f"journal: trial {trial.key} is {trial.word} at epoch {due} and tells {len(trial.curve)} epochs"
        if trial.word == "failed" and trial.key not in may_fail:
            yield f"journal: trial {trial.key} failed: {(trial.outcome or {}).get('reason')}"
    if finished:
        if len(trials) != study.search.trials:
            yield f"journal: {len(trials)} trials, {study.search.trials} were asked for"
        yield from (f"journal: trial {trial.key} has no end" for trial in trials.values() if trial.outcome is None)


def check_continued(trace: Iterable[list[Any]], trials: Mapping[str, Trial]) -> Iterator[str]:
    """Nothing is trained again: no epoch that the journal had, and no step that the command saved when it was ended.

    Args:
        trace: In their order: `step, key, epoch, step` when a step was done, `told, key, epoch` when the journal had an
            epoch, `saved, key` when a command that was to save all had ended, `cut` when a process was hit or begins:
            what was trained before and is not told was never saved, and `lost, key` when a fault took what the trial
            could have gone on from.
        trials: The trials of the journal.
    """
    last: dict[str, tuple[float, ...]] = {}
    kept: dict[str, tuple[float, ...]] = {}
    trained: set[tuple[str, int]] = set()
    again: dict[tuple[str, int], int] = {}
    for event, key, *place in trace:
        if event == "step":
            epoch, step = place[:2]
            last[key] = (epoch, step)
            trained.add((key, epoch))
            if (epoch, step) <= kept.get(key, ()):
                again.setdefault((key, epoch), step)
        elif event == "told":
            kept[key] = max(kept.get(key, ()), (place[0], math.inf))
        elif event == "saved":
            kept[key] = max(kept.get(key, ()), last.get(key, ()))
        elif event == "cut":
            last.clear()
        elif event == "lost":
            kept.pop(key, None)
    for (key, epoch), step in again.items():
        yield f"continued: trial {key} trains step {step} of epoch {epoch} again, which was saved before"
    for key, trial in trials.items():
        for epoch in range(1, len(trial.curve) + 1):
            if (key, epoch) not in trained:
                yield f"continued: nobody was seen to train epoch {epoch} of trial {key}"


def check_reference(
    folder: Path,
    study: StudyConfig,
    trials: Mapping[str, Trial],
    others: Mapping[str, Trial],
    reference: Path,
    exempt: Collection[str],
    *,
    finished: bool,
) -> Iterator[str]:
    """Points, curves, and what the best trials leave behind are those of the undisturbed sweep, bit for bit."""
    wanted = list(others)[: study.search.trials]
    if finished and set(trials) != set(wanted):
        yield f"reference: trials {sorted(set(trials) ^ set(wanted))} are not in both sweeps"
    for key, trial in trials.items():
        other = others.get(key)
        if other is None:
            yield f"reference: no trial {key} there"
            continue
        if dict(trial.point) != dict(other.point):
            yield f"reference: trial {key} has another point there"
        if key in exempt:
            continue
        for mine, its in zip(trial.curve, other.curve, strict=False):
            differing = [name for name in TRACKED if mine[name] != its[name]]
            if differing:
                yield f"reference: trial {key} differs in {', '.join(differing)} of epoch {mine['epoch']}"
        if trial.word == "completed":
            yield from _compare_files(key, folder, reference)


def _compare_files(key: str, folder: Path, reference: Path) -> Iterator[str]:
    for file in sorted((folder / "trials" / key).glob("*")):
        other = reference / "trials" / key / file.name
        if file.suffix in {".npy", ".safetensors"} and not file.name.startswith("."):
            if not other.is_file():
                yield f"reference: trial {key} has no {file.name} there"
            elif file.read_bytes() != other.read_bytes():
                yield f"reference: trial {key} has another {file.name}: not the same bit for bit"


def check_schedule(folder: Path, study: StudyConfig, trials: Mapping[str, Trial]) -> Iterator[str]:
    """The scheduler, shown the recorded curves in their order, decides as it is recorded."""
    scheduler = make_scheduler(study.search, study.train.epochs)
    for event in read_lines(folder):
        if event["event"] != "epoch" or event["key"] not in trials:
            continue
        trial, epoch = trials[event["key"]], event["metrics"]["epoch"]
        go_on = scheduler.observe(trial.key, epoch, event["metrics"]["val_accuracy"])
        last = epoch == len(trial.curve)
        if not go_on and not last:
            yield f"scheduler: trial {trial.key} was to stop at epoch {epoch} and went on"
        if not go_on and last and trial.word not in {"stopped", ""}:
            yield f"scheduler: trial {trial.key} was to stop at epoch {epoch} and is {trial.word}"
        if go_on and last and trial.word == "stopped":
            yield f"scheduler: trial {trial.key} was stopped at epoch {epoch}, which the scheduler does not ask for"


def best_keys(study: StudyConfig, trials: Mapping[str, Trial]) -> set[str]:
    """Keys of the trials whose weights stay."""
    done = [trial for trial in trials.values() if trial.word == "completed"]
    done.sort(key=lambda trial: (-(trial.val_accuracy or 0.0), trial.number))
    return {trial.key for trial in done[: num_kept(study)]}


def check_disk(folder: Path, study: StudyConfig, trials: Mapping[str, Trial]) -> Iterator[str]:
    """Of a finished sweep: what completed trials left, weights of the best only; no checkpoint, nothing temporary."""
    for path in sorted(folder.iterdir()):
        if path.name not in KNOWN_FILES:
            yield f"disk: {path.name} is left over in the study's folder"
    best = best_keys(study, trials)
    wanted = {
        f"{key}/{Path(file).name}"
        for key, trial in trials.items()
        if trial.word == "completed"
        for name, file in trial.artifacts.items()
        if key in best or not name.startswith("weights-")
    }
    if any(trial.word == "completed" and not trial.artifacts for trial in trials.values()):
        yield "disk: a completed trial names no files"
    there = {str(path.relative_to(folder / "trials")) for path in (folder / "trials").rglob("*") if path.is_file()}
    yield from (f"disk: trials/{name} is left over" for name in sorted(there - wanted))
    yield from (f"disk: trials/{name} is missing" for name in sorted(wanted - there))


def load_optuna(name: str, place: Place) -> optuna.Study:
    """Open Optuna's study.

    Raises:
        KeyError: There is none.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = place.folder / "optuna.log"
    if place.database is None and not path.exists():
        raise KeyError(name)
    storage = place.database or optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=name, storage=storage)


def check_optuna(place: Place, study: StudyConfig, trials: Mapping[str, Trial]) -> Iterator[str]:
    """Optuna has each trial once, with the journal's number, curve, value and state; nothing waits or runs."""
    try:
        found = load_optuna(study.name, place)
    except KeyError:
        yield "optuna: there is no such study"
        return
    assert isinstance(study.space, dict)
    searched = {
        name
        for name, domain in study.space.items()
        if isinstance(domain, list) or (isinstance(domain, dict) and "fixed" not in domain)
    }
    by_number = {trial.number: trial for trial in trials.values()}
    seen: Counter[int] = Counter()
    for theirs in found.get_trials(deepcopy=False):
        state = theirs.state.name
        if state in {"RUNNING", "WAITING"}:
            yield f"optuna: trial {theirs.number} is {state}"
        if "digest" not in theirs.user_attrs:
            if state in {"COMPLETE", "PRUNED"}:
                yield f"optuna: trial {theirs.number} is {state} and nobody's"
            continue
        mine = by_number.get(theirs.number)
        if mine is None:
            yield f"optuna: trial {theirs.number} ({state}) is not in the journal"
            continue
        seen[mine.number] += 1
        if state != OPTUNA_STATES.get(mine.word):
            yield f"optuna: trial {theirs.number} is {state} where the journal says {mine.word or 'unfinished'}"
        curve = {item["epoch"]: item["val_accuracy"] for item in mine.curve if item["val_accuracy"] is not None}
        if theirs.intermediate_values != curve:
            yield f"optuna: trial {theirs.number} has curve {theirs.intermediate_values}, the journal {curve}"
        if state == "COMPLETE" and theirs.value != mine.val_accuracy:
            yield f"optuna: trial {theirs.number} has value {theirs.value}, the journal {mine.val_accuracy}"
        if theirs.params != {name: value for name, value in mine.point.items() if name in searched}:
            yield f"optuna: trial {theirs.number} has other parameters than in the journal"
    digests = Counter(
        item.user_attrs["digest"] for item in found.get_trials(deepcopy=False) if "digest" in item.user_attrs
    )
    yield from (f"optuna: point {digest} is there {count} times" for digest, count in digests.items() if count > 1)
    yield from (f"optuna: trial {number} is missing" for number in sorted(set(by_number) - set(seen)))


def check_mlflow(place: Place, study: StudyConfig, trials: Mapping[str, Trial]) -> Iterator[str]:
    """MLflow has one run per trial and one for the sweep, with the journal's states and curves; none RUNNING."""
    if place.tracking_uri is None:
        return
    from search.tracking.mlflow_client import connect

    client = connect(place.tracking_uri)
    experiment = client.get_experiment_by_name(study.tracking.experiment or study.name)
    if experiment is None:
        yield "mlflow: there is no experiment"
        return
    runs = client.search_runs([experiment.experiment_id], max_results=1_000)
    counts = Counter(run.data.tags.get("hybrid_search.key", "") for run in runs)
    for key in ["sweep", *trials]:
        if counts[key] != 1:
            yield f"mlflow: {counts[key]} runs for {key}"
    yield from (
        f"mlflow: run for {key or 'nobody'}, which the journal lacks" for key in counts.keys() - {"sweep", *trials}
    )
    for run in runs:
        key = run.data.tags.get("hybrid_search.key", "")
        if run.info.status in {"RUNNING", "SCHEDULED"}:
            yield f"mlflow: the run for {key} is {run.info.status}"
        if key not in trials:
            continue
        trial = trials[key]
        if run.info.status != MLFLOW_STATES.get(trial.word) or run.data.tags.get("hybrid_search.outcome") != trial.word:
            outcome = run.data.tags.get("hybrid_search.outcome")
            yield f"mlflow: the run for {key} is {run.info.status}, {outcome}, where the journal says {trial.word}"
        history = client.get_metric_history(run.info.run_id, "val_accuracy")
        told = sorted((item.step, item.value) for item in history)
        curve = [(item["epoch"], item["val_accuracy"]) for item in trial.curve if item["val_accuracy"] is not None]
        if told != curve:
            yield f"mlflow: the run for {key} has curve {told}, the journal {curve}"


def summary(folder: Path) -> str:
    """How a study came out, in a few words."""
    counts = Counter(trial.word or "unfinished" for trial in read_trials(folder).values())
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
