"""An export without this package: program, ONNX Runtime, MLflow and HTTP, by the lines that its model card prints."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import search
from search.data.store import ImageData
from search.errors import InputError
from search.export import onnx_program
from search.export.image_classifier import ImageClassifier
from search.export.onnx_program import check_packages, write_onnx
from search.export.predict import predict
from search.export.usage import to_usage


def needs_onnx() -> None:
    """Skip a test if the extra `onnx` is not installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)


CLASSES = [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> search.Study:
    """A study of one small network, swept."""
    made = search.Study.from_dict(
        {
            "name": "hand-over",
            "storage": str(tmp_path_factory.mktemp("runs")),
            "data": {"name": "digits", "limit": 100},
            "space": {
                "backbone": "cnn4",
                "cnn_bn": True,
                "cnn_dropout": 0.0,
                "enc_on": False,
                "rnn": "none",
                "pool_head": "flatten",
                "fc": "-",
                "dropout": 0.0,
                "lr": [0.01],
            },
            "train": {"epochs": 1, "batch": 16, "precision": "float32"},
            "search": {"trials": 1, "scheduler": "none", "sampler": "grid"},
            "resources": {"runner": "inline"},
            "compare": {"repeats": 2},
        }
    )
    made.sweep()
    return made


@pytest.fixture(scope="module")
def exported(study: search.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export with the ONNX form, registered in MLflow, and a photo beside the files."""
    needs_onnx()
    folder = tmp_path_factory.mktemp("hand-over") / "winner"
    row = study.export(folder, onnx=True).data
    assert row["registered"] == "hand-over version 1", row["problem"]
    return folder


@pytest.fixture
def place(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of the export and a photo."""
    shutil.copytree(exported, tmp_path / "place")
    pixels = np.random.default_rng(0).integers(0, 256, (13, 29, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "place" / "photo.jpg")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def lines_of(folder: Path, language: str) -> list[str]:
    """The blocks of code in the model card."""
    return re.findall(rf"```{language}\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "package"), [(0, "torch"), (1, "onnxruntime")])
def test_the_printed_lines_predict_as_the_command(
    place: Path, capsys: pytest.CaptureFixture[str], number: int, package: str
) -> None:
    (wanted,) = predict(place, [Path("photo.jpg")]).predictions
    lines = lines_of(place, "python")[number]
    assert package in lines.splitlines()[0]
    assert len(lines.splitlines()) == 6
    exec(compile(lines, "README.md", "exec"), {})
    probability, label = eval(capsys.readouterr().out)
    assert label == wanted.label
    assert probability == pytest.approx(wanted.probability, abs=1e-5)


@pytest.mark.slow
def test_the_onnx_form_was_checked_and_takes_any_batch(place: Path) -> None:
    check = json.loads(Path("evidence.json").read_text())["onnx"]
    assert check["largest_difference"] <= 1e-5
    assert f"opset {check['opset']}" in Path("README.md").read_text()
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession("model.onnx")
    pixels = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    (found,) = session.run(None, {"images": pixels})
    with torch.no_grad():
        wanted = torch.export.load("model.pt2").module()(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    (single,) = session.run(None, {"images": pixels[:1]})
    np.testing.assert_allclose(single, wanted[:1], atol=1e-5)


@pytest.fixture
def uri(study: search.Study) -> str:
    """Where it is registered."""
    place = study.mlflow_experiment
    assert place is not None
    return place.uri


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_registered_model_is_a_table_for_images_of_any_size(
    place: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(sys, "path", [*sys.path])
    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model("models:/hand-over/1")
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    wanted = search.load(place).predict(["photo.jpg"])
    table = model.predict(np.asarray(Image.open("photo.jpg").convert("RGB"))[None])
    assert list(table.columns) == list(wanted.columns)[1:]
    assert table["label"].to_list() == wanted["label"].to_list()
    np.testing.assert_allclose(table.iloc[:, 1:].to_numpy(), wanted.iloc[:, 2:].to_numpy(), atol=1e-5)
    signature = model.metadata.signature
    assert (signature.inputs.inputs[0].type, signature.inputs.inputs[0].shape) == (np.uint8, (-1, -1, -1, 3))
    assert signature.outputs.input_names() == ["label", "probability", *(f"P({name})" for name in CLASSES)]
    assert model.predict(model.input_example)["label"][0] in CLASSES


@contextlib.contextmanager
def serving(lines: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the lines that start a server, until it answers."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    port = int(re.findall(r"--port (\d+)", lines)[0])
    server = subprocess.Popen(["sh", "-c", lines], env=os.environ | {"PATH": path}, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, "the server ended"
            time.sleep(0.5)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "manager",
    [
        "local",
        pytest.param(
            "uv", marks=pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which builds environments")
        ),
    ],
)
def test_the_printed_lines_serve_the_model(place: Path, uri: str, manager: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    serve, ask = (text.replace("5001", str(port)) for port in [free_port()] for text in lines_of(place, "sh"))
    assert f"MLFLOW_TRACKING_URI={uri}" in serve
    assert "--model-uri models:/hand-over/1 --env-manager local " in serve
    with serving(serve.replace("--env-manager local", f"--env-manager {manager}")):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        asked = subprocess.run(
            ["sh", "-c", ask], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True, timeout=120
        )
    (row,) = json.loads(asked.stdout)["predictions"]
    wanted = search.load(place).predict(["photo.jpg"]).iloc[0].to_dict()
    assert row["label"] == wanted["label"]
    for name in CLASSES:
        assert row[f"P({name})"] == pytest.approx(wanted[f"P({name})"], abs=1e-5)


@pytest.mark.slow
def test_the_number_of_the_version_is_in_the_card(exported: Path, study: search.Study, uri: str) -> None:
    text = (exported / "README.md").read_text()
    assert "models:/hand-over/1 --env-manager" in text
    assert "VERSION" not in text
    assert "hand-over/VERSION" in to_usage(
        {"height": 8, "width": 8, "squeezed_to": None}, onnx=False, study="hand-over", tracking_uri=uri
    )


def test_images_are_resized_and_cropped_as_those_of_a_streamed_set() -> None:
    seen: list[Any] = []

    def program(pixels: Any) -> Any:
        seen.append(pixels)
        return np.full((len(pixels), 2), 0.5, dtype=np.float32)

    metadata = {"classes": ["a", "b"], "resized_to": 16, "height": 14, "width": 14}
    classifier = ImageClassifier(program, metadata)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), dtype=np.uint8)
    table = classifier.predict(pixels)
    assert table["probability"].to_list() == [0.5, 0.5]
    resized = Image.fromarray(pixels[1]).resize((16, 16), Image.Resampling.BILINEAR)
    assert (seen[0][1] == np.asarray(resized.crop((1, 1, 15, 15)))).all()
    assert classifier.predict(pixels[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((1, 8, 8, 3), dtype=np.float32), "expected uint8 pixels"),
        (np.zeros((8, 8, 3), dtype=np.uint8), "expected uint8 pixels"),
        (np.zeros((1, 8, 8, 4), dtype=np.uint8), "expected uint8 pixels"),
        (np.ones((1, 8, 8, 3), dtype=np.uint8), "found none above 1; send no fractions"),
    ],
)
def test_other_pixels_are_refused_by_a_registered_model(images: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageClassifier(lambda _: np.empty(0), {}).predict(images)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "onnxscript" else find(name, *rest)
    )
    with pytest.raises(InputError, match=r"--onnx: expected the packages .*, found no onnxscript; install .*\[onnx\]"):
        check_packages()


BESSEL = """
import torch

class Bessel(torch.nn.Module):
    def forward(self, pixels):
        feats = pixels.float().mean(dim=(1, 2))
        return torch.special.bessel_j0(feats).softmax(dim=1)
"""


@pytest.mark.slow
def test_an_operator_without_onnx_form_is_one_line(digits: ImageData, tmp_path: Path) -> None:
    needs_onnx()
    found: dict[str, Any] = {}
    exec(compile(BESSEL, "<study>/my_models.py", "exec"), found)  # as the source of an own model is
    example = torch.zeros((2, 8, 8, 3), dtype=torch.uint8)
    program = torch.export.export(
        found["Bessel"](), (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
    )
    words = r"--onnx: .* form: my_models\.py:7: no ONNX operator for aten\.special_bessel_j0\.default; export"
    with pytest.raises(InputError, match=words) as refused:
        write_onnx(program, tmp_path / "model.onnx", metadata={}, data=digits)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_a_refused_onnx_form_leaves_the_older_export(
    study: search.Study, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_program, "TOLERANCE", -1.0)
    target = tmp_path / "winner"
    shutil.copytree(exported, target)
    (target / "README.md").write_text("old")
    with pytest.raises(InputError, match="expected the probabilities of the program within -1, found a difference"):
        study.export(target, onnx=True, trial=0)
    assert (target / "README.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["winner"]
