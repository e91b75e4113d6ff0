"""MLflow runs of one journal, found by their tags and created once each, even if an answer of the server is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from search.journal.mlflow_run import JOURNAL_TAG, KEY_TAG, MlflowRun
from search.journal.reconcile import value_fault
from search.records import TrialRecord
from search.tracking.mlflow_tracker import Point, Store, new_params, new_tags


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
        self._marks = {JOURNAL_TAG: journal_id}
        self._runs: dict[str, MlflowRun] = {}
        self._in_doubt: set[str] = set()
        """Keys whose run was requested without an answer."""
        self._late: set[str] = set()
        """Keys requested twice: a slow server may create the first run after the second one."""
        self.found: dict[str, list[MlflowRun]] = {}
        by_key: dict[str, list[MlflowRun]] = {}
        for run in store.runs(self._marks):
            by_key.setdefault(run.key, []).append(run)
            if not run.is_comparison:
                self.found.setdefault(run.key, []).append(run)
        for key, runs in by_key.items():
            self._adopt(key, runs)

    def get(self, key: str) -> MlflowRun | None:
        """Return the run of a trial, repeat, comparison or command; None if there is none."""
        return self._runs.get(key)

    def make(self, key: str, *, name: str, tags: Mapping[str, str], at_ms: int) -> MlflowRun:
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

    def log(
        self,
        run: MlflowRun,
        *,
        metrics: Iterable[Point] = (),
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> MlflowRun:
        """Send values of a run, see `Store.log`, and return the run with them."""
        return self._hold(self._store.log(run, metrics=metrics, params=params, tags=tags))

    def set_status(self, run: MlflowRun, status: str, at_ms: int | None = None) -> MlflowRun:
        """End a run or reopen it, see `Store.set_status`, and return it."""
        return self._hold(self._store.set_status(run, status, at_ms))

    def _hold(self, run: MlflowRun) -> MlflowRun:
        self._runs[run.key] = run
        return run

    def drop(self, key: str) -> None:
        """Delete a run whose values contradict the journal; MLflow can restore it."""
        self._store.delete(self._runs.pop(key))

    def delete_duplicates(self) -> None:
        """Search again for duplicates of runs whose request was repeated, and delete them."""
        for key in sorted(self._late):
            self._search(key)
            self._late.discard(key)

    def _search(self, key: str) -> bool:
        runs = self._store.runs({**self._marks, KEY_TAG: key})
        if runs:
            self._adopt(key, runs)
        return bool(runs)

    def _adopt(self, key: str, runs: list[MlflowRun]) -> None:
        """Keep the known run, or else the one with most epochs, the oldest of equals; delete the others."""
        known = self._runs.get(key)
        kept = max(runs, key=lambda run: (known is not None and run.run_id == known.run_id, run.num_epochs))
        for run in runs:
            if run is not kept:
                self._store.delete(run)
        if known is None:
            self._runs[key] = kept


def is_complete(
    run: MlflowRun, record: TrialRecord, status: str, tags: Mapping[str, str], params: Mapping[str, object]
) -> bool:
    """Return whether a run is complete: it has its final status, which is always sent last, and the right values."""
    told = run.status == status != "RUNNING" and not new_tags(run, tags) and not new_params(run, params)
    return told and not value_fault(record, run)


def is_wrong(run: MlflowRun, record: TrialRecord) -> bool:
    """Return whether a run has values that the journal does not have; MLflow cannot delete single metric values."""
    num_epochs = record.curve[-1].epoch if record.curve else 0
    if run.num_epochs != num_epochs:
        return run.num_epochs > num_epochs
    is_untested = run.test_accuracy is None  # it may not have been sent yet
    return bool(value_fault(dataclasses.replace(record, test_accuracy=None) if is_untested else record, run))
