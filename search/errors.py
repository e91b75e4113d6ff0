"""Exceptions of the program: one class per cause, with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.text.printable import printable
from search.uris import redacted

if TYPE_CHECKING:
    from search.records import TrialResult

EXIT_DONE = 0
EXIT_INPUT = 2
EXIT_FAILED_TRIALS = 3
EXIT_INTERRUPTED = 130


class HybridSearchError(Exception):
    """Base class of errors that are reported as messages without a traceback.

    Args:
        faults: One line per fault: where, what was expected, what was found, how to fix it. Passwords are removed and
            control characters are escaped.
    """

    exit_code = EXIT_INPUT

    def __init__(self, *faults: str) -> None:
        # Names from files may contain characters that control the terminal.
        self.faults = tuple(printable(redacted(fault), keep="\n") for fault in faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[type[HybridSearchError], tuple[str, ...]]:
        """Pickle the error with its faults."""
        return type(self), self.faults


class InputError(HybridSearchError, ValueError):
    """The user's input is wrong."""


class StudyError(InputError):
    """The study file is wrong."""


class StudyChangedError(InputError):
    """The study file was changed after its sweep had started."""


class StudyLockedError(InputError):
    """Another process drives the study."""


class JournalError(InputError):
    """The journal cannot be written, so no further results may be computed."""


class StorageFaultError(HybridSearchError):
    """The operating system reported a fault, such as a full disk. The trial does not fail and can be resumed."""


class OutOfMemoryError(Exception):
    """A training does not fit into memory with any batch size; the trial fails.

    Args:
        reason: One line.
    """


class NothingToDoError(InputError):
    """A command needs results that do not exist yet."""


class ResourceError(InputError):
    """The machine or cluster can never provide the requested resources."""


class LostClusterError(HybridSearchError):
    """The Ray cluster was lost while trials ran; their saved state is kept."""


class StoreError(InputError):
    """The study's object store refuses access: wrong address, bucket or credentials."""


class StoreAwayError(InputError):
    """The study's object store is currently unreachable."""


class TrackingError(InputError):
    """The tracking server refuses access or is unreachable."""


class NotFoundError(TrackingError):
    """The tracking store, or the experiment in it, does not exist."""


class TooManyFailuresError(HybridSearchError):
    """More trials failed than the study allows."""

    exit_code = EXIT_FAILED_TRIALS


class InterruptedStudyError(HybridSearchError):
    """The user stopped the study; its state is saved."""

    exit_code = EXIT_INTERRUPTED


class DivergedError(Exception):
    """The loss is no longer finite, which is a result of the trial and not a fault of the machine.

    Args:
        epoch: The epoch, from 1.
        loss: The loss; nan if weights or outputs are not finite.
        result: Result of the last finite checkpoint of a repeat, or None.
    """

    def __init__(self, epoch: int, loss: float, result: TrialResult | None = None) -> None:
        self.epoch = epoch
        self.loss = loss
        self.result = result
        super().__init__(f"diverged in epoch {epoch}: the loss was {loss}")

    def __reduce__(self) -> tuple[type[DivergedError], tuple[int, float, TrialResult | None]]:
        """Pickle the error with its fields."""
        return type(self), (self.epoch, self.loss, self.result)
