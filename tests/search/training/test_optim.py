from __future__ import annotations

import pytest
import torch
from torch import nn

from search.training.config import OPTIMIZERS, SCHEDULES, TrainConfig
from search.training.optim import learning_rate, make_optimizer, set_learning_rate

AT: dict[str, list[tuple[int, float]]] = {
    "constant": [(0, 1.0), (50, 1.0), (99, 1.0)],
    "step": [(0, 1.0), (49, 1.0), (50, 0.1), (74, 0.1), (75, 0.01), (99, 0.01)],
    "cosine": [(0, 1.0), (25, 0.853553), (50, 0.5), (75, 0.146447), (99, 0.000247)],
    "onecycle": [(0, 1 / 25), (15, 0.52), (30, 1.0), (65, 0.500002), (99, 0.0005073)],
}
"""Share of the highest rate at steps of 100, worked by hand."""


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_at_its_ends_and_middle(schedule: str) -> None:
    train = TrainConfig(epochs=1, lr=0.2, schedule=schedule)
    for step, share in AT[schedule]:
        assert learning_rate(train, step, 100) == pytest.approx(0.2 * share, rel=2e-3), step


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_rate_stays_within_its_bounds_however_short(schedule: str, num_steps: int) -> None:
    train = TrainConfig(epochs=1, lr=0.2, schedule=schedule)
    assert all(0 < learning_rate(train, step, num_steps) <= 0.2 for step in range(num_steps))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_moves_the_weights_downhill(name: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(layer.parameters(), TrainConfig(epochs=1, optimizer=name, lr=0.01))
    losses = []
    for _ in range(20):
        loss = layer(torch.ones(4, 3)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not torch.equal(layer.weight, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_and_rate_reach_the_optimizer(name: str) -> None:
    optimizer = make_optimizer(
        nn.Linear(3, 2).parameters(), TrainConfig(epochs=1, optimizer=name, lr=0.01, weight_decay=0.3)
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3]
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5]


def test_momentum_belongs_to_sgd() -> None:
    optimizer = make_optimizer(nn.Linear(1, 1).parameters(), TrainConfig(epochs=1, optimizer="sgd", momentum=0.7))
    assert optimizer.param_groups[0]["momentum"] == 0.7


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch", 1, "batch must be at least 2, got 1"),
        ("optimizer", "adm", "optimizer must be one of adam, adamw, sgd, rmsprop, got 'adm'"),
        ("lr", 0.0, "lr must be above 0"),
        ("momentum", 1.0, "momentum must be from 0 to below 1"),
        ("weight_decay", -0.1, "weight_decay must be 0 or more"),
        ("schedule", "cos", "schedule must be one of constant, step, cosine, onecycle"),
        ("clip", -1.0, "clip must be 0 or more"),
        ("rnn_l2", -0.1, "rnn_l2 must be 0 or more, got -0.1"),
        ("validate_every", 0, r"validate_every must be from 1 to epochs \(1\), got 0"),
        ("validate_every", 2, r"validate_every must be from 1 to epochs \(1\), got 2"),
        ("label_smoothing", 1.0, "label_smoothing must be from 0 to below 1"),
        ("augment", "flip", "augment must be one of none, hflip"),
        ("normalise", "z", "normalise must be one of global, channel, half, unit"),
        ("class_weights", "equal", "class_weights must be one of none, balanced, got 'equal'"),
        ("keep", "first", "keep must be one of last, best, got 'first'"),
        ("precision", "fp8", "precision must be one of auto, float32, bfloat16"),
    ],
)
def test_impossible_recipes_are_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(**{"epochs": 1, field: value})  # type: ignore[arg-type]
