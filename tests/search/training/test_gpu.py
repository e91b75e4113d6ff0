"""A whole training on a CUDA device, without Ray."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from search.data.store import ImageData, open_data
from search.records import Progress
from search.seeds import make_block
from search.study.bind import bind, complete_point, load_facts
from search.study.load import parse_study
from search.training import ticks
from search.training.loop import train
from search.training.spec import TrialSpec

pytestmark = pytest.mark.gpu

Make = Callable[..., tuple[TrialSpec, ImageData]]


@pytest.fixture
def make() -> Make:
    """Describe a training of a preset on 200 digits: `make("ecrnn/cnn", {"dropout": 0.5}, train={"batch": 64})`."""

    def describe(
        preset: str, point: Mapping[str, Any] = MappingProxyType({}), **sections: Any
    ) -> tuple[TrialSpec, ImageData]:
        content = {
            "name": "gpu",
            "data": {"name": "digits", "limit": 200},
            "space": "ecrnn",
            "search": {"trials": 1},
            "resources": {"gpus": 1},
        }
        train = {"epochs": 2, "batch": 32, **sections.pop("train", {})}
        study = parse_study({**content, **sections, "train": train}, "study")
        facts = load_facts(study)
        block = make_block(0, "compare", 0)
        spec = bind(study, {**complete_point(study, preset), **point}, facts, (block,), score_test=True)
        return spec, open_data(study.data)

    return describe


def run(spec: TrialSpec, data: ImageData, folder: Path, **options: Any) -> list[Progress]:
    return [item for item in train(spec, data, folder, device="cuda", **options) if item is not None]


def test_ecrnn_trains_on_the_device_and_goes_on_from_its_checkpoint(make: Make, tmp_path: Path) -> None:
    spec, data = make("ecrnn/ecrnn-bilstm-16")
    training = train(spec, data, tmp_path, device="cuda")
    first = next(item for item in training if item is not None)
    training.close()
    assert math.isfinite(first.metrics.train_loss)
    assert first.machine["device"].startswith("cuda ")
    assert first.machine["precision"] == spec.train.precision == "bfloat16"
    # A new iterator is a new process as far as the training knows.
    rest = run(spec, data, tmp_path, num_known_epochs=1)
    assert [item.metrics.epoch for item in rest] == [2]
    assert rest[-1].result is not None
    assert rest[-1].result.test_accuracy is not None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cut_at_every_step_it_goes_on_with_the_masks_that_it_would_have_drawn(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    recipe = {"precision": precision, "augment": "crop_hflip"}
    spec, data = make("ecrnn/cnn", {"dropout": 0.5}, train=recipe)
    whole = run(spec, data, tmp_path / "whole")
    monkeypatch.setattr(ticks, "TICK_SECS", 0.0)
    found: list[Progress] = []
    for cut in range(1, 100):
        training = train(spec, data, tmp_path / "cut", device="cuda", num_known_epochs=len(found))
        torch.cuda.manual_seed(cut)
        for left, item in zip(range(1 + cut % 5, 0, -1), training, strict=False):
            found += [] if item is None else [item]
            assert left
        training.close()
        if found and found[-1].result is not None:
            break
    # cuDNN is deterministic, other kernels of torch may not be: bit for bit is an aim here.
    for one, other in zip(whole, found, strict=True):
        assert other.metrics.train_loss == pytest.approx(one.metrics.train_loss, rel=1e-3)
    assert cut > 5


def test_a_training_that_does_not_fit_goes_on_in_parts(make: Make, tmp_path: Path) -> None:
    data_section = {"name": "digits", "limit": 400, "image_size": 64}
    spec, data = make("ecrnn/cnn", data=data_section, train={"batch": 256, "precision": "float32"})
    calm = run(spec, data, tmp_path / "calm")
    assert "micro_batch" not in calm[-1].machine
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 400 * 2**20) / total)
        tight = run(spec, data, tmp_path / "tight")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tight[-1].machine["micro_batch"] < 256
    assert math.isfinite(tight[-1].metrics.train_loss)
    assert tight[-1].result is not None
