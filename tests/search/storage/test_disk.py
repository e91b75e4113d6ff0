"""What a disk fails at is never a trial's failure, and leaves no half file."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch

from search.data.store import ImageData
from search.errors import InputError, StorageFaultError
from search.journal.reading import read_records
from search.records import Completed, Progress
from search.storage.disk import MENDS, find_fault, is_storage_fault, load_array, write_bytes, write_whole
from search.study.config import StudyConfig
from search.training import ticks
from search.training.checkpoint import load_checkpoint, save_array, save_checkpoint, save_weights
from search.training.loop import train
from search.training.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
WRITERS: dict[str, Callable[[Path, torch.Tensor], None]] = {
    "checkpoint.pt": lambda path, tensor: save_checkpoint(path.parent, {"key": "k", "w": tensor}),
    "w.safetensors": lambda path, tensor: save_weights(path, {"w": tensor}),
    "a.npy": lambda path, tensor: save_array(path, tensor.numpy()),
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 32 megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_in_words_and_keeps_the_old_file(small_disk: Path, name: str) -> None:
    path, write = small_disk / name, WRITERS[name]
    write(path, torch.zeros(1000))
    before = path.read_bytes()
    with pytest.raises(StorageFaultError) as caught:
        write(path, torch.zeros(10**7))
    (line,) = caught.value.faults
    assert (
        f"{name}: cannot be used on node {os.uname().nodename} (No space left on device); free disk space, then run"
    ) in line
    assert line.count(str(small_disk)) == 1
    assert path.read_bytes() == before
    assert names(small_disk) == [name]
    arrived = pickle.loads(pickle.dumps(caught.value))
    assert (type(arrived), arrived.faults, arrived.exit_code) == (StorageFaultError, (line,), 2)


def test_a_read_only_disk_is_told_in_words(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name, write in WRITERS.items():
        with pytest.raises(
            StorageFaultError, match=(r"cannot be used on node .* \(Read-only file system\); make it writable, then")
        ):
            write(small_disk / name, torch.zeros(10))


def run(spec: TrialSpec, data: ImageData, folder: Path, **options: Any) -> list[Progress]:
    return [item for item in train(spec, data, folder, device="cpu", **options) if item is not None]


def test_a_training_on_a_full_disk_goes_on_where_it_was(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, small_disk: Path
) -> None:
    spec = make_spec(epochs=3, dropout=0.5)
    whole = run(spec, digits, tmp_path / "whole")
    folder = small_disk / "trial"
    training = train(spec, digits, folder, device="cpu")
    assert next(training) is not None
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"0" * 4096)
    with pytest.raises(
        StorageFaultError, match=(r"checkpoint\.pt: cannot be used on node .* \(No space left on device\)")
    ):
        list(training)
    assert names(folder) == ["checkpoint.pt"]
    ballast.unlink()
    again = run(spec, digits, folder, num_known_epochs=1)
    assert [item.metrics.train_loss for item in again] == [item.metrics.train_loss for item in whole[1:]]
    assert (folder / "weights-0.safetensors").read_bytes() == (tmp_path / "whole/weights-0.safetensors").read_bytes()


@pytest.mark.parametrize("number", MENDS)
@pytest.mark.parametrize("what", ["write", "fsync", "rename"])
def test_each_of_its_faults_is_the_machines(
    tmp_path: Path, number: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    def write(stream: IO[bytes]) -> None:
        stream.write(b"half")
        if what == "write":
            fail()

    with monkeypatch.context() as patch:
        if what == "fsync":
            patch.setattr(os, "fsync", fail)
        if what == "rename":
            patch.setattr(Path, "replace", fail)
        with pytest.raises(StorageFaultError, match=re.escape(MENDS[number])):
            write_whole(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_other_faults_are_left_as_they_are(tmp_path: Path) -> None:
    def write(_: IO[bytes]) -> None:
        raise OSError("the library's own, without a number of the system")

    with pytest.raises(OSError, match="library's own"):
        write_whole(tmp_path / "file", write)
    with pytest.raises(RuntimeError, match="shapes"):
        save_checkpoint(tmp_path, {"bad": _Unpicklable()})


class _Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("shapes do not match")


def test_the_folder_is_flushed_after_the_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, list[str]]] = []
    original = os.fsync

    def fsync(handle: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{handle}").readlink().name, names(tmp_path)))
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("secrets.token_hex", lambda _: "0badcafe")
    save_array(tmp_path / "a.npy", np.arange(3))
    assert [name for name, _ in flushed] == [".a.npy.0badcafe", tmp_path.name]
    assert flushed[1][1] == ["a.npy"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE, errno.EINVAL])
def test_a_checkpoint_that_cannot_be_read_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    save_checkpoint(tmp_path, {"key": "k", "epoch": 3})

    def read(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        with pytest.raises(StorageFaultError, match=rf"checkpoint\.pt: .*\({os.strerror(number)}\); .*run the same"):
            load_checkpoint(tmp_path, "k")
    assert names(tmp_path) == ["checkpoint.pt"]
    state = load_checkpoint(tmp_path, "k")
    assert state is not None
    assert state["epoch"] == 3


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (PermissionError(errno.EACCES, "no"), errno.EACCES),
        (OSError(errno.EINVAL, "of any number"), errno.EINVAL),
        (RuntimeError("[enforce fail] unable to mmap: Too many open files (24)"), errno.EMFILE),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), errno.EMFILE),
        (RuntimeError("shapes do not match"), None),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: Error code 12 (Cannot allocate memory)"), None),
        (ValueError("No space left on device"), None),
        (OSError("cannot identify image file"), None),
    ],
)
def test_one_function_decides_what_is_the_machines_fault(error: Exception, number: int | None) -> None:
    fault = find_fault(error)
    assert (fault and fault.errno) == number
    assert is_storage_fault(f"{type(error).__name__}: {error}") == (number is not None)


def test_a_fault_behind_an_error_of_a_library_is_found() -> None:
    def fail(number: int) -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            raise RuntimeError("PytorchStreamWriter failed writing file data/0") from None

    for number, found in ((errno.EFBIG, True), (errno.ENOENT, False)):  # a library looks for files in many places
        with pytest.raises(RuntimeError) as caught:
            fail(number)
        assert (find_fault(caught.value) is not None) == found


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path, make_spec: MakeSpec, digits: ImageData) -> None:
    trials = tmp_path / "study" / "trials"
    trials.mkdir(parents=True)
    training = train(make_spec(epochs=3), digits, trials / "a", device="cpu")
    assert next(training) is not None
    (tmp_path / "study").rename(tmp_path / "moved")
    with pytest.raises(StorageFaultError, match=r"\(No such file or directory\); move the folder back to its place"):
        list(training)
    assert names(tmp_path) == ["moved"]
    assert names(tmp_path / "moved" / "trials" / "a") == ["checkpoint.pt"]


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("save_checkpoint", errno.ENOSPC),
        ("save_weights", errno.EACCES),
        ("save_array", errno.EMFILE),
        ("load_newest", errno.EINTR),
        ("Learner", errno.EFBIG),
    ],
)
def test_a_fault_of_the_machine_ends_a_sweep_in_words_and_no_trial_fails(
    make_study: Callable[..., StudyConfig], driver: Any, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    options = ("search.trials=2", "search.scheduler=none", "train.epochs=2")
    calm = driver.sweep(make_study(*options, name="calm"))
    study = make_study(*options)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/disk/file")

    with monkeypatch.context() as patch:
        patch.setattr(f"search.training.loop.{place}", fail)
        with pytest.raises(
            StorageFaultError, match=r"^/disk/file: cannot be used on node .*, then run the same command"
        ):
            driver.sweep(study)
    (waiting,) = read_records(study.folder).values()
    assert waiting.outcome is None
    records = driver.sweep(study)
    assert [record.outcome for record in records] == [Completed()] * 2
    assert [record.curve[-1].train_loss for record in records] == [record.curve[-1].train_loss for record in calm]


def test_nothing_of_a_checkpoint_outlives_its_trial(
    make_study: Callable[..., StudyConfig], driver: Any, monkeypatch: pytest.MonkeyPatch, killed: type[BaseException]
) -> None:
    study = make_study("search.trials=1", "search.scheduler=none")
    monkeypatch.setattr(ticks, "TICK_SECS", 0.0)

    def kill(sweep: Any) -> None:
        if sweep.records[0].curve:
            raise killed

    with pytest.raises(killed):
        driver.sweep(study, watch=kill)
    (record,) = read_records(study.folder).values()
    folder = study.folder / "trials" / record.key
    (folder / "checkpoint.pt").write_bytes(b"no zip")
    (folder / "checkpoint-middle.pt").write_bytes(b"no zip, either")
    (ended,) = driver.sweep(study)
    assert ended.outcome == Completed()
    assert ended.machine["damaged_checkpoint"] is True
    assert names(folder) == ["confusion.npy", "val_correct.npy", "weights-0.safetensors"]
    assert ended.resumed == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "expected an array from a training run, found no file"),
        (b"", "damaged (EOF"),
        (b"PK\x03\x04", "damaged ("),
        (np.zeros((2, 5), "uint8"), None),
        (np.zeros((2, 4), "uint8"), "expected rows of 5 uint8, found uint8 of shape (2, 4)"),
        (np.zeros((0, 5), "uint8"), "found uint8 of shape (0, 5)"),
        (np.zeros(5, "uint8"), "found uint8 of shape (5,)"),
        (np.zeros((2, 5)), "found float64"),
        ("cut", "damaged ("),
        ("pipe", "found no file"),
    ],
)
def test_an_array_of_a_training_is_checked_where_it_is_read(tmp_path: Path, content: Any, words: str | None) -> None:
    path = tmp_path / "correct.npy"
    if isinstance(content, np.ndarray):
        save_array(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "cut":
        save_array(path, np.zeros((2, 5), "uint8"))
        path.write_bytes(path.read_bytes()[:-1])
    if words is None:
        assert load_array(path, "uint8", 5).tolist() == content.tolist()
        return
    with pytest.raises(InputError, match=rf"correct\.npy: .*{re.escape(words)}.*; restore it from a copy"):
        load_array(path, "uint8", 5)
