"""One block: what is minimised, what is reported, and what it is computed with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hybrid_models.build import build
from hybrid_models.objective import objective
from search.data.augment import prepare
from search.data.splits import SplitConfig, split
from search.data.store import ImageData, ImageSet
from search.errors import ResourceError
from search.seeds import make_block
from search.study.bind import DataFacts, bind
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.training import loop
from search.training.config import TrainConfig, resolve_precision
from search.training.learner import Learner, balanced_weights
from search.training.loop import train
from search.training.machine import deterministic_cudnn, uses_bfloat16
from search.training.memory import BatchLimits
from search.training.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
CPU = torch.device("cpu")


def learner_of(spec: TrialSpec, data: ImageData) -> Learner:
    return Learner(spec, spec.blocks[0], data, CPU)


def drain(steps: Generator[None, None, Any]) -> Any:
    """What the steps return after the last one."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def fresh_model(spec: TrialSpec) -> torch.nn.Module:
    """As the learner begins."""
    model = build(spec.model, torch.Generator().manual_seed(spec.blocks[0].init_seed))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def part(spec: TrialSpec, data: ImageData, learner: Learner, which: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of the training (0) or validation part (1)."""
    rows = split(data.train.labels, spec.split, spec.blocks[0].split_seed)[which]
    assert isinstance(data.train, ImageSet)
    images = prepare(torch.from_numpy(np.array(data.train.pixels[rows])), learner.normaliser)
    return images, torch.from_numpy(data.train.labels[rows])


@pytest.fixture
def autoencoder(make_study: Callable[..., StudyConfig], facts: DataFacts) -> TrialSpec:
    """The autoencoder, one step per epoch."""
    study = make_study("train.batch=70", "train.epochs=2")
    point = {"family": "autoencoder", "recon_weight": 0.7}
    return bind(study, point, facts, (make_block(0, "sweep", 0),))


@pytest.mark.parametrize("recipe", [{}, {"label_smoothing": 0.2}, {"rnn_l2": 0.1}], ids=str)
def test_the_training_loss_is_the_objective(make_spec: MakeSpec, digits: ImageData, recipe: dict[str, Any]) -> None:
    spec = make_spec(batch=70, **recipe)
    learner = learner_of(spec, digits)
    images, labels = part(spec, digits, learner, 0)
    # One step: the reported loss is that of the first weights over the whole training part.
    expected, logits = objective(fresh_model(spec), images, labels, **recipe)
    loss, accuracy, num_images = drain(learner.train_epoch(1))
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert (accuracy, num_images) == (pytest.approx(float((logits.argmax(dim=1) == labels).float().mean())), 70)
    plain, _ = objective(fresh_model(spec), images, labels)
    assert (loss == pytest.approx(plain.item(), rel=1e-5)) == (not recipe)


def test_balanced_weights_give_every_class_the_same_total() -> None:
    labels = np.array([2] * 6 + [0] * 3 + [3])
    weights = balanced_weights(labels, 4)
    assert weights.tolist() == pytest.approx([10 / 9, 0.0, 10 / 18, 10 / 3])
    assert weights[torch.from_numpy(labels)].mean() == pytest.approx(1.0)
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("family", ["hybrid", "autoencoder"])
def test_class_weights_weigh_the_cross_entropy_of_each_image_by_its_true_class(
    make_spec: MakeSpec, autoencoder: TrialSpec, digits: ImageData, family: str, smoothing: float
) -> None:
    base = make_spec(batch=70) if family == "hybrid" else autoencoder
    recipe = dataclasses.replace(base.train, class_weights="balanced", label_smoothing=smoothing)
    uneven = SplitConfig(method="random", fraction=0.3)
    spec = dataclasses.replace(base, train=recipe, split=uneven)
    learner = learner_of(spec, digits)
    images, labels = part(spec, digits, learner, 0)
    counts = torch.bincount(labels, minlength=10)
    assert len(counts.unique()) > 2, "a balanced training part would show nothing"
    model = fresh_model(spec)
    with torch.no_grad():
        logits = model(images)
        targets = (1 - smoothing) * F.one_hot(labels, 10) + smoothing / 10
        losses = -(targets * logits.log_softmax(dim=1)).sum(dim=1)
        expected = (70 / (10 * counts[labels]) * losses).mean()
        plain = losses.mean()
        if family == "autoencoder":
            error = F.mse_loss(model.decode(model.encode(images)), images)  # type: ignore[operator]
            expected, plain = 0.7 * error + 0.3 * expected, 0.7 * error + 0.3 * plain
    assert drain(learner.train_epoch(1))[0] == pytest.approx(float(expected), rel=1e-5)
    assert float(plain) != pytest.approx(float(expected), rel=1e-4)
    same = learner_of(dataclasses.replace(spec, train=dataclasses.replace(recipe, class_weights="none")), digits)
    assert drain(same.train_epoch(1))[0] == pytest.approx(float(plain), rel=1e-5)


def test_class_weights_change_the_training_and_not_the_validation_loss(make_spec: MakeSpec, digits: ImageData) -> None:
    uneven = SplitConfig(method="random", fraction=0.3)
    plain, weighted = (
        learner_of(dataclasses.replace(make_spec(class_weights=which), split=uneven), digits)
        for which in ("none", "balanced")
    )
    assert drain(plain.validate()).loss == drain(weighted.validate()).loss
    for learner in (plain, weighted):
        drain(learner.train_epoch(1))
    assert drain(plain.validate()).loss != drain(weighted.validate()).loss


def test_with_class_weights_micro_batches_have_the_gradient_of_the_batch(
    make_spec: MakeSpec, digits: ImageData
) -> None:
    spec = make_spec(batch=70, class_weights="balanced", label_smoothing=0.1, cnn_bn=False)
    spec = dataclasses.replace(spec, split=SplitConfig(method="random", fraction=0.3))
    whole = learner_of(spec, digits)
    parts = Learner(spec, spec.blocks[0], digits, CPU, BatchLimits(micro_batch=9))
    losses = [drain(learner.train_epoch(1))[0] for learner in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-6)  # type: ignore[arg-type]


def test_the_penalty_pulls_the_kernels_of_the_recurrence(make_spec: MakeSpec, digits: ImageData) -> None:
    sizes = []
    for weight in (0.0, 1.0):
        learner = learner_of(make_spec(rnn_l2=weight), digits)
        for epoch in (1, 2, 3):
            drain(learner.train_epoch(epoch))
        kernels = [value for name, value in learner.model.named_parameters() if "weight_hh" in name]
        assert kernels
        sizes.append(sum(float(kernel.square().sum()) for kernel in kernels))
    assert sizes[1] < 0.9 * sizes[0]


def test_an_autoencoder_trains_on_the_mixed_loss_and_is_validated_on_cross_entropy(
    autoencoder: TrialSpec, digits: ImageData
) -> None:
    learner = learner_of(autoencoder, digits)
    model = fresh_model(autoencoder)
    images, labels = part(autoencoder, digits, learner, 1)
    with torch.no_grad():
        logits = model(images)
    assert drain(learner.validate()).loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    images, labels = part(autoencoder, digits, learner, 0)
    with torch.no_grad():
        error = F.mse_loss(model.decode(model.encode(images)), images)  # type: ignore[operator]
        expected = 0.7 * error + 0.3 * F.cross_entropy(model(images), labels)
    assert drain(learner.train_epoch(1))[0] == pytest.approx(float(expected), rel=1e-5)


def test_under_bfloat16_the_loss_is_still_float32(
    make_spec: MakeSpec, digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[torch.Tensor] = []

    def watched(*args: Any, **options: Any) -> Any:
        loss, logits = objective(*args, **options)
        losses.append(loss)
        return loss, logits

    monkeypatch.setattr("search.training.learner.objective", watched)
    drain(learner_of(make_spec(precision="bfloat16", rnn_l2=0.01), digits).train_epoch(1))
    assert {loss.dtype for loss in losses} == {torch.float32}


def test_a_begun_study_keeps_its_precision_on_another_cpu(
    make_study: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.training.config.cpu_has_bfloat16", lambda: True)
    claim_folder(make_study("train.precision=auto"))
    monkeypatch.setattr("search.training.config.cpu_has_bfloat16", lambda: False)
    study = make_study("train.precision=auto")
    assert study.train.precision == "bfloat16"
    claim_folder(study)  # not refused as a changed study


@pytest.mark.parametrize(
    ("gpus", "has_bfloat16", "expected"),
    [(0.0, False, "float32"), (0.0, True, "bfloat16"), (0.5, False, "bfloat16")],
)
def test_auto_is_settled_by_the_driver(
    make_study: Callable[..., StudyConfig],
    facts: DataFacts,
    gru: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    gpus: float,
    has_bfloat16: bool,
    expected: str,
) -> None:
    monkeypatch.setattr("search.training.config.cpu_has_bfloat16", lambda: has_bfloat16)
    auto = make_study("train.precision=auto", f"resources.gpus={gpus}")
    said = make_study(f"train.precision={expected}", f"resources.gpus={gpus}")
    assert auto.train.precision == expected
    assert auto.train == said.train
    blocks = (make_block(0, "sweep", 0),)
    keys = {bind(study, gru, facts, blocks).key for study in (auto, said)}
    keys |= {bind(said, {**gru, "precision": "auto"}, facts, blocks).key}
    assert len(keys) == 1


@pytest.mark.parametrize("gpus", [0.0, 1.0])
def test_what_is_not_auto_stays(gpus: float) -> None:
    for precision in ("float32", "bfloat16"):
        recipe = TrainConfig(epochs=1, precision=precision)
        assert resolve_precision(recipe, gpus=gpus) == recipe


def test_a_gpu_without_bfloat16_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Old GPU")
    gpu = torch.device("cuda")
    with pytest.raises(
        ResourceError, match=(r"train\.precision: bfloat16 requested, but Old GPU does not support it in hardware")
    ):
        uses_bfloat16("bfloat16", gpu)
    assert not uses_bfloat16("float32", gpu)
    assert uses_bfloat16("bfloat16", CPU)


def test_cudnn_is_deterministic_while_training_and_as_before_otherwise(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cudnn = torch.backends.cudnn
    seen = []
    original = loop._train_epoch

    def watched(*args: Any) -> Any:
        seen.append((cudnn.deterministic, cudnn.benchmark))
        return (yield from original(*args))

    monkeypatch.setattr(loop, "_train_epoch", watched)
    monkeypatch.setattr(cudnn, "benchmark", True)
    for _ in train(make_spec(epochs=2), digits, tmp_path, device="cpu"):
        assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
    assert seen == [(True, False)] * 2
    with pytest.raises(RuntimeError, match="inside"), deterministic_cudnn():
        raise RuntimeError("inside")
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


def test_a_training_says_what_it_is_computed_with(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    told = [item.machine for item in train(make_spec(precision="bfloat16"), digits, tmp_path, device="cpu")]
    assert told[0] == {
        "device": f"cpu {torch.backends.cpu.get_cpu_capability()}",
        "precision": "bfloat16",
        "threads": 1,
        "torch": torch.__version__,
    }
    assert told == told[:1] * 3
