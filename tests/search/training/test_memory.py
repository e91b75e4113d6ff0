"""Out of memory: the epoch is begun again in micro-batches of half the size, and that is told."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hybrid_models.objective import objective
from search.data.augment import augment, prepare
from search.data.store import ImageData, ImageSet
from search.errors import OutOfMemoryError
from search.records import Failed, Progress
from search.seeds import derive
from search.study.config import StudyConfig
from search.training import learner, ticks
from search.training.learner import Learner
from search.training.loop import train
from search.training.memory import (
    BatchLimits,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory_gib,
    reset_peak_memory,
    smallest_batch,
)
from search.training.optim import learning_rate, set_learning_rate
from search.training.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
CPU = torch.device("cpu")
ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "python": MemoryError(),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "oneDNN": RuntimeError("could not create a primitive"),
}


def run(spec: TrialSpec, data: ImageData, folder: Path, **options: Any) -> list[Progress]:
    return [item for item in train(spec, data, folder, device="cpu", **options) if item is not None]


class Memory:
    """Fits so many images at a time, with and without gradient; notes the batches that did."""

    def __init__(self, training: int = 10**6, scoring: int = 10**6, error: Exception = ERRORS["cpu"]) -> None:
        self.training, self.scoring, self.error = training, scoring, error
        self.batches: list[int] = []
        self.first = 1
        """Passes before this one fit always."""
        self.num_passes = 0

    def take(self, model: nn.Module, images: torch.Tensor) -> None:
        self.num_passes += 1
        limit = self.training if model.training else self.scoring
        if len(images) > limit and self.num_passes >= self.first:
            raise self.error
        if model.training:
            self.batches.append(len(images))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """Every model built from here on takes from it."""
    gc.freeze()  # memory that runs out is looked for in all objects, of which a process that runs tests has millions
    made = Memory()
    original = learner.build_model

    def build(config: Any, generator: torch.Generator) -> nn.Module:
        model = original(config, generator)
        model.register_forward_hook(lambda module, images, _: made.take(module, images[0]))
        return model

    monkeypatch.setattr(learner, "build_model", build)
    yield made
    gc.unfreeze()


@pytest.mark.skipif(not keep_freed_memory(), reason="needs glibc")
def test_the_peak_of_a_trial_does_not_contain_memory_of_earlier_ones(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    """A process trains many trials, and the C library keeps the memory that they free."""
    earlier = [torch.ones(2**18) for _ in range(600)]
    reset_peak_memory(CPU)
    before = peak_memory_gib(CPU)
    del earlier
    (progress,) = run(make_spec(epochs=1), digits, tmp_path / "small")
    assert before is not None
    assert progress.metrics.peak_memory_gib is not None
    assert progress.metrics.peak_memory_gib < before - 0.4


@pytest.mark.parametrize("kind", ERRORS)
def test_every_kind_of_it_is_known(kind: str) -> None:
    assert is_out_of_memory(ERRORS[kind])


def test_nothing_else_is_taken_for_it() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator: "))


@pytest.mark.parametrize("kind", ["cuda", "cpu", "python"])
def test_the_epoch_is_begun_again_in_smaller_parts(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, memory: Memory, kind: str
) -> None:
    # Without batch normalisation parts are the whole but for rounding.
    spec = make_spec(epochs=3, cnn_bn=False, augment="crop_hflip", clip=0.5, lr=0.01)
    calm = run(spec, digits, tmp_path / "calm")
    assert all("micro_batch" not in item.machine for item in calm)
    memory.training, memory.error, memory.batches = 5, ERRORS[kind], []
    memory.first = memory.num_passes + 9  # in the second epoch: each has five steps and a validation
    tight = run(spec, digits, tmp_path / "tight")
    # 16 images as 4 + 4 + 4 + 4 and six as 3 + 3; the first epoch and the first two steps of the second went whole.
    whole, parts = [16, 16, 16, 16, 6], [*[4] * 16, 3, 3]
    assert memory.batches == [*whole, 16, 16, *parts, *parts]
    assert [item.machine.get("micro_batch") for item in tight] == [None, 4, 4]
    for one, other in zip(calm, tight, strict=True):
        assert one.metrics.train_loss == pytest.approx(other.metrics.train_loss, rel=1e-4)
        assert one.metrics.num_images == other.metrics.num_images == 70
    weights = [load_file(tmp_path / name / "weights-0.safetensors") for name in ("calm", "tight")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-2, atol=1e-3)


def test_what_goes_on_goes_on_in_the_same_parts(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(epochs=2, dropout=0.5, augment="hflip")
    memory.training = 9
    undisturbed = run(spec, digits, tmp_path / "whole")
    assert [item.machine["micro_batch"] for item in undisturbed] == [8, 8]
    monkeypatch.setattr(ticks, "TICK_SECS", 0.0)
    training = train(spec, digits, tmp_path / "cut", device="cpu")
    for _ in range(3):
        assert next(training) is None
    training.close()
    memory.training = 10**6  # on a larger machine: what was begun in parts stays in parts
    resumed = run(spec, digits, tmp_path / "cut")
    assert [item.machine["micro_batch"] for item in resumed] == [8, 8]
    files = [(tmp_path / name / "weights-0.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_batch_normalisation_never_gets_a_single_image(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, memory: Memory
) -> None:
    memory.training = 3
    spec = make_spec(epochs=1, batch=23)  # 70 = 23 + 23 + 24
    (end,) = run(spec, digits, tmp_path)
    assert end.machine["micro_batch"] == 2
    assert set(memory.batches) == {2, 3}
    assert sum(memory.batches) == 70


@pytest.mark.parametrize(("batch_norm", "smallest"), [(True, 2), (False, 1)])
def test_what_does_not_fit_at_all_fails_with_its_reason(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, memory: Memory, batch_norm: bool, smallest: int
) -> None:
    memory.training = smallest - 1
    with pytest.raises(OutOfMemoryError, match=rf"training on {smallest} images? at a time does not fit: .*Default"):
        run(make_spec(cnn_bn=batch_norm), digits, tmp_path)
    assert memory.batches == []


def test_a_trial_that_does_not_fit_is_a_failed_one(
    make_study: Callable[..., StudyConfig], driver: Any, memory: Memory
) -> None:
    memory.training = 0
    (record,) = driver.sweep(make_study("search.trials=1", "search.max_failed_fraction=1"))
    assert isinstance(record.outcome, Failed)
    assert record.outcome.reason.startswith("OutOfMemoryError: training on 2 images at a time does not fit: ")


def test_the_journal_tells_the_micro_batch(make_study: Callable[..., StudyConfig], driver: Any, memory: Memory) -> None:
    memory.training = 8
    (record,) = driver.sweep(make_study("search.trials=1", "search.scheduler=none"))
    assert record.machine["micro_batch"] == 8


def test_scoring_is_halved_by_itself(make_spec: MakeSpec, digits: ImageData, tmp_path: Path, memory: Memory) -> None:
    spec = make_spec(epochs=2, score_test=True)
    calm = run(spec, digits, tmp_path / "calm")
    memory.scoring, memory.batches = 20, []
    tight = run(spec, digits, tmp_path / "tight")
    assert [item.machine.get("eval_batch") for item in (*calm, *tight)] == [None, None, 16, 16]
    assert memory.batches == [16, 16, 16, 16, 6] * 2  # no step was taken again
    assert tight[-1].result == calm[-1].result
    memory.scoring = 0
    with pytest.raises(OutOfMemoryError, match="scoring one image at a time does not fit"):
        run(spec, digits, tmp_path / "none")


def test_too_little_memory_to_read_a_checkpoint_does_not_make_it_a_damaged_one(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(epochs=2)
    training = train(spec, digits, tmp_path, device="cpu")
    next(training)
    training.close()

    def load(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        run(spec, digits, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_where_memory_is_enough_the_arithmetic_is_that_of_a_plain_loop(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    recipe = {"dropout": 0.5, "augment": "crop_hflip_cutout", "clip": 0.5, "rnn_l2": 0.01, "label_smoothing": 0.1}
    spec = make_spec(epochs=2, schedule="cosine", **recipe)
    run(spec, digits, tmp_path)
    (block,) = spec.blocks
    plain = Learner(spec, block, digits, CPU)
    model, optimizer, rows = plain.model, plain._optimizer, torch.tensor(plain._train_rows)
    assert isinstance(digits.train, ImageSet)
    for epoch in (1, 2):
        torch.manual_seed(derive(block.init_seed, "dropout", epoch))
        order = torch.Generator().manual_seed(derive(block.order_seed, "order", epoch))
        changes = torch.Generator().manual_seed(derive(block.order_seed, "augment", epoch))
        model.train()
        for step, some in enumerate(rows[torch.randperm(len(rows), generator=order)].split(16)):
            set_learning_rate(optimizer, learning_rate(spec.train, 5 * (epoch - 1) + step, 10))
            pixels = torch.from_numpy(np.array(digits.train.pixels[some.numpy()]))
            images = augment(prepare(pixels, plain.normaliser), spec.train.augment, changes)
            labels = torch.from_numpy(digits.train.labels[some.numpy()])
            loss, _ = objective(model, images, labels, label_smoothing=0.1, rnn_l2=0.01)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    trained = load_file(tmp_path / "weights-0.safetensors")
    assert all(torch.equal(trained[name], tensor) for name, tensor in model.state_dict().items())


def test_batches_are_parted_as_equally_as_can_be() -> None:
    with_norm, without = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2)
    assert (smallest_batch(with_norm), smallest_batch(without)) == (2, 1)
    assert BatchLimits().num_parts(1000, with_norm) == 1
    limits = BatchLimits(micro_batch=64)
    assert [limits.num_parts(number, with_norm) for number in (64, 65, 128, 129)] == [1, 2, 2, 3]
    limits = BatchLimits(micro_batch=2)
    assert [limits.num_parts(number, with_norm) for number in (3, 4, 5)] == [1, 2, 2]
    limits = BatchLimits(micro_batch=1)
    assert limits.num_parts(3, without) == 3


SCRIPT = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from search.study.bind import bind, complete_point, load_facts
from search.data.store import open_data
from search.seeds import make_block
from search.study.load import parse_study
from search.training.loop import train

def run(batch, folder):
    content = {"name": "tight", "data": {"name": "digits", "limit": 200, "image_size": 64}, "space": "ecrnn",
               "search": {"trials": 1}, "train": {"epochs": 1, "batch": batch, "precision": "float32"}}
    study = parse_study(content, "study")
    spec = bind(study, complete_point(study, "ecrnn/cnn"), load_facts(study), (make_block(0, "sweep", 0),))
    *_, last = train(spec, open_data(study.data), Path(sys.argv[1], folder), device="cpu")
    print(last.machine.get("micro_batch"), last.metrics.num_images, last.metrics.train_loss)

run(4, "warm")  # imports and buffers
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
room = int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
run(128, "tight")
"""


@pytest.mark.slow
def test_a_process_that_may_have_little_memory_trains_in_parts(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "20"],
        capture_output=True,
        text=True,
        timeout=300,
        # The child finds the packages where this process did.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert ended.returncode == 0, ended.stderr
    warm, tight = (line.split() for line in ended.stdout.splitlines())
    assert warm[:2] == ["None", "140"]
    assert int(tight[0]) < 128
    assert tight[1] == "140"
    assert math.isfinite(float(tight[2]))
