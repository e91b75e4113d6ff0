"""What can go wrong, one class per cause, each with its exit code."""

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
    """Anything this program reports in words instead of a traceback.

    Args:
        faults: One line per fault: where, what was expected, what was found, how to mend it. Passwords are taken out,
            control characters shown escaped.
    """

    exit_code = EXIT_INPUT

    def __init__(self, *faults: str) -> None:
        # Names from files may hold what a terminal acts on.
        self.faults = tuple(printable(redacted(fault), keep="\n") for fault in faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[type[HybridSearchError], tuple[str, ...]]:
        """Travel between processes with the faults intact."""
        return type(self), self.faults


class InputError(HybridSearchError, ValueError):
    """The user's input is wrong."""


class StudyError(InputError):
    """The study file is wrong."""


class StudyChangedError(InputError):
    """The study file was changed after its sweep began."""


class StudyLockedError(InputError):
    """Another process is driving this study."""


class JournalError(InputError):
    """The journal cannot be written: nothing more may be computed that it would not hold."""


class StorageFaultError(HybridSearchError):
    """The operating system refused: a full disk, a missing right, a limit. No trial fails by it: it resumes."""


class OutOfMemoryError(Exception):
    """A training does not fit into memory, however few of its images are computed at once: the trial fails.

    Args:
        reason: One line.
    """


class NothingToDoError(InputError):
    """A verb needs results that are not there yet."""


class ResourceError(InputError):
    """The machine or cluster can never meet the request."""


class LostClusterError(HybridSearchError):
    """The Ray cluster went away while trials ran; all that they had saved stays."""


class StoreError(InputError):
    """The object store of the study refuses: wrong address, bucket or credentials."""


class StoreAwayError(InputError):
    """The object store of the study cannot be reached now."""


class TrackingError(InputError):
    """The tracking server refused or was unreachable."""


class NothingThereError(TrackingError):
    """There is no such tracking store, or no such experiment in it."""


class TooManyFailuresError(HybridSearchError):
    """The study ended with failed trials above its limit."""

    exit_code = EXIT_FAILED_TRIALS


class InterruptedStudyError(HybridSearchError):
    """The user stopped the study; its state is saved."""

    exit_code = EXIT_INTERRUPTED


class DivergedError(Exception):
    """The loss stopped being finite: an outcome of the trial, not a fault of the machine.

    Args:
        epoch: The epoch (1-based) in which it happened.
        loss: The value found; nan where weights or outputs were not finite.
        result: What the last finite checkpoint of a repeat scores; None where there is none.
    """

    def __init__(self, epoch: int, loss: float, result: TrialResult | None = None) -> None:
        self.epoch = epoch
        self.loss = loss
        self.result = result
        super().__init__(f"diverged in epoch {epoch}: the loss was {loss}")

    def __reduce__(self) -> tuple[type[DivergedError], tuple[int, float, TrialResult | None]]:
        """Travel between processes with the fields intact."""
        return type(self), (self.epoch, self.loss, self.result)
