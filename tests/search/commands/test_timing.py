"""Timing of training steps in another process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_models.config.model import ModelConfig
from search.commands import timing
from search.commands.timing import EpochTimer
from search.errors import ResourceError
from search.study.config import StudyConfig, to_dict
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
    [
        ("raise MemoryError('no room')", "MemoryError: no room"),
        ("import os, sys; print('warning', file=sys.stderr); os.kill(os.getpid(), 9)", "killed by SIGKILL; perhaps .*"),
        ("import sys; sys.stderr.write(200_000 * 'x'); sys.exit(3)", 500 * "x"),
        ("pass", "status 0"),
    ],
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


@pytest.mark.slow
def test_what_libraries_print_does_not_matter(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = timing.PROGRAM.replace("main(output)", "print(100_000 * 'noise'); main(output)")
    monkeypatch.setattr(timing, "PROGRAM", noisy)
    monkeypatch.delitem(sys.modules, "torch")
    with EpochTimer() as timer:
        timer.start([step], 800)
        assert timer.secs()[0] > 0


@pytest.mark.slow
def test_a_step_that_fails_is_one_line(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with EpochTimer() as timer:
        timer.start([dataclasses.replace(step, rnn_l2="much")], 800)  # type: ignore[arg-type]
        with pytest.raises(ResourceError, match=r"could not be timed on this machine: TypeError: [^\n]*$"):
            timer.secs()


def test_an_early_end_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with EpochTimer() as timer:
        process = timer._process
        with timer:
            pass
    assert process is not None
    assert process.returncode == -9


@pytest.mark.slow
def test_plan_in_a_process_of_its_own(make_study: Callable[..., StudyConfig], tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(to_dict(make_study())), encoding="utf-8")
    command = [sys.executable, "-c", "from search.cli import main; main()", "plan", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "on one core of this machine" in done.stdout
