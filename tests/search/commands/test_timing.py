"""Timing of training steps in another process."""

from __future__ import annotations

import sys

import pytest

from hybrid_models.config.model import ModelConfig
from search.commands import timing
from search.commands.timing import EpochTimer
from search.errors import ResourceError
from search.training.spec import Step
from spaces.presets import load_preset


@pytest.fixture
def step() -> Step:
    given = {**load_preset("ecrnn/cnn"), "num_classes": 10, "input_channels": 3, "input_height": 16, "input_width": 16}
    model = ModelConfig.from_dict(given)
    return Step(model=model, batch=8, label_smoothing=0.0, rnn_l2=0.0)


def test_another_process_and_this_one_time_alike(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpochTimer() as here:
        here.start([step], 800)
    monkeypatch.delitem(sys.modules, "torch")
    with EpochTimer() as there:
        there.start([step, step], 800)
        secs = there.secs()
    assert len(secs) == 2
    assert here.secs()[0] / 5 < min(secs) < 5 * here.secs()[0]


@pytest.mark.parametrize(
    ("program", "why"),
    [("raise MemoryError('no room')", "MemoryError: no room"), ("import os; os.kill(os.getpid(), 9)", "status -9")],
)
def test_a_process_that_cannot_compute_says_why(
    step: Step, monkeypatch: pytest.MonkeyPatch, program: str, why: str
) -> None:
    monkeypatch.setattr(timing, "PROGRAM", program)
    monkeypatch.delitem(sys.modules, "torch")
    with EpochTimer() as timer:
        timer.start([step], 800)
        with pytest.raises(ResourceError, match=f"a training step could not be timed on this machine: .*{why}$"):
            timer.secs()
