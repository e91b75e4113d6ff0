"""The winner in the registry: one version per set of weights, aliases by its state, and it predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from search.errors import TrackingError
from search.tracking import mlflow_registry
from search.tracking.mlflow_registry import CANDIDATE, CHAMPION, register
from search.tracking.mlflow_tracker import Store

if TYPE_CHECKING:
    from conftest import Server


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(4, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(images.mean(dim=1))
        return self.head(states[:, -1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_register(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    export = tmp_path / "export"
    export.mkdir()
    (export / "config.yaml").write_text("name: x\n")
    (export / "README.md").write_text("# A card")
    torch.manual_seed(0)
    example = np.random.default_rng(0).random((2, 3, 5, 4), dtype=np.float32)
    models = {"first": Tiny(), "second": Tiny()}

    def hand_over(digest: str, alias: str | None = CHAMPION) -> int:
        return register(
            export,
            uri=server.uri,
            experiment="my-study",
            name="my-study",
            model=models[digest],
            example=example,
            scores=np.zeros((2, 2), dtype=np.float32),
            digest=digest,
            tags={"test_accuracy": "0.5"},
            alias=alias,
        )

    assert [hand_over(digest) for digest in ("first", "first", "second", "first")] == [1, 1, 2, 1]
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
    images = np.random.default_rng(1).random((5, 3, 5, 4), dtype=np.float32)
    with torch.no_grad():
        expected = models["first"](torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(loaded.predict(images), expected, rtol=1e-5, atol=1e-6)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 3, 5, 4)
    assert loaded.input_example.shape == (2, 3, 5, 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("steps", [("files",), ("model", "alias")])
def test_a_failure_midway_leaves_no_run_running(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[str, ...]
) -> None:
    from mlflow import MlflowClient

    def hand_over() -> int:
        return register(
            tmp_path / "export",
            uri=server.uri,
            experiment="my-study",
            name="my-study",
            model=Tiny(),
            example=np.zeros((2, 3, 5, 4), dtype=np.float32),
            scores=np.zeros((2, 2), dtype=np.float32),
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


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="connection refused"):
        register(
            tmp_path,
            uri="http://127.0.0.1:9",
            experiment="e",
            name="n",
            model=Tiny(),
            example=np.zeros((2, 3, 5, 4), dtype=np.float32),
            scores=np.zeros((2, 2), dtype=np.float32),
            digest="d",
            tags={},
            alias=CHAMPION,
        )
