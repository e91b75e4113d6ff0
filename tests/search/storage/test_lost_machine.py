"""Sweeps on a real S3 server whose driver, machine or store is taken away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.journal.reading import read_events, read_records
from search.records import Completed
from search.storage.segments import Segments
from search.storage.store import Store
from search.storage.working_copy import refresh
from search.study.load import load_study

pytestmark = pytest.mark.slow
NUM_TRIALS, NUM_EPOCHS = 5, 6


@pytest.fixture
def write_study(study_data: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Write a study file whose storage is the one that is named."""

    def write(storage: str, **search: Any) -> Path:
        study_data["storage"] = storage
        study_data["data"]["limit"] = 300
        study_data["train"]["epochs"] = NUM_EPOCHS
        study_data["search"] = {"trials": NUM_TRIALS, "sampler": "random", "scheduler": "none", **search}
        study_data["compare"] = {"baselines": ["ecrnn/cnn"], "repeats": 2}
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(study_data, sort_keys=False))
        return path

    return write


def machine(folder: Path) -> dict[str, str]:
    """Environment of a machine that has nothing but this folder."""
    return {
        **os.environ,
        "HYBRID_SEARCH_STATE": str(folder / "state"),
        "HYBRID_SEARCH_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "search.cli", *words]


def run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env=env, capture_output=True, text=True, timeout=400, check=False)


def there(uri: str) -> list[dict[str, Any]]:
    """Events of the journal on the store."""
    segments = Segments(Store(uri).below("journal"), "")
    segments.refresh()
    return [json.loads(line) for line in segments.read(0).splitlines()]


def count(events: list[dict[str, Any]], kind: str) -> int:
    return sum(event["event"] == kind for event in events)


def test_a_sweep_whose_machine_is_lost_goes_on_on_another_one(
    bucket: str,
    write_study: Callable[..., Path],
    tmp_path: Path,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_study(bucket)
    uri = str(load_study(path).location.uri)
    first = machine(tmp_path / "first")
    process = subprocess.Popen(command("sweep", str(path)), env=first, stderr=subprocess.DEVNULL)
    eventually(lambda: count(there(uri), "end") >= 1 and there(uri)[-1]["event"] == "epoch", secs=300)
    assert process.poll() is None, "it is in the middle"
    process.kill()
    process.wait()
    at_kill = there(uri)
    ended = {event["key"] for event in at_kill if event["event"] == "end"}
    shutil.rmtree(tmp_path / "first")

    second = machine(tmp_path / "second")
    swept = run(second, "sweep", str(path), "--json")
    assert swept.returncode == 0, swept.stderr
    assert "used it last" in swept.stderr
    assert json.loads(swept.stdout)["trials"]["completed"] == NUM_TRIALS
    events = there(uri)
    assert events[: len(at_kill)] == at_kill
    assert not [event for event in events[len(at_kill) :] if event.get("key") in ended], "nothing is done twice"
    told = [(event["key"], event["metrics"]["epoch"]) for event in events if event["event"] == "epoch"]
    assert len(told) == len(set(told)) == NUM_TRIALS * NUM_EPOCHS

    calm = write_study(str(tmp_path / "calm"))
    assert run(second, "sweep", str(calm)).returncode == 0
    calm_folder = load_study(calm).folder
    undisturbed = read_records(calm_folder)
    path = write_study(bucket)
    monkeypatch.setenv("HYBRID_SEARCH_STATE", second["HYBRID_SEARCH_STATE"])
    records = read_records(load_study(path).folder)
    assert {key: [epoch.val_accuracy for epoch in item.curve] for key, item in records.items()} == {
        key: [epoch.val_accuracy for epoch in item.curve] for key, item in undisturbed.items()
    }
    _check_weights(uri, calm_folder, records)

    third = machine(tmp_path / "third")
    compared = run(third, "compare", uri, "--json")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["comparisons"][0]["num_blocks"] == 2
    exported = run(machine(tmp_path / "fourth"), "export", uri, "--to", str(tmp_path / "winner"), "--json")
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "winner" / "model.safetensors").stat().st_size > 0
    assert json.loads((tmp_path / "winner" / "evidence.json").read_text())["comparison"]["comparisons"]
    assert not [name for name in Store(uri).list("trials") if name.endswith("checkpoint.pt")]


def _check_weights(uri: str, calm: Path, records: dict[str, Any]) -> None:
    """Weights on the store are, bit for bit, those of a sweep that nobody disturbed."""
    kept = {path.relative_to(calm).as_posix(): path.read_bytes() for path in calm.glob("trials/*/weights-*")}
    assert len(kept) == 3
    assert {name: Store(uri).read(name) for name in kept} == kept
    assert all(isinstance(record.outcome, Completed) for record in records.values())


def test_a_store_that_is_away_for_a_while_stops_no_training(
    gated: str,
    gate: Any,
    write_study: Callable[..., Path],
    tmp_path: Path,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_study(gated, trials=8)
    uri = str(load_study(path).location.uri)
    env = machine(tmp_path / "machine")
    log = tmp_path / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(command("sweep", str(path)), env=env, stderr=stream, stdout=stream)
    eventually(lambda: count(there(uri), "epoch") >= 2, secs=300)
    gate.shut()
    journal = Path(env["HYBRID_SEARCH_STATE"], load_study(path).folder.parent.name, "tiny", "journal.jsonl")
    before = count(list(read_events(journal)), "epoch")
    time.sleep(20)
    during = count(list(read_events(journal)), "epoch")
    assert process.poll() is None
    gate.open()
    assert process.wait(400) == 0, log.read_text()
    assert during > before, "it was training all the while"
    words = log.read_text()
    assert words.count("unreachable (") == words.count("reachable again, and everything has been sent") == 1, words
    assert there(uri) == list(read_events(journal))
    monkeypatch.setenv("HYBRID_SEARCH_STATE", str(tmp_path / "reader"))
    study = load_study(path)
    refresh(study.location)
    records = read_records(study.folder)
    assert [type(record.outcome) for record in records.values()] == [Completed] * 8
    assert all((study.folder / record.artifacts["val_correct"]).is_file() for record in records.values())


@pytest.mark.ray
def test_workers_of_ray_leave_their_trials_on_the_store(
    bucket: str, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_study(bucket, trials=3)
    text = path.read_text().replace("runner: inline", "runner: ray")
    path.write_text(text)
    env = machine(tmp_path / "machine")
    swept = run(env, "sweep", str(path), "--json")
    assert swept.returncode == 0, swept.stderr
    assert json.loads(swept.stdout)["trials"]["completed"] == 3
    names = Store(str(load_study(path).location.uri)).list("trials")
    assert {name.rpartition("/")[2] for name in names} == {"confusion.npy", "val_correct.npy", "weights-0.safetensors"}
    scratch = Path(env["HYBRID_SEARCH_CACHE"], "scratch")
    assert list(scratch.iterdir()) == [], "nothing is left on the node"


def test_what_is_wrong_with_the_store_is_one_line_and_exit_code_2(
    bucket: str, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_study(bucket.replace("s3://", "s3://no-"))
    refused = run(machine(tmp_path), "sweep", str(path))
    assert refused.returncode == 2
    (line,) = (line for line in refused.stderr.splitlines() if not line.startswith("decoding images: "))
    assert "expected the bucket no-bucket-" in line
