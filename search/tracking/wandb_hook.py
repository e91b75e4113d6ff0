"""Sends trials and repeats to Weights & Biases (`tracking.also: [wandb]`), which its own variables configure."""

from __future__ import annotations

import importlib
from typing import Any

from search.journal.hook_calls import StudyBegin
from search.records import EpochMetrics, Failed, TrialRecord
from search.tracking.run_values import values_of


class WandbHook:
    """Makes one run per trial and repeat, in a project of the study's name; a resumed trial continues its run."""

    def __init__(self) -> None:
        self._wandb: Any = importlib.import_module("wandb")  # of an extra
        self._study: StudyBegin | None = None
        self._runs: dict[str, Any] = {}

    def on_study_begin(self, study: StudyBegin) -> None:
        """Remember the study."""
        self._study = study

    def on_trial_begin(self, trial: TrialRecord) -> None:
        """Begin the run."""
        self._run(trial)

    def on_epoch(self, trial: TrialRecord, metrics: EpochMetrics) -> None:
        """Send the metrics of an epoch."""
        self._run(trial).log(values_of(metrics), step=metrics.epoch)

    def on_trial_end(self, trial: TrialRecord) -> None:
        """Record the outcome and finish the run."""
        run = self._run(trial)
        assert trial.outcome is not None
        run.summary["outcome"] = trial.outcome.word
        if trial.test_accuracy is not None:
            run.summary["test_accuracy"] = trial.test_accuracy
        run.finish(exit_code=1 if isinstance(trial.outcome, Failed) else 0)
        del self._runs[trial.key]

    def close(self) -> None:
        """Finish the runs of the trials that are not finished."""
        while self._runs:
            self._runs.popitem()[1].finish()

    def _run(self, trial: TrialRecord) -> Any:  # noqa: ANN401  of a package that may be missing
        if trial.key not in self._runs:
            assert self._study is not None
            self._runs[trial.key] = self._wandb.init(
                project=self._study.name,
                id=trial.key,
                name=trial.label or trial.key,
                group="sweep" if trial.kind == "trial" else "compare",
                config={**trial.point, **trial.counts},
                dir=str(self._study.folder),
                resume="allow",
                reinit="create_new",
                # What a process beside the driver prints is shown to the user.
                settings=self._wandb.Settings(silent=True, console="off", x_disable_stats=True),
            )
        return self._runs[trial.key]
