"""Nothing that is read executes: each kind of file with a bomb in it, and the unsafe reader that sets it off."""

from __future__ import annotations

import ast
import io
import pickle
import subprocess
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, UnidentifiedImageError

from search.analysis.faults import AnalysisError
from search.analysis.npz_file import read_npz
from search.data import cifar10_files
from search.data.datasets import DataConfig, scan
from search.data.errors import ImageError, LayoutError
from search.data.images import read_image
from search.data.store import entry_folder, open_data
from search.errors import StudyError
from search.study.load import load_study
from search.text.yaml_text import YamlError, read_yaml
from search.tracking.figures import load_confusion
from search.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[3]


def test_a_checkpoint_executes_nothing(bomb: Any, tmp_path: Path) -> None:
    for content in (bomb.in_torch(), bomb.in_pickle()):
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(content)
        assert load_checkpoint(tmp_path, "x") is None
        assert not path.exists()  # put aside, as what is damaged
        assert not bomb.went_off()
    torch.load(io.BytesIO(bomb.in_torch()), weights_only=False)
    assert bomb.went_off()


def test_an_array_executes_nothing(bomb: Any, tmp_path: Path) -> None:
    path = tmp_path / "confusion.npy"
    np.save(path, bomb.in_array(), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_confusion(path)
    assert not bomb.went_off()
    np.load(path, allow_pickle=True)
    assert bomb.went_off()


def test_an_archive_of_arrays_executes_nothing(bomb: Any, tmp_path: Path) -> None:
    path = tmp_path / "bits.npz"
    np.savez(path, correct=bomb.in_array(), configs=np.array(["a", "b"]), blocks=np.array(["1", "2"]))
    with pytest.raises(AnalysisError, match="found Python objects"):
        read_npz(path)
    assert not bomb.went_off()
    np.load(path, allow_pickle=True)["correct"]
    assert bomb.went_off()


def test_decoded_images_execute_nothing(bomb: Any, tmp_path: Path) -> None:
    config = DataConfig(name="digits")
    open_data(config, tmp_path)
    file = entry_folder(config, tmp_path) / "train_labels.npy"
    size = file.stat().st_size
    np.save(file, bomb.in_array(), allow_pickle=True)
    with file.open("ab") as stream:
        stream.write(b"\0" * (size - file.stat().st_size))  # nobody notices by its size
    with pytest.raises(ValueError, match="Python objects"):
        _ = open_data(config, tmp_path).train
    assert not bomb.went_off()
    np.load(file, allow_pickle=True)
    assert bomb.went_off()


def test_official_pickles_execute_nothing(bomb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the digests were forged: they are MD5."""
    folder = tmp_path / cifar10_files.OFFICIAL
    folder.mkdir()
    for name in (*cifar10_files.META, *cifar10_files.TRAIN, *cifar10_files.TEST):
        (folder / name).write_bytes(bomb.in_pickle())
    config = DataConfig(name="cifar10", root=str(tmp_path))
    with pytest.raises(LayoutError, match="digests do not match"):
        scan(config)
    with pytest.raises(ValueError, match=r"the pickle refers to (builtins|__builtin__)\.exec, which is not allowed"):
        cifar10_files.read_arrays(bomb.in_pickle())
    assert not bomb.went_off()
    pickle.loads(bomb.in_pickle())
    assert bomb.went_off()


class _OldPickler(pickle._Pickler):
    """Writes as Python 2 with NumPy 1 did: bytes and names of modules as text of 8 bits."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, item: bytes) -> None:
        self.write(pickle.BINSTRING + len(item).to_bytes(4, "little") + item)

    dispatch[bytes] = save_bytes

    def save_global(self, item: Any, name: str | None = None) -> None:
        module = item.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or item.__name__}\n".encode())


def test_official_pickles_of_python_2_are_read() -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(2, 30) + 190
    reduced = pixels.__reduce__()
    stream = io.BytesIO()
    pickler = _OldPickler(stream, protocol=2)
    pickler.write(pickle.PROTO + b"\2" + pickle.MARK)
    pickler.save_bytes(b"data")
    pickler.save_reduce(*reduced)
    pickler.save_bytes(b"labels")
    pickler.save([3, 4])
    pickler.write(pickle.DICT + pickle.STOP)
    content = stream.getvalue()
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    found = cifar10_files.read_arrays(content)
    assert found["labels"] == [3, 4]
    assert found["data"].dtype == np.uint8
    assert np.array_equal(found["data"], pixels)


YAML_BOMB = "name: !!python/object/apply:os.mkdir [{mark}]\n"


def test_a_study_file_executes_nothing(bomb: Any, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(YAML_BOMB.format(mark=str(bomb.mark)))
    with pytest.raises(YamlError, match="could not determine a constructor"):
        read_yaml(path.read_text())
    with pytest.raises(StudyError, match="not YAML"):
        load_study(path)
    with pytest.raises(StudyError, match="not YAML"):
        load_study(ROOT / "spaces/studies/demo.yaml", [f"name={path.read_text().partition(' ')[2]}"])
    assert not bomb.went_off()
    yaml.unsafe_load(path.read_text())
    assert bomb.went_off()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_postscript_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow goes by content, not by name, and has PostScript drawn by a program that executes it."""
    started = []
    monkeypatch.setattr(subprocess, "check_call", lambda command, **_: started.append(command))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    path = tmp_path / "a.png"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(ImageError, match="not a readable image"):
        read_image(path, (8, 8))
    assert not started
    with pytest.raises(UnidentifiedImageError), Image.open(path) as image:
        image.load()
    assert started


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ImageError, match="declares more than the maximum of 178,956,970 pixels"):
        read_image(path, (8, 8))


UNSAFE = {
    "np.load": "allow_pickle=False",
    "numpy.load": "allow_pickle=False",
    "torch.load": "weights_only=True",
    "torch.export.load": "nothing makes it safe",
    "torch.jit.load": "nothing makes it safe",
    "pickle.load": "nothing makes it safe",
    "pickle.loads": "nothing makes it safe",
    "cloudpickle.loads": "nothing makes it safe",
    "joblib.load": "nothing makes it safe",
    "pd.read_pickle": "nothing makes it safe",
    "yaml.load": "nothing makes it safe",
    "yaml.full_load": "nothing makes it safe",
    "yaml.unsafe_load": "nothing makes it safe",
    "mlflow.pytorch.load_model": "nothing makes it safe",
    "mlflow.pyfunc.load_model": "nothing makes it safe",
    "eval": "nothing makes it safe",
    "exec": "nothing makes it safe",
    "shutil.unpack_archive": "nothing makes it safe",
}
"""Call -> the argument without which it may execute what it reads, or write anywhere."""
METHODS = ("extractall", "extract", "get_pickled_error")


def _unsafe_calls(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        safe = [f"{item.arg}={ast.unparse(item.value)}" for item in node.keywords]
        if (name in UNSAFE and UNSAFE[name] not in safe) or name.rpartition(".")[2] in METHODS:
            found.append(f"{node.lineno}: {name}")
    return found


def test_unsafe_calls_are_found() -> None:
    source = "np.load(p)\nnp.load(p, allow_pickle=True)\ntorch.load(p)\ntorch.export.load(p)\neval(x)\nt.extractall(p)"
    assert [line.partition(":")[0] for line in _unsafe_calls(source)] == list("123456")
    assert _unsafe_calls("np.load(p, allow_pickle=False)\ntorch.load(p, weights_only=True)\nmodel.eval()") == []


KNOWN = {
    "search/runners/ray_tune.py": ["loads"],
    "search/own_models/loading.py": ["exec"],
    "search/export/image_classifier.py": ["load"],
}
"""A worker's own exception: who runs in the cluster is trusted. The source of an own model: docs/security.md."""


@pytest.mark.parametrize("package", ["spaces", "hybrid_models", "search"])
def test_nothing_is_read_by_what_could_execute_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        known = KNOWN.get(str(path.relative_to(ROOT)), [])
        calls = [
            line for line in _unsafe_calls(path.read_text()) if line.replace(": ", ".").rpartition(".")[2] not in known
        ]
        assert not calls, f"{path}: {calls}"
