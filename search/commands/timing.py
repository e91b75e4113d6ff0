"""Time epochs in another process, which loads torch while this one checks the study."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.copies.process import environment
from search.errors import ResourceError

if TYPE_CHECKING:
    from search.training.spec import Step

PROGRAM = "import gc; gc.disable(); from search.training.speed import main; main()"
"""Importing torch makes no garbage, and collecting it takes a sixth of the time."""


class EpochTimer:
    """Times epochs in another process, which it starts, or in this one if torch is imported already.

    Use as a context manager, which ends the process.
    """

    def __init__(self) -> None:
        self._secs: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None
        if "torch" not in sys.modules:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
            )

    def __enter__(self) -> EpochTimer:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            with self._process as process:
                process.kill()

    def start(self, steps: Sequence[Step], num_train: int) -> None:
        """Start to time training steps.

        Args:
            steps: A step of each trial.
            num_train: Number of training images.
        """
        if self._process is None:
            from search.training.speed import time_epochs

            self._secs = time_epochs(steps, num_train)
            return
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stream:  # a process that ended says why
            stream.write(json.dumps({"steps": [step.to_dict() for step in steps], "num_train": num_train}).encode())

    def secs(self) -> list[float]:
        """Wait for the estimated seconds per epoch of each trial on one core.

        Raises:
            ResourceError: The machine could not compute a training step.
        """
        if self._process is None:
            return self._secs
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if printed := self._process.stdout.readline():
            secs: list[float] = json.loads(printed)
            return secs
        *_, last = self._process.stderr.read().decode(errors="replace").strip().split("\n")
        why = last or f"its process ended with status {self._process.wait()}"
        raise ResourceError(f"a training step could not be timed on this machine: {why}")
