"""Time epochs in another process, which loads torch while this one checks the study."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.copies.process import environment
from search.errors import ResourceError

if TYPE_CHECKING:
    from search.training.spec import Step

PROGRAM = """
import gc, os
gc.disable()  # importing torch makes no garbage, and collecting takes a sixth of the time
output = os.dup(1)
os.dup2(2, 1)  # for what libraries print
from search.training.speed import main
main(output)
"""
MAX_REASON = 500
"""Most characters of a reason that are shown."""


class EpochTimer:
    """Times epochs in another process, which it starts, or in this one if torch is imported already.

    Use as a context manager, which ends the process.
    """

    def __init__(self) -> None:
        self._secs: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None
        if "torch" not in sys.modules:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `__exit__`
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment(),
            )

    def __enter__(self) -> EpochTimer:
        return self

    def __exit__(self, *exception: object) -> None:
        process, self._process = self._process, None
        if process is not None:  # else it was closed before, or there was none
            with self._errors, process:
                process.kill()

    def start(self, steps: Sequence[Step], num_train: int) -> None:
        """Start to time training steps.

        Args:
            steps: A step of each trial.
            num_train: Number of training images.
        """
        if self._process is None:
            from search.training.speed import time_epochs

            try:
                self._secs = time_epochs(steps, num_train)
            except Exception as error:
                raise ResourceError(f"a training step could not be timed on this machine: {error}") from error
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
        if printed := self._process.stdout.read():
            secs: list[float] = json.loads(printed)
            return secs
        raise ResourceError(f"a training step could not be timed on this machine: {self._why(self._process.wait())}")

    def _why(self, status: int) -> str:
        if status < 0:
            return f"its process was killed by {signal.Signals(-status).name}; perhaps memory is short"
        self._errors.seek(0)
        *_, last = self._errors.read().decode(errors="replace").strip().split("\n")
        return last[:MAX_REASON] or f"its process ended with status {status}"
