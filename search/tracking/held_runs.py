"""The runs that MLflow holds of one journal: found by their tags, and made once each, whatever becomes of an answer."""

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
    """Runs by key.

    Args:
        store: Where they are.
        journal_id: Whose they are.

    Attributes:
        found: What MLflow held of each trial, repeat and parent when it was asked first.
    """

    def __init__(self, store: Store, journal_id: str) -> None:
        self._store = store
        self._marks = {f"{PREFIX}journal": journal_id}
        self._runs: dict[str, StoredRun] = {}
        self._in_doubt: set[str] = set()
        """Keys that MLflow was asked to make a run for, without an answer."""
        self._late: set[str] = set()
        """Keys that were asked for again: a server that was slow may make the first run after the second one."""
        self.found: dict[str, list[TrackedRun]] = {}
        by_key: dict[str, list[StoredRun]] = {}
        for run in store.runs(self._marks):
            by_key.setdefault(run.tags.get(KEY_TAG, ""), []).append(run)
            if run.tags.get(f"{PREFIX}kind") != "comparison":
                self.found.setdefault(run.tags.get(KEY_TAG, ""), []).append(tracked(run))
        for key, runs in by_key.items():
            self._adopt(key, runs)

    def get(self, key: str) -> StoredRun | None:
        """The run of a trial, repeat, comparison or verb."""
        return self._runs.get(key)

    def make(self, key: str, *, name: str, tags: Mapping[str, str], at_ms: int) -> StoredRun:
        """Begin a run; one that was begun although the answer was lost is taken."""
        if key in self._in_doubt:
            self._late.add(key)
            if self._search(key):
                return self._runs[key]
        self._in_doubt.add(key)
        self._runs[key] = self._store.create(name=name, tags={KEY_TAG: key, **self._marks, **tags}, at_ms=at_ms)
        self._in_doubt.discard(key)
        return self._runs[key]

    def drop(self, key: str) -> None:
        """Give up a run that says what never happened; MLflow keeps it among the deleted ones."""
        self._store.delete(self._runs.pop(key))

    def settle(self) -> None:
        """Look once more for second runs of whatever was in doubt."""
        for key in sorted(self._late):
            self._search(key)
            self._late.discard(key)

    def _search(self, key: str) -> bool:
        runs = self._store.runs({**self._marks, KEY_TAG: key})
        if runs:
            self._adopt(key, runs)
        return bool(runs)

    def _adopt(self, key: str, runs: list[StoredRun]) -> None:
        """Keep the run that came furthest, the oldest of equals; the others are surplus."""
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
    """What a run says of its trial or repeat."""
    return TrackedRun(
        status=run.status,
        outcome=run.tags.get(f"{PREFIX}outcome", ""),
        num_epochs=int(run.metrics.get("epoch", 0)),
        val_accuracy=run.metrics.get("val_accuracy"),
        test_accuracy=run.metrics.get("test_accuracy"),
    )


def is_settled(run: StoredRun, record: TrialRecord, status: str, word: str, nested: Mapping[str, str]) -> bool:
    """Whether MLflow holds all that there will be; the status is always sent last."""
    told = run.status == status != "RUNNING" and run.tags.get(f"{PREFIX}outcome") == word
    return told and nested.items() <= run.tags.items() and not value_fault(record, tracked(run))


def is_wrong(run: StoredRun, record: TrialRecord) -> bool:
    """Whether a run holds values that the journal does not have: its metrics can be added to, not taken back."""
    found, num_epochs = tracked(run), record.curve[-1].epoch if record.curve else 0
    if found.num_epochs != num_epochs:
        return found.num_epochs > num_epochs
    if found.test_accuracy is None:  # not sent yet
        found = dataclasses.replace(found, test_accuracy=record.test_accuracy)
    return bool(value_fault(record, found))
