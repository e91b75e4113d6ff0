"""Writes trials and repeats for TensorBoard: `tracking.also: [tensorboard]`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from search.journal.hook_calls import StudyBegin
from search.records import EpochMetrics, TrialRecord
from search.tracking.run_values import values_of

FOLDER = "tensorboard"


class TensorBoardHook:
    """Writes the metrics of each epoch to `<study>/tensorboard/<trial>/`."""

    def __init__(self) -> None:
        self._folder = Path()
        self._writers: dict[str, Any] = {}

    def on_study_begin(self, study: StudyBegin) -> None:
        """Choose the folder."""
        self._folder = study.folder / FOLDER

    def on_epoch(self, trial: TrialRecord, metrics: EpochMetrics) -> None:
        """Write the metrics of an epoch."""
        writer = self._writer(trial)
        for name, value in values_of(metrics).items():
            writer.add_scalar(name, value, metrics.epoch)
        writer.flush()

    def on_trial_end(self, trial: TrialRecord) -> None:
        """Write the test accuracy of a repeat, and close the trial's files."""
        if trial.test_accuracy is not None:
            self._writer(trial).add_scalar("test_accuracy", trial.test_accuracy, len(trial.curve))
        if (writer := self._writers.pop(trial.key, None)) is not None:
            writer.close()

    def close(self) -> None:
        """Close the files of the trials that are not finished."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, trial: TrialRecord) -> Any:  # noqa: ANN401  of a package without types
        if trial.key not in self._writers:
            summary: Any = importlib.import_module("tensorboard.summary")  # of an extra
            self._writers[trial.key] = summary.Writer(str(self._folder / folder_of(trial)))
        return self._writers[trial.key]


def folder_of(trial: TrialRecord) -> str:
    """Return the name of a trial's run in TensorBoard, such as `trial-3-0a1b2c3d`."""
    return f"{trial.kind}-{trial.number}-{trial.key[:8]}"
