"""Register an exported model in MLflow's model registry."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.errors import HybridSearchError, TrackingError
from search.journal.mlflow_run import KEY_TAG, MlflowRun
from search.journal.versions import public_version
from search.tracking.descriptions import description_tags
from search.tracking.mlflow_client import UPLOAD_SECS, RejectedError, connect, translated
from search.tracking.mlflow_tracker import Store, short

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """A classifier that MLflow registers and serves."""

    program: Path
    """Exported program."""
    loader: Path
    """Python file of the function `_load_pyfunc`, which loads the program; MLflow stores a copy of it."""
    example: NDArray[np.uint8]
    """Images, (batch, height, width, 3)."""
    table: pd.DataFrame
    """The classifier's output for the example."""
    packages: tuple[str, ...]
    """Distributions that the loader imports."""


CHAMPION = "champion"
"""Alias of the version that was a confirmed winner at its latest export."""
CANDIDATE = "candidate"
"""Alias of the version that was nominated but not confirmed at its latest export."""


def register(
    folder: Path,
    *,
    uri: str,
    experiment: str,
    name: str,
    served: Served,
    digest: str,
    tags: Mapping[str, str],
    alias: str | None,
    on_version: Callable[[int], None] = lambda _: None,
) -> int:
    """Register an exported model in MLflow: its folder as artifacts, the model, and a registered version with its card.

    The same weights make only one version, however often they are exported.

    Args:
        folder: Folder of the export.
        uri: MLflow tracking URI.
        experiment: MLflow experiment; created if missing.
        name: Name of the registered model.
        served: The classifier.
        digest: Digest of the weights.
        tags: Tags of the run and the version.
        alias: CHAMPION or CANDIDATE, moved to this version; None for a manually chosen model. CHAMPION removes the
            CANDIDATE alias; CANDIDATE removes the CHAMPION alias from this version.
        on_version: Receives the number of the version before the folder is uploaded.

    Returns:
        Number of the version in the registry.

    Raises:
        TrackingError: MLflow is unreachable or rejects the model.
    """
    marks = {KEY_TAG: "export", "hybrid_search.weights": digest}
    try:
        store = Store(uri, experiment)
        runs = store.runs(marks)
        run = runs[0] if runs else store.create(name=f"{name} export", tags=marks, at_ms=_now_ms())
        with _failing(store, run):
            run = store.log(run, tags=tags)
            with translated(uri, secs=UPLOAD_SECS):
                client = connect(uri)
                found = client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'")
                version = str(found[0].version) if found else _log_model(uri, run.run_id, name, served)
                for key, text in {**tags, **marks}.items():
                    client.set_model_version_tag(name, version, key, text)
                if alias is not None:
                    _move_alias(client, name, alias, version)
                on_version(int(version))
                if card := _card(folder):  # it names the version
                    client.update_model_version(name, version, description=card)
            run = store.log(run, tags=description_tags(run, card))
            store.log_files(run, folder, "export")
            store.set_status(run, "FINISHED", _now_ms())
    except RejectedError as error:
        raise TrackingError(*error.faults) from None
    return int(version)


def _card(folder: Path) -> str:
    """Return the model card of an export, cut at MLflow's limit; empty if there is none."""
    file = folder / "README.md"
    return short(file.read_text(encoding="utf-8")) if file.is_file() else ""


def _move_alias(client: MlflowClient, name: str, alias: str, version: str) -> None:
    """Set a version's alias, and remove the other alias if it no longer holds."""
    client.set_registered_model_alias(name, alias, version)
    held = {key: str(value) for key, value in client.get_registered_model(name).aliases.items()}
    if alias == CHAMPION and CANDIDATE in held:
        client.delete_registered_model_alias(name, CANDIDATE)
    if alias == CANDIDATE and held.get(CHAMPION) == version:
        client.delete_registered_model_alias(name, CHAMPION)


@contextlib.contextmanager
def _failing(store: Store, run: MlflowRun) -> Iterator[None]:
    """Mark the run as FAILED if the registration is interrupted, so that it does not stay RUNNING."""
    try:
        yield
    except BaseException:
        # MLflow's own start_run opens and ends the run too, so the known status may be outdated.
        with contextlib.suppress(HybridSearchError):
            store.set_status(dataclasses.replace(run, status="RUNNING"), "FAILED", _now_ms())
        raise


def _log_model(uri: str, run_id: str, name: str, served: Served) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types.schema import Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
        outputs=infer_signature(served.example, served.table).outputs,
    )
    # log_model takes server and run from global state only, so set it for this call and restore it.
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run(run_id=run_id), _without_project():
            info = mlflow.pyfunc.log_model(
                name="model",
                loader_module=served.loader.stem,
                data_path=str(served.program),
                code_paths=[str(served.loader)],
                signature=signature,
                input_example=served.example,
                # Inferring them would load the model in another process.
                pip_requirements=[f"{name}=={public_version(name)}" for name in served.packages],
            )
        client = connect(uri)
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name)
        return str(client.create_model_version(name, info.model_uri, run_id=run_id, model_id=info.model_id).version)
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None resets it


@contextlib.contextmanager
def _without_project() -> Iterator[None]:
    """Keep MLflow from copying the uv project of the working folder into the model, and installing it there."""
    name = "MLFLOW_UV_AUTO_DETECT"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _now_ms() -> int:
    return round(time.time() * 1000)
