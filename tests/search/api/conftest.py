"""One small study on the digits, swept and compared from Python, for all tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import search

CNN = {
    "backbone": "cnn4",
    "cnn_bn": True,
    "cnn_dropout": 0.0,
    "enc_on": False,
    "rnn": "none",
    "pool_head": "flatten",
    "fc": "-",
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a study file that is quick to run."""
    return {
        "name": "from-python",
        "storage": str(tmp_path_factory.mktemp("runs")),
        "data": {"name": "digits", "limit": 100},
        "space": {**CNN, "lr": [0.001, 0.01]},
        "train": {"epochs": 2, "batch": 16, "precision": "float32"},
        "search": {"trials": 2, "scheduler": "none", "sampler": "grid"},
        "resources": {"runner": "inline"},
        "compare": {"baselines": [{**CNN, "lr": 0.003}], "repeats": 2},
        "tracking": {"enabled": False},
    }


@pytest.fixture(scope="module")
def study(data: dict[str, Any]) -> search.Study:
    """The study, swept and compared."""
    made = search.Study.from_dict(data)
    made.sweep()
    made.compare()
    return made


@pytest.fixture(scope="module")
def exported(study: search.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    folder = tmp_path_factory.mktemp("export") / "winner"
    os.environ["MPLBACKEND"] = "Agg"
    study.export(folder)
    return folder
