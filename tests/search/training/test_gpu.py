"""A whole training on a CUDA device, without Ray."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from search.bind import bind, complete_point, load_facts
from search.data.store import open_data
from search.seeds import make_block
from search.study import parse_study
from search.training.loop import train

pytestmark = pytest.mark.gpu


def test_ecrnn_trains_on_the_device_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    content = {
        "name": "gpu",
        "data": {"name": "digits", "limit": 200},
        "space": "ecrnn",
        "train": {"epochs": 2, "batch": 32},
        "search": {"trials": 1},
        "resources": {"gpus": 1},
    }
    study = parse_study(content, "study")
    facts = load_facts(study)
    block = make_block(0, "compare", 0)
    point = complete_point(study, "ecrnn/ecrnn-bilstm-16")
    spec = bind(study, point, facts, (block,), score_test=True)
    data = open_data(study.data)
    first = next(iter(train(spec, data, tmp_path, device="cuda")))
    assert math.isfinite(first.metrics.train_loss)
    assert first.machine["device"].startswith("cuda ")
    assert first.machine["precision"] == spec.train.precision == "bfloat16"
    # A new iterator is a new process as far as the training knows.
    rest = list(train(spec, data, tmp_path, device="cuda", num_known_epochs=1))
    assert [item.metrics.epoch for item in rest] == [2]
    assert rest[-1].result is not None
    assert rest[-1].result.test_accuracy is not None
