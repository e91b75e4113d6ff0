"""Handle SIGTERM and Ctrl-C: the first one saves and ends the running trainings, the second one ends at once."""

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
    """Signal handling of one command, created by `interruptible`."""

    def __init__(self) -> None:
        self._dispatcher: Dispatcher | None = None
        self.why: str | None = None
        """Name of the first signal; None if there was none."""

    def carry_out(
        self, dispatcher: Dispatcher, run: Callable[[Dispatcher, ResourcesSection], None], resources: ResourcesSection
    ) -> None:
        """Run a dispatcher so that the first signal interrupts it, even if a library has replaced the signal handlers.

        Args:
            dispatcher: The dispatcher.
            run: The runner.
            resources: Resources of a trial, passed to the runner.
        """
        with _handling(self._handle):
            self._dispatcher = dispatcher
            try:
                run(dispatcher, resources)
            finally:
                self._dispatcher = None

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        is_first, self.why = self.why is None, WORDS[signal.Signals(number)]
        if self._dispatcher is None or not is_first:
            raise KeyboardInterrupt
        self._dispatcher.interrupt(self.why)
        # Not print, which is not reentrant: the signal may interrupt another print.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self.why}: saving the running trials; interrupt again to end at once\n".encode())


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle signals inside the context. While no dispatcher runs, the first signal raises KeyboardInterrupt."""
    interruption = Interruption()
    with _handling(interruption._handle):  # noqa: SLF001
        yield interruption


@contextlib.contextmanager
def _handling(handler: Any) -> Iterator[None]:  # noqa: ANN401
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread only
        yield
        return
    before = {number: signal.signal(number, handler) for number in WORDS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
