"""SIGKILL three times under every scheduler and sampler; the sweep then ends with the trials of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.journal.reading import read_records

NUM_KILLS = 3
LIMIT_SECS = 300

SCHEDULERS: dict[str, dict[str, Any]] = {
    "asha": {},
    "asha-promote": {},
    "hyperband": {},
    "median": {},
    "plateau": {"patience_epochs": 1},
    "none": {},
}
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {"sampler_args": {"fidelity": "rung"}},
    "gp": {},
    "cmaes": {"sampler_args": {"popsize": 3}},
    "qmc": {},
    "nsga2": {"sampler_args": {"population_size": 3}},
    "nsga3": {"sampler_args": {"population_size": 3}},
    "random": {},
    "optuna.samplers:BruteForceSampler": {},
}
GENERATIONS = ("cmaes", "nsga2", "nsga3")
COMBINED = [
    *({"scheduler": name, **fields} for name, fields in SCHEDULERS.items()),
    *(
        {"sampler": name, "scheduler": "asha" if name in GENERATIONS else "asha-promote", **fields}
        for name, fields in SAMPLERS.items()
    ),
    {"sampler": "grid", "scheduler": "asha"},
    {"objectives": {"val_accuracy": "max", "num_parameters": "min"}, "sampler": "nsga2"},
]
CONTINUOUS = {"dropout": {"float": [0.0, 0.5]}, "lr": {"float": [5.0e-4, 2.0e-2], "log": True}}
FINITE_ONLY = ("grid", "optuna.samplers:BruteForceSampler")
FINITE = {"dropout": [0.0, 0.2], "lr": [5.0e-4, 2.0e-3, 8.0e-3]}


def outcomes(folder: Path) -> list[Any]:
    """What a sweep is, but for times and what is measured in them."""
    return [
        (
            record.number,
            record.key,
            record.outcome,
            [(item.epoch, item.val_accuracy, item.train_loss) for item in record.curve],
        )
        for record in sorted(read_records(folder).values(), key=lambda record: record.number)
    ]


def start(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("hybrid-search")), "sweep", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def await_lines(journal: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a journal has so many lines."""
    until = time.monotonic() + LIMIT_SECS
    while not journal.exists() or journal.read_bytes().count(b"\n") < number:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("search", COMBINED, ids=lambda search: "-".join(map(str, search.values())))
def test_a_sweep_killed_three_times_is_the_undisturbed_one(
    search: dict[str, Any], study_data: dict[str, Any], cnn: dict[str, Any], tmp_path: Path
) -> None:
    study_data["search"] |= search
    if (sampler := search.get("sampler")) in {"cmaes", *FINITE_ONLY}:
        study_data["space"] = {**cnn, **(FINITE if sampler in FINITE_ONLY else CONTINUOUS)}
    folders = []
    for name in ("calm", "killed"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**study_data, "name": name}, sort_keys=False))
        folders.append(Path(study_data["storage"]) / name)
    calm = start(tmp_path / "calm.yaml")
    assert calm.wait(LIMIT_SECS) == 0, calm.stderr.read().decode() if calm.stderr else ""
    num_lines = (folders[0] / "journal.jsonl").read_bytes().count(b"\n")
    for part in range(1, NUM_KILLS + 1):
        process = start(tmp_path / "killed.yaml")
        await_lines(folders[1] / "journal.jsonl", part * num_lines // (NUM_KILLS + 1), process)
        process.kill()
        process.wait(LIMIT_SECS)
    last = start(tmp_path / "killed.yaml")
    assert last.wait(LIMIT_SECS) == 0, last.stderr.read().decode() if last.stderr else ""
    assert outcomes(folders[1]) == outcomes(folders[0])
