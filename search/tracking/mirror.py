"""Update MLflow from the journal, repeatedly; sending the same state twice changes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from search.errors import HybridSearchError, TrackingError
from search.journal.follower import PARENTS, UNFINISHED, Follower, to_ms
from search.journal.mlflow_run import FOLDERS_TAG, PARENT_TAG, PREFIX, MlflowRun, maker_of
from search.journal.reconcile import describe_repairs, mlflow_differences
from search.records import TrialRecord, scores_by_epoch
from search.tracking.descriptions import (
    describe_comparison,
    describe_record,
    describe_repeats,
    describe_sweep,
    description_tags,
)
from search.tracking.foreign import foreign_runs, not_ours
from search.tracking.held_runs import HeldRuns, is_complete, is_wrong
from search.tracking.mlflow_client import ForgottenError, RejectedError
from search.tracking.mlflow_tracker import Point, Store, new_tags
from search.tracking.pictures import Pictures
from search.tracking.run_table import experiment_tags
from search.tracking.run_values import (
    StudyFacts,
    add_comparison,
    config_of,
    params_of,
    session_tags,
    tags_of,
    values_of,
)
from search.uris import redacted

_PARENT_NAMES = {"sweep": "sweep", "compare": "repeats"}
"""Command -> suffix of its parent run's name."""
DRAWING_SECS = 0.3
"""Seconds per `sync` for figures, so that new metrics are sent before old figures."""


class Mirror:
    """Keeps the MLflow copy of one study's journal up to date. Not thread-safe.

    Runs are found by their tags, values have the journal's times, and the mark that an item is complete is sent last.
    A mirror that was killed at any moment can therefore be continued by the next one.

    Trials are children of the sweep's run, repeats of the run of all repeats, because several comparisons may share a
    repeat, which is trained and recorded once. Each comparison has its own run, found by its key, which is updated when
    it is judged again. It lists its repeats' runs in a tag (cut at MLflow's limit; comparison.json has all of them).
    Each repeat lists its comparisons, so that `tags.hybrid_search.comparisons LIKE '%KEY%'` finds the repeats.

    Args:
        folder: The study's folder.
        uri: MLflow tracking URI.
        experiment: MLflow experiment; created if missing.
        print_line: Receives lines for the user: what MLflow rejects for good, and what was repaired after an earlier
            start.
        facts: Returns the space and recipe of the study; None for runs without recipe and pictures of what mattered.
    """

    def __init__(
        self,
        folder: Path,
        *,
        uri: str,
        experiment: str,
        print_line: Callable[[str], None] = lambda _: None,
        facts: Callable[[], StudyFacts] | None = None,
    ) -> None:
        self._folder, self._uri, self._experiment, self._print_line = folder, uri, experiment, print_line
        self._read_facts = facts
        self._space = None if facts is None else lambda: facts().space
        self._facts: StudyFacts | None = None
        self._mended = ""
        self._begin()

    def _begin(self) -> None:
        """Reset to the state before MLflow and the journal were read."""
        self._journal = Follower(self._folder)
        self._pictures = Pictures(self._folder, self._journal, space=self._space, print_line=self._print_line)
        self._store: Store | None = None
        self._held: HeldRuns | None = None
        self._begun: set[str] = set()
        """Keys of runs whose parameters and data set were sent."""
        self._num_compared = 0
        self._num_drawn: dict[str, int] = dict.fromkeys(PARENTS, 0)

    @property
    def num_waiting(self) -> int:
        """Number of trials, repeats and comparisons whose latest state is not in MLflow."""
        return len(self._journal.changed) + len(self._journal.comparisons) - self._num_compared

    def sync(self) -> int:
        """Send everything that is new in the journal, then draw figures for a moment.

        Returns:
            Number of trials and repeats updated.

        Raises:
            TrackingError: MLflow is unreachable; nothing is lost, call again.
            InputError: The journal is damaged.
        """
        self._journal.read()
        with self._forgetting():
            num_sent = self._send()
            self._draw(time.monotonic() + DRAWING_SECS)
        return num_sent

    def finish(self) -> int:
        """Like `sync`, after the driver has exited: no run stays RUNNING, and all figures are drawn."""
        self._journal.read()
        self._journal.leave()
        with self._forgetting():
            num_sent = self._send()
            if self._held is not None:
                self._held.delete_duplicates()
            self._draw(None)
            if self._store is not None and self._held is not None:
                with self._rejections_told("sweep"):
                    self._pictures.draw_sweep(self._store, self._held)
        return num_sent

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Start again if the address now leads to another database."""
        try:
            yield
        except ForgottenError:
            self._begin()
            raise

    def _send(self) -> int:
        journal = self._journal
        if not journal.journal_id:
            return 0
        store, held = self._open()
        for command in sorted(journal.changed_parents):
            self._parent(held, command)
        num_sent = 0
        for key in list(journal.changed):
            with self._rejections_told(journal.records[key].label):
                self._send_record(store, held, journal.records[key])
            del journal.changed[key]
            num_sent += 1
        for event in journal.comparisons[self._num_compared :]:
            with self._rejections_told(f"comparison {event['key']}"):
                self._send_comparison(store, held, event)
            self._num_compared += 1
        if journal.report is not None:
            with self._rejections_told("report"):
                self._send_report(store, held, journal.report)
        for command in sorted(journal.changed_parents):
            with self._rejections_told(command):
                self._update_parent(store, held, command)
            journal.changed_parents.discard(command)
        if self._mended:
            self._print_line(self._mended)
            self._mended = ""
        return num_sent

    @contextlib.contextmanager
    def _rejections_told(self, what: str) -> Iterator[None]:
        """Report a request that MLflow rejects for good, so that it does not block the others."""
        try:
            yield
        except RejectedError as error:
            self._print_line(f"{what}: not copied to MLflow: {error}")

    def _open(self) -> tuple[Store, HeldRuns]:
        if self._store is None or self._held is None:
            try:
                store = Store(self._uri, self._experiment)
                held = HeldRuns(store, self._journal.journal_id)
                self._refuse_foreign(store, held)
                self._tidy(held)
                self._describe(store)
            except RejectedError as error:
                raise TrackingError(*error.faults) from None
            left = self._journal.left
            known = {key: runs for key, runs in held.found.items() if key in left or key not in self._journal.records}
            self._mended = describe_repairs(mlflow_differences(left.values(), known), "run")
            self._store, self._held = store, held
        return self._store, self._held

    def _describe(self, store: Store) -> None:
        """Read the study file, and store the view of the run table."""
        try:
            self._facts = self._read_facts() if self._read_facts else None
        except HybridSearchError as error:
            self._print_line(f"the runs in MLflow lack the study's settings, which cannot be read: {error}")
        with self._rejections_told("view of the run table"):
            store.describe(experiment_tags(self._journal, self._folder.name, self._facts))

    def _refuse_foreign(self, store: Store, held: HeldRuns) -> None:
        """Raise if the experiment contains foreign runs; the driver's own check may have been impossible."""
        if held.found:
            return
        names = ((run.tags.get("mlflow.runName", run.run_id), maker_of(run.tags)) for run in store.runs({}))
        if foreign := foreign_runs(list(names), self._journal.journal_id):
            raise TrackingError(f"{redacted(self._uri)}: {not_ours(self._experiment, foreign)}")

    def _tidy(self, held: HeldRuns) -> None:
        """Delete runs with values that the journal does not have, and end runs of trials that it does not contain."""
        records = self._journal.records
        for key in held.found:
            run = held.get(key)
            if run is None or key in PARENTS.values():
                continue
            if key not in records:
                run = held.log(run, tags={f"{PREFIX}outcome": UNFINISHED})
                held.set_status(run, "KILLED", self._journal.last_ms)
            elif is_wrong(run, records[key]):
                held.drop(key)

    def _create(
        self, held: HeldRuns, key: str, command: str, name: str, at: float, tags: Mapping[str, str]
    ) -> MlflowRun:
        common = {
            f"{PREFIX}study": self._folder.name,
            "mlflow.source.name": f"hybrid-search {command}",
            "mlflow.source.type": "LOCAL",
        }
        return held.make(key, name=name, tags={**common, **tags}, at_ms=to_ms(at))

    def _parent(self, held: HeldRuns, command: str) -> MlflowRun:
        run = held.get(command)
        if run is not None:
            return run
        at = self._journal.sessions.get(command, {}).get("at", self._journal.last_ms / 1000)
        return self._create(held, command, command, f"{self._folder.name} {_PARENT_NAMES[command]}", at, {})

    def _send_record(self, store: Store, held: HeldRuns, record: TrialRecord) -> None:
        journal = self._journal
        status, word = journal.state_of(record)
        run = held.get(record.key)
        command = PARENTS[record.kind]
        nested = {PARENT_TAG: self._parent(held, command).run_id}
        tags = {**nested, **tags_of(record, word), **description_tags(run, describe_record(record, word))}
        params = params_of(record, self._facts)
        if run is not None and is_complete(run, record, status, tags, params):
            journal.epoch_ms.pop(record.key, None)
            return
        if run is None:
            first = nested | {
                f"{PREFIX}kind": record.kind,
                f"{PREFIX}number": str(record.number),
                f"{PREFIX}blocks": ", ".join(record.blocks),
            }
            if record.kind == "repeat":
                first[f"{PREFIX}config"] = config_of(record)
            run = self._create(held, record.key, command, record.label or record.key, record.started_at, first)
        elif status == "RUNNING":
            run = held.set_status(run, status)
        if record.key not in self._begun and journal.data:
            store.log_dataset(run, journal.data)
        ended_ms = to_ms(record.finished_at) if record.finished_at else journal.last_ms
        try:
            run = held.log(run, metrics=self._new_points(record, run.num_epochs), params=params, tags=tags)
        except RejectedError:
            if status != "RUNNING":
                with contextlib.suppress(RejectedError):
                    held.set_status(run, status, ended_ms)
            raise
        self._begun.add(record.key)
        journal.epoch_ms.pop(record.key, None)
        if status != "RUNNING":
            held.set_status(run, status, ended_ms)

    def _new_points(self, record: TrialRecord, num_known: int) -> list[Point]:
        times = self._journal.epoch_ms.get(record.key, {})
        best = scores_by_epoch(record.curve, record.keep) if record.keep == "best" else {}
        points = [
            Point(name=name, value=value, step=item.epoch, at_ms=times.get(item.epoch, self._journal.last_ms))
            for item in record.curve
            if item.epoch > num_known
            for name, value in values_of(item, best.get(item.epoch)).items()
        ]
        if not num_known and (points or record.outcome is not None):
            # After the first epoch, because pages of MLflow choose the metric that a run received first.
            at_ms = to_ms(record.started_at)
            for name, count in record.counts.items():
                points.append(Point(name=name, value=float(count), step=0, at_ms=at_ms))
        if record.test_accuracy is not None and record.finished_at is not None:
            step = record.curve[-1].epoch if record.curve else 0
            at_ms = to_ms(record.finished_at)
            points.append(Point(name="test_accuracy", value=record.test_accuracy, step=step, at_ms=at_ms))
        return points

    def _send_comparison(self, store: Store, held: HeldRuns, event: Mapping[str, Any]) -> None:
        key, number, at_ms = event["key"], self._num_compared + 1, to_ms(event["at"])
        run = held.get(key)
        if run is None:
            name = f"{self._folder.name} comparison {key[:4]}"
            run = self._create(held, key, "compare", name, event["at"], {f"{PREFIX}kind": "comparison"})
        # It was over before it was recorded; a rejection below must not leave the run RUNNING.
        run = held.set_status(run, "FINISHED", at_ms)
        marker = f"{PREFIX}num_comparisons"
        num_known = int(run.tags.get(marker, "0"))
        described = description_tags(run, describe_comparison(event))
        # Of the newest one, the description may be of an earlier version.
        if num_known > number or (num_known == number and not new_tags(run, described)):
            return
        if self._journal.data:
            store.log_dataset(run, self._journal.data)
        for name in event.get("artifacts", ()):
            file = self._folder / name
            if file.exists():
                store.log_file(run, file)
            else:
                self._print_line(f"comparison {key}: {name} is not in the study folder, so it is not copied to MLflow")
        repeats = [known for repeat in event.get("repeats", ()) if (known := held.get(repeat)) is not None]
        tags = {str(name): str(text) for name, text in event.get("tags", {}).items()}
        run = held.log(
            run,
            metrics=[
                Point(name=name, value=value, step=number, at_ms=at_ms)
                for name, value in event.get("metrics", {}).items()
            ],
            tags={
                **tags,
                **described,
                **session_tags(event["session"]),
                f"{PREFIX}repeats": ", ".join(repeat.run_id for repeat in repeats),
            },
        )
        for repeat in repeats:
            with self._rejections_told(self._journal.records[repeat.key].label):
                add_comparison(held, repeat, key)
        held.log(run, tags={marker: str(number)})

    def _send_report(self, store: Store, held: HeldRuns, event: Mapping[str, Any]) -> None:
        """Attach the latest HTML page to the sweep's run, or to the run of all repeats if there was no sweep."""
        run = self._parent(held, "sweep" if self._journal.of_kind("trial") else "compare")
        marker = f"{PREFIX}report"
        if run.tags.get(marker) == event["digest"]:
            return
        for name in event["artifacts"]:
            file = self._folder / name
            if file.exists():
                store.log_file(run, file)
            else:
                self._print_line(f"{name} is not in the study folder, so it is not copied to MLflow")
        held.log(run, tags={marker: event["digest"]})

    def _update_parent(self, store: Store, held: HeldRuns, command: str) -> None:
        journal = self._journal
        run = self._parent(held, command)
        status = journal.parent_status(command)
        if status == "RUNNING":
            run = held.set_status(run, status)
        describe = describe_sweep if command == "sweep" else describe_repeats
        tags = session_tags(journal.sessions.get(command, {}))
        tags |= description_tags(run, describe(journal, self._folder, status))
        folders = {*run.tags.get(FOLDERS_TAG, "").splitlines(), str(self._folder.resolve())}
        tags[FOLDERS_TAG] = "\n".join(sorted(folders))
        if journal.data and run.tags.get(f"{PREFIX}data") != journal.data["digest"]:
            store.log_dataset(run, journal.data)
            tags[f"{PREFIX}data"] = journal.data["digest"]
        study = self._folder / "study.yaml"
        if study.is_file():
            digest = hashlib.sha256(study.read_bytes()).hexdigest()[:16]
            if run.tags.get(f"{PREFIX}study_file") != digest:
                store.log_file(run, study)
                tags[f"{PREFIX}study_file"] = digest
        nominee = journal.nominee if command == "sweep" else None
        if nominee is not None:
            tags |= {f"{PREFIX}nominated": nominee.label, f"{PREFIX}nominated_key": nominee.key}
        kind = next(kind for kind, parent in PARENTS.items() if parent == command)
        num_known = int(run.metrics.get("num_finished", 0))
        run = held.log(
            run,
            metrics=[
                Point(name=name, value=value, step=step, at_ms=at_ms)
                for step, (at_ms, values) in enumerate(journal.progress(kind)[num_known:], start=num_known + 1)
                for name, value in values.items()
            ],
            tags=tags,
        )
        if status != "RUNNING":
            held.set_status(run, status, journal.command_ms.get(command, journal.last_ms))

    def _draw(self, until: float | None) -> None:
        for kind, ended in self._journal.ended.items():
            for key in list(ended)[self._num_drawn[kind] :]:
                if self._store is None or self._held is None or (until is not None and time.monotonic() > until):
                    return
                with self._rejections_told(self._journal.records[key].label):
                    self._pictures.draw_record(self._store, self._held, self._journal.records[key])
                self._num_drawn[kind] += 1
