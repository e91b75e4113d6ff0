"""SIGTERM and Ctrl-C: the first one asks the work in hand to save itself and end, the second one ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.runners.dispatcher import Dispatcher
    from search.study.config import ResourcesSection

WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interruption:
    """What a signal does to the command; made by `interruptible`."""

    def __init__(self) -> None:
        self._work: Dispatcher | None = None
        self.why: str | None = None
        """The first signal; None while there was none."""

    def carry_out(
        self, work: Dispatcher, run: Callable[[Dispatcher, ResourcesSection], None], resources: ResourcesSection
    ) -> None:
        """Run a work, and let the first signal interrupt it, whatever handlers a library has put into our place."""
        with _handling(self._handle):
            self._work = work
            try:
                run(work, resources)
            finally:
                self._work = None

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        is_first, self.why = self.why is None, WORDS[signal.Signals(number)]
        if self._work is None or not is_first:
            raise KeyboardInterrupt
        self._work.interrupt(self.why)
        # Not print: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self.why}: saving what runs; once more ends at once\n".encode())


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle signals until the end; without a work in hand the first one already raises KeyboardInterrupt."""
    interruption = Interruption()
    with _handling(interruption._handle):  # noqa: SLF001
        yield interruption


@contextlib.contextmanager
def _handling(handler: Any) -> Iterator[None]:  # noqa: ANN401
    if threading.current_thread() is not threading.main_thread():  # nobody else is told of signals
        yield
        return
    before = {number: signal.signal(number, handler) for number in WORDS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
