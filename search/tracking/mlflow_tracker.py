"""One MLflow experiment with few, batched requests and runs found by their tags.

`mirror.py` decides what is sent.
"""

from __future__ import annotations

import getpass
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import TrackingError
from search.journal.mlflow_run import MlflowRun
from search.tracking.foreign import deleted
from search.tracking.mlflow_client import UPLOAD_SECS, artifact_location, connect, translated
from search.tracking.mlflow_runs import search_runs

if TYPE_CHECKING:
    from mlflow.entities import Experiment

ARTIFACT_NAMES = {
    "report.html": "1_report.html",
    "sweep.png": "2_sweep.png",
    "pareto_front.png": "3_pareto_front.png",
    "importance": "4_importance",
    "curves.png": "1_curves.png",
    "confusion.png": "2_confusion.png",
    "test_confusion.png": "3_test_confusion.png",
    "forest.png": "1_forest.png",
    "table.md": "2_table.md",
    "superiority.png": "3_superiority.png",
    "planning.png": "4_planning.png",
}
"""Names of artifacts that one looks at, as MLflow lists the artifacts of a run in alphabetical order."""
MAX_PARAM_CHARS = 6_000
MAX_TAG_CHARS = 5_000
MAX_KEY_CHARS = 250


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of one metric."""

    name: str
    value: float
    step: int
    at_ms: int
    """Milliseconds since 1970, from the journal, so that a value sent twice is stored once."""


class Store:
    """One experiment of a tracking server, with one method per kind of request. Not thread-safe.

    Every method raises `TrackingError` if MLflow is unreachable (retry later), and `RejectedError` if it will never
    accept the request. Methods that change a run return it as it is then.

    Args:
        uri: MLflow tracking URI.
        experiment: Name of the experiment; created if missing.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        with translated(uri):
            self._client = connect(uri)
            found = self._find_experiment(experiment)
        self.experiment_id = str(found.experiment_id)
        self._experiment_tags: dict[str, str] = dict(found.tags)

    def _find_experiment(self, name: str) -> Experiment:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                made = self._client.create_experiment(name, artifact_location=artifact_location(self.uri, name))
                return self._client.get_experiment(made)
            except MlflowException as error:
                found = self._client.get_experiment_by_name(name)
                if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(f"{self.uri}: {deleted(name)}")
        return found

    def describe(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment, without those that it already has."""
        for key, text in tags.items():
            if self._experiment_tags.get(key) != text:
                with translated(self.uri):
                    self._client.set_experiment_tag(self.experiment_id, key, text)
                self._experiment_tags[key] = text

    def runs(self, tags: Mapping[str, str]) -> list[MlflowRun]:
        """Return all runs that have these tags, oldest first."""
        clause = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return search_runs(self._client, self.uri, self.experiment_id, clause)

    def create(self, *, name: str, tags: Mapping[str, str], at_ms: int) -> MlflowRun:
        """Create a run with status RUNNING that started at `at_ms`, in milliseconds since 1970."""
        texts = {_name(key): short(value) for key, value in {**_user(), **tags}.items()}
        with translated(self.uri):
            run = self._client.create_run(self.experiment_id, start_time=at_ms, tags=texts, run_name=name)
        return MlflowRun(run_id=run.info.run_id, name=name, status="RUNNING", tags=texts)

    def log(
        self,
        run: MlflowRun,
        *,
        metrics: Iterable[Point] = (),
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> MlflowRun:
        """Send values in as few requests as MLflow's limits allow, without tags and parameters that the run has.

        Args:
            run: The run.
            metrics: Values to append to its metrics.
            params: Parameters. One that the run has is not sent, because MLflow cannot change it.
            tags: Tags to set. Empty ones are not sent, long ones are cut.

        Returns:
            The run with these values.
        """
        from mlflow.entities import Metric, Param, RunTag

        news, named = new_tags(run, tags or {}), new_params(run, params or {})
        values = [Metric(_name(item.name), item.value, item.at_ms, item.step) for item in metrics]
        if not (news or values or named):
            return run
        with translated(self.uri):
            # The client splits batches above the limits of one request (1,000 metrics, 100 params or tags).
            self._client.log_batch(
                run.run_id,
                metrics=values,
                params=[Param(key, text) for key, text in named.items()],
                tags=[RunTag(key, text) for key, text in news.items()],
            )
        return replace(
            run,
            params={**run.params, **named},
            tags={**run.tags, **news},
            metrics={**run.metrics, **{item.key: item.value for item in values}},
        )

    def log_dataset(self, run: MlflowRun, data: Mapping[str, Any]) -> None:
        """Record the data set that a run was trained on. Sent twice, it is stored once.

        Args:
            run: The run.
            data: Data of a `session` event of the journal: name, digest, root and counts.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = {key: value for key, value in data.items() if key.startswith("num_")}
        dataset = Dataset(
            name=str(data["name"]),
            digest=str(data["digest"])[:36],
            source_type="local",
            source=json.dumps({"uri": str(data.get("root") or data["name"])}),
            profile=json.dumps(profile),
        )
        context = InputTag(key="mlflow.data.context", value="training")
        with translated(self.uri):
            self._client.log_inputs(run.run_id, datasets=[DatasetInput(dataset, tags=[context])])

    def set_status(self, run: MlflowRun, status: str, at_ms: int | None = None) -> MlflowRun:
        """End a run at `at_ms` or reopen it, and return it; nothing is sent if its status is the same."""
        if run.status == status:
            return run
        with translated(self.uri):
            if status == "RUNNING":
                self._client.update_run(run.run_id, status=status)
            else:
                self._client.set_terminated(run.run_id, status=status, end_time=at_ms)
        return replace(run, status=status)

    def delete(self, run: MlflowRun) -> None:
        """Delete a run; MLflow can restore it."""
        with translated(self.uri):
            self._client.delete_run(run.run_id)

    def log_file(self, run: MlflowRun, file: Path) -> None:
        """Upload a file or folder as an artifact of a run, under its own name or that of `ARTIFACT_NAMES`."""
        with tempfile.TemporaryDirectory() as folder, translated(self.uri, secs=UPLOAD_SECS):
            if file.name in ARTIFACT_NAMES:
                named = Path(folder, ARTIFACT_NAMES[file.name])
                named.symlink_to(file.absolute())
                file = named
            self._client.log_artifact(run.run_id, str(file))

    def log_files(self, run: MlflowRun, folder: Path, name: str) -> None:
        """Upload the content of a folder, into the artifact folder `name` of a run."""
        with translated(self.uri, secs=UPLOAD_SECS):
            self._client.log_artifacts(run.run_id, str(folder), name)


def new_tags(run: MlflowRun, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that a run lacks or has with another text, in MLflow's form."""
    texts = {_name(key): short(value) for key, value in tags.items()}
    return {key: text for key, text in texts.items() if text and run.tags.get(key) != text}


def new_params(run: MlflowRun, params: Mapping[str, object]) -> dict[str, str]:
    """Return the parameters that a run lacks, in MLflow's form."""
    texts = {_name(key): short(str(value), MAX_PARAM_CHARS) for key, value in params.items()}
    return {key: text for key, text in texts.items() if key not in run.params}


def _name(text: str) -> str:
    """Return a key in the form that MLflow accepts: allowed characters, and a normalised path."""
    parts = re.sub(r"[^\w.\-/: ]", "_", text).split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})[:MAX_KEY_CHARS].rstrip("/") or "_"


def short(text: str, limit: int = MAX_TAG_CHARS) -> str:
    """Return a text, cut with a remark if it is longer than a limit of MLflow."""
    if len(text) <= limit:
        return text
    mark = f"... (cut, {len(text)} characters)"
    return text[: limit - len(mark)] + mark


def _user() -> dict[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        # A container may run under a user id without a name.
        return {}
