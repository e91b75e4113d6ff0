"""The winner handed to MLflow's model registry."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from search.errors import HybridSearchError, TrackingError
from search.journal.versions import public_version
from search.tracking.mlflow_client import UPLOAD_SECS, RejectedError, connect, translated
from search.tracking.mlflow_tracker import KEY_TAG, Store, StoredRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from numpy.typing import NDArray


class Model(Protocol):
    """A torch module, of which only this is needed here."""

    def eval(self) -> object:
        """Put it in evaluation mode."""
        ...


CHAMPION = "champion"
"""Alias of the version that was a confirmed winner when it was exported last."""
CANDIDATE = "candidate"
"""Alias of the version that was nominated and not confirmed when it was exported last."""


def register(
    folder: Path,
    *,
    uri: str,
    experiment: str,
    name: str,
    model: Model,
    example: NDArray[np.generic],
    scores: NDArray[np.float32],
    digest: str,
    tags: Mapping[str, str],
    alias: str | None,
) -> int:
    """Hand an exported model to MLflow: its folder as artifacts, the model itself, and a registered version.

    The same weights make one version only, however often they are exported.

    Args:
        folder: The export.
        uri: MLflow tracking URI.
        experiment: MLflow experiment, made if missing.
        name: Name of the registered model.
        model: Module that maps a batch of inputs to scores; put in evaluation mode.
        example: (num_images, ...) at least two images, as one would be taken for a fixed batch size.
        scores: What the model makes of the example, (num_images, ...).
        digest: Digest of the weights.
        tags: For the run and the version.
        alias: CHAMPION or CANDIDATE, which moves here, or None for what was chosen by hand. A champion leaves no
            candidate, and a candidate is no longer champion if it was.

    Returns:
        The version in the registry.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    marks = {KEY_TAG: "export", "hybrid_search.weights": digest}
    try:
        store = Store(uri, experiment)
        runs = store.runs(marks)
        run = runs[0] if runs else store.create(name=f"{name} export", tags=marks, at_ms=_now_ms())
        with _failing(store, run):
            store.log(run, tags=tags)
            store.log_files(run, folder, "export")
            with translated(uri, secs=UPLOAD_SECS):
                client = connect(uri)
                found = client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'")
                version = str(found[0].version) if found else _log_model(uri, run.run_id, name, model, example, scores)
                for key, text in {**tags, **marks}.items():
                    client.set_model_version_tag(name, version, key, text)
                if alias is not None:
                    _move_alias(client, name, alias, version)
            store.set_status(run, "FINISHED", _now_ms())
    except RejectedError as error:
        raise TrackingError(*error.faults) from None
    return int(version)


def _move_alias(client: MlflowClient, name: str, alias: str, version: str) -> None:
    """Give a version its alias, and take the other one away where it no longer holds."""
    client.set_registered_model_alias(name, alias, version)
    held = {key: str(value) for key, value in client.get_registered_model(name).aliases.items()}
    if alias == CHAMPION and CANDIDATE in held:
        client.delete_registered_model_alias(name, CANDIDATE)
    if alias == CANDIDATE and held.get(CHAMPION) == version:
        client.delete_registered_model_alias(name, CHAMPION)


@contextlib.contextmanager
def _failing(store: Store, run: StoredRun) -> Iterator[None]:
    """Whatever interrupts the hand-over, the run does not look as if it were still at work."""
    try:
        yield
    except BaseException:
        # MLflow's own start_run opens and ends the run too: what we know of its status may be old.
        run.status = "RUNNING"
        with contextlib.suppress(HybridSearchError):
            store.set_status(run, "FAILED", _now_ms())
        raise


def _log_model(
    uri: str, run_id: str, name: str, model: Model, example: NDArray[np.generic], scores: NDArray[np.float32]
) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    model.eval()
    # log_model knows server and run from global state only; it is set for this one call and put back.
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
            # torch.export remarks on nn.LSTM's own list of weights.
            warnings.filterwarnings("ignore", message="The tensor attributes")
            info = mlflow.pytorch.log_model(
                model,
                name="model",
                signature=infer_signature(example, scores),
                input_example=example,
                serialization_format="pt2",
                # Guessing them would load the model in yet another process.
                pip_requirements=[f"{name}=={public_version(name)}" for name in ("torch", "numpy")],
            )
        client = connect(uri)
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name)
        return str(client.create_model_version(name, info.model_uri, run_id=run_id, model_id=info.model_id).version)
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None is what resets it


def _now_ms() -> int:
    return round(time.time() * 1000)
