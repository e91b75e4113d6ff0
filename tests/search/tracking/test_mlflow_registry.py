"""The winner in the registry: one version per set of weights, aliases by its state, and it predicts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from search.errors import TrackingError
from search.tracking import mlflow_registry
from search.tracking.mlflow_registry import CANDIDATE, CHAMPION, Served, register
from search.tracking.mlflow_tracker import Store

if TYPE_CHECKING:
    from conftest import Server


LOADER = """
import numpy as np, pandas as pd

class Brightness:
    def __init__(self, factor):
        self.factor = factor

    def predict(self, images):
        return pd.DataFrame({"label": ["grey"] * len(images), "probability": images.mean(axis=(1, 2, 3)) * self.factor})

def _load_pyfunc(path):
    return Brightness(float(open(path).read()))
"""


@pytest.fixture
def make_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Served]:
    """A classifier whose program is one number."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow adds the folder of a model's loader

    def make(factor: float) -> Served:
        (tmp_path / "brightness.py").write_text(LOADER)
        (tmp_path / f"{factor}.pt2").write_text(str(factor))
        return Served(
            program=tmp_path / f"{factor}.pt2",
            loader=tmp_path / "brightness.py",
            example=np.full((1, 5, 4, 3), 128, dtype=np.uint8),
            table=pd.DataFrame({"label": ["grey"], "probability": [0.5]}),
            packages=("numpy",),
        )

    return make


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_register(
    server: Server, make_served: Callable[[float], Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    export = tmp_path / "export"
    export.mkdir()
    (export / "config.yaml").write_text("name: x\n")
    (export / "README.md").write_text("# A card")
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    monkeypatch.chdir(tmp_path)
    served = {"first": make_served(0.25), "second": make_served(0.5)}
    versions: list[int] = []

    def hand_over(digest: str, alias: str | None = CHAMPION) -> int:
        return register(
            export,
            uri=server.uri,
            experiment="my-study",
            name="my-study",
            served=served[digest],
            digest=digest,
            tags={"test_accuracy": "0.5"},
            alias=alias,
            on_version=versions.append,
        )

    assert [hand_over(digest) for digest in ("first", "first", "second", "first")] == [1, 1, 2, 1]
    assert versions == [1, 1, 2, 1]
    assert len(server.client.search_model_versions("name = 'my-study'")) == 2
    assert hand_over("second", alias=None) == 2
    champion = server.client.get_model_version_by_alias("my-study", CHAMPION)
    assert int(champion.version) == 1
    assert champion.tags["hybrid_search.weights"] == "first"
    assert champion.description == "# A card"

    def aliases() -> dict[str, int]:
        return {key: int(value) for key, value in server.client.get_registered_model("my-study").aliases.items()}

    # Another one that is only nominated leaves the champion; the champion that is no longer confirmed is none.
    hand_over("second", CANDIDATE)
    assert aliases() == {CHAMPION: 1, CANDIDATE: 2}
    hand_over("first", CANDIDATE)
    assert aliases() == {CANDIDATE: 1}
    hand_over("first")
    assert aliases() == {CHAMPION: 1}
    runs = server.runs("export")
    assert {run.data.tags["hybrid_search.weights"]: run.info.status for run in runs} == {
        "first": "FINISHED",
        "second": "FINISHED",
    }
    files = server.client.list_artifacts(runs[0].info.run_id, "export")
    assert [item.path for item in files] == ["export/README.md", "export/config.yaml"]
    assert {run.data.tags["mlflow.note.content"] for run in runs} == {"# A card"}

    import mlflow

    mlflow.set_tracking_uri(server.uri)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/my-study@{CHAMPION}")
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    images = np.full((2, 7, 9, 3), 200, dtype=np.uint8)
    assert loaded.predict(images)["probability"].to_list() == [50.0, 50.0]
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, -1, -1, 3)
    assert loaded.metadata.signature.outputs.input_names() == ["label", "probability"]
    assert loaded.input_example.shape == (1, 5, 4, 3)
    # The project in the working folder is not that of the model.
    folder = Path(mlflow.artifacts.download_artifacts("models:/my-study/1", tracking_uri=server.uri))
    assert not {"uv.lock", "pyproject.toml"} & {path.name for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("steps", [("files",), ("model", "alias")])
def test_a_failure_midway_leaves_no_run_running(
    server: Server,
    make_served: Callable[[float], Served],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: tuple[str, ...],
) -> None:
    from mlflow import MlflowClient

    def hand_over() -> int:
        return register(
            tmp_path / "export",
            uri=server.uri,
            experiment="my-study",
            name="my-study",
            served=make_served(0.5),
            digest="d",
            tags={},
            alias=CHAMPION,
        )

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("the lights went out")

    (tmp_path / "export").mkdir()
    broken = {
        "files": (Store, "log_files"),
        "model": (mlflow_registry, "_log_model"),
        "alias": (MlflowClient, "set_registered_model_alias"),
    }
    for step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(*broken[step], break_down)
            with pytest.raises((RuntimeError, TrackingError), match="the lights went out"):
                hand_over()
        assert server.statuses() == {"export": "FAILED"}
    # The next export of these weights goes on with the same run.
    assert hand_over() == 1
    assert server.statuses() == {"export": "FINISHED"}


def test_nobody_there(tmp_path: Path, make_served: Callable[[float], Served]) -> None:
    with pytest.raises(TrackingError, match="connection refused"):
        register(
            tmp_path,
            uri="http://127.0.0.1:9",
            experiment="e",
            name="n",
            served=make_served(0.5),
            digest="d",
            tags={},
            alias=CHAMPION,
        )
