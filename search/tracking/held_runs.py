"""MLflow runs of one journal, found by their tags and created once each, even if an answer of the server is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.journal.reconcile import TrackedRun, value_fault
from search.records import TrialRecord
from search.tracking.mlflow_tracker import KEY_TAG, Store, StoredRun

if TYPE_CHECKING:
    from search.tracking.mlflow_runs import LoggedRun

PREFIX = "hybrid_search."


class HeldRuns:
    """The MLflow runs of one journal, by key. Creating it reads them and deletes duplicates.

    Args:
        store: The experiment that contains the runs.
        journal_id: Id of the journal.

    Attributes:
        found: Content of the run of each trial, repeat and parent in MLflow at creation.
    """

    def __init__(self, store: Store, journal_id: str) -> None:
        self._store = store
        self._marks = {f"{PREFIX}journal": journal_id}
        self._runs: dict[str, StoredRun] = {}
        self._in_doubt: set[str] = set()
        """Keys whose run was requested without an answer."""
        self._late: set[str] = set()
        """Keys requested twice: a slow server may create the first run after the second one."""
        self.found: dict[str, list[TrackedRun]] = {}
        by_key: dict[str, list[StoredRun]] = {}
        for run in store.runs(self._marks):
            by_key.setdefault(run.tags.get(KEY_TAG, ""), []).append(run)
            if run.tags.get(f"{PREFIX}kind") != "comparison":
                self.found.setdefault(run.tags.get(KEY_TAG, ""), []).append(tracked(run))
        for key, runs in by_key.items():
            self._adopt(key, runs)

    def get(self, key: str) -> StoredRun | None:
        """Return the run of a trial, repeat, comparison or command; None if there is none."""
        return self._runs.get(key)

    def make(self, key: str, *, name: str, tags: Mapping[str, str], at_ms: int) -> StoredRun:
        """Create a run, or return the one that an earlier request created although its answer was lost.

        Args:
            key: Key by which the run is found again.
            name: Name of the run in MLflow.
            tags: Further tags.
            at_ms: Start in milliseconds since 1970.
        """
        if key in self._in_doubt:
            self._late.add(key)
            if self._search(key):
                return self._runs[key]
        self._in_doubt.add(key)
        self._runs[key] = self._store.create(name=name, tags={KEY_TAG: key, **self._marks, **tags}, at_ms=at_ms)
        self._in_doubt.discard(key)
        return self._runs[key]

    def drop(self, key: str) -> None:
        """Delete a run whose values contradict the journal; MLflow can restore it."""
        self._store.delete(self._runs.pop(key))

    def settle(self) -> None:
        """Search again for duplicates of runs whose request was repeated, and delete them."""
        for key in sorted(self._late):
            self._search(key)
            self._late.discard(key)

    def _search(self, key: str) -> bool:
        runs = self._store.runs({**self._marks, KEY_TAG: key})
        if runs:
            self._adopt(key, runs)
        return bool(runs)

    def _adopt(self, key: str, runs: list[StoredRun]) -> None:
        """Keep the known run, or else the one with most epochs, the oldest of equals; delete the others."""
        known = self._runs.get(key)
        kept = max(
            runs, key=lambda run: (known is not None and run.run_id == known.run_id, run.metrics.get("epoch", 0))
        )
        for run in runs:
            if run is not kept:
                self._store.delete(run)
        if known is None:
            self._runs[key] = kept


def tracked(run: StoredRun | LoggedRun) -> TrackedRun:
    """Return the state of a trial or repeat according to its run."""
    return TrackedRun(
        status=run.status,
        outcome=run.tags.get(f"{PREFIX}outcome", ""),
        num_epochs=int(run.metrics.get("epoch", 0)),
        val_accuracy=run.metrics.get("val_accuracy"),
        test_accuracy=run.metrics.get("test_accuracy"),
    )


def is_settled(run: StoredRun, record: TrialRecord, status: str, word: str, nested: Mapping[str, str]) -> bool:
    """Return whether a run is complete: it has its final status, which is always sent last, and the right values."""
    told = run.status == status != "RUNNING" and run.tags.get(f"{PREFIX}outcome") == word
    return told and nested.items() <= run.tags.items() and not value_fault(record, tracked(run))


def is_wrong(run: StoredRun, record: TrialRecord) -> bool:
    """Return whether a run has values that the journal does not have; MLflow cannot delete single metric values."""
    found, num_epochs = tracked(run), record.curve[-1].epoch if record.curve else 0
    if found.num_epochs != num_epochs:
        return found.num_epochs > num_epochs
    if found.test_accuracy is None:  # may not have been sent yet
        found = dataclasses.replace(found, test_accuracy=record.test_accuracy)
    return bool(value_fault(record, found))
