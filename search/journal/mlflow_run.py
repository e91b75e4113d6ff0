"""One run in MLflow: what is read of it and, of a run of this program, which trial, repeat or command it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "hybrid_search."
"""Beginning of the names of this program's tags."""
KEY_TAG = f"{PREFIX}key"
"""Tag with a run's deterministic key, by which it is found again."""
JOURNAL_TAG = f"{PREFIX}journal"
"""Tag with the journal's id, which every run of this program has but those of exports."""
FOLDERS_TAG = f"{PREFIX}folders"
"""Tag of the run of a sweep or of its repeats with the folders from which they were written, one per line."""
PARENT_TAG = "mlflow.parentRunId"


def maker_of(tags: Mapping[str, str]) -> str | None:
    """Return the id of a run's journal, or an export's key; None for a run of another program."""
    return tags.get(JOURNAL_TAG) or tags.get(KEY_TAG)


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """One MLflow run, of this program or of another one."""

    run_id: str
    name: str
    status: str
    """FINISHED, RUNNING, FAILED, KILLED or SCHEDULED."""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last value of each metric."""

    @property
    def parent(self) -> str | None:
        """Id of the parent run; None if it is not nested."""
        return self.tags.get(PARENT_TAG)

    @property
    def key(self) -> str:
        """Key of the trial, repeat, comparison or command; empty for a run of another program."""
        return self.tags.get(KEY_TAG, "")

    @property
    def is_comparison(self) -> bool:
        """Whether it is the run of a comparison."""
        return self.tags.get(f"{PREFIX}kind") == "comparison"

    @property
    def outcome(self) -> str:
        """Outcome of the trial or repeat; empty if it has none."""
        return self.tags.get(f"{PREFIX}outcome", "")

    @property
    def num_epochs(self) -> int:
        """Number of epochs of the trial or repeat that the run has."""
        return int(self.metrics.get("epoch", 0))

    @property
    def val_accuracy(self) -> float | None:
        """Last validation accuracy of the trial or repeat."""
        return self.metrics.get("val_accuracy")

    @property
    def test_accuracy(self) -> float | None:
        """Test accuracy of the repeat."""
        return self.metrics.get("test_accuracy")
