"""Write the copies of a study's journal, and call its hooks, until the driver stops: `python -m search.copies FOLDER`.

Each copy and each hook has its own thread, so an unreachable server does not delay the others.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from search.copies.process import DATABASE_VARIABLE, URI_VARIABLE
from search.errors import HybridSearchError, InputError
from search.storage.locks import try_lock
from search.text.printable import printable
from search.uris import redacted

if TYPE_CHECKING:
    from search.study.config import StudyConfig

POLL_SECS = 0.5
MAX_PAUSE_SECS = 30.0
"""Longest pause in seconds between two attempts to reach an unreachable server."""
GRACE_SECS = 10.0
"""How long, in seconds, an unreachable server is retried after the driver has exited."""


class OneWayCopy(Protocol):
    """A copy of a journal that is updated repeatedly. All methods are called from one thread."""

    @property
    def num_waiting(self) -> int:
        """Number of items whose latest state is not yet in the copy."""
        ...

    def sync(self) -> int:
        """Write everything new and return the number of items written.

        An exception means that the copy cannot be written now; nothing is lost, and the next call retries.
        """
        ...

    def finish(self) -> int:
        """Like `sync`, after the driver has exited: nothing more is added to the journal."""
        ...


def main(arguments: list[str] | None = None) -> int:
    """OneWayCopy a study's journal until standard input says `stop` or ends, or the driver exits.

    Addresses are read from the environment: they may contain a password, and command lines are visible to all users.

    Args:
        arguments: Command line arguments; None for `sys.argv`.

    Returns:
        Exit code: 0 if the copies are complete, 1 if not, 2 if the journal is damaged.
    """
    parser = argparse.ArgumentParser(prog="search.copies")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiment", help="MLflow experiment; if unset, nothing is copied to MLflow")
    parser.add_argument("--optuna", action="store_true", help="also copy to Optuna's study")
    parser.add_argument("--hooks", action="store_true", help="also call the hooks of the study")
    parser.add_argument("--parent", type=int, help="process id of the driver; this process ends after it")
    parser.add_argument("--grace", type=float, default=GRACE_SECS, help="seconds to retry after the driver has ended")
    options = parser.parse_args(arguments)
    uri, database = os.environ.pop(URI_VARIABLE, ""), os.environ.pop(DATABASE_VARIABLE, None)
    os.nice(10)
    orders = _Orders(options.parent)
    makers: dict[str, Callable[[Callable[[str], None]], OneWayCopy]] = {}
    if options.optuna:
        makers["Optuna"] = lambda print_line: _optuna(options.folder, database, print_line)
    if options.experiment:
        makers["MLflow"] = lambda print_line: _mlflow(options.folder, uri, options.experiment, print_line)
    if options.hooks:
        makers |= _hooks(options.folder)
    names = " and ".join(makers)
    try:
        with _alone(options.folder / "mlflow.lock", orders, options.grace) as alone:
            if not alone:
                _print_line(f"{names}: another process is still copying this study")
                return 1
            threads = [_Thread(name, make, options.grace) for name, make in makers.items()]
            orders.wait()
            for thread in threads:
                thread.stop.set()
            for thread in threads:
                thread.join()
            return max((thread.code for thread in threads), default=0)
    except OSError as error:
        _print_line(f"{names}: {error.filename}: {error.strerror}")
        return 1


def _optuna(folder: Path, database: str | None, print_line: Callable[[str], None]) -> OneWayCopy:
    from search.sampling.optuna_copy import OptunaCopy

    study = _study(folder)
    return OptunaCopy(folder, name=study.name, space=study.build_space(), database=database, print_line=print_line)


def _mlflow(folder: Path, uri: str, experiment: str, print_line: Callable[[str], None]) -> OneWayCopy:
    from search.study.settings import BINDS_TO
    from search.tracking.mirror import Mirror
    from search.tracking.run_values import StudyFacts

    def facts() -> StudyFacts:
        study = _study(folder)
        recipe = {"epochs": study.train.epochs, "batch": study.train.batch, "optimizer": study.train.optimizer}
        return StudyFacts(space=study.build_space(), recipe=recipe, same=BINDS_TO)

    return Mirror(folder, uri=uri, experiment=experiment, print_line=print_line, facts=facts)


def _hooks(folder: Path) -> dict[str, Callable[[Callable[[str], None]], OneWayCopy]]:
    from search.copies.hooks import HookFollower, hooks_of

    try:
        study = _study(folder)
    except HybridSearchError as error:  # the copies do without
        _print_line(f"hooks: {error}")
        return {}

    def make(name: str, print_line: Callable[[str], None]) -> OneWayCopy:
        return HookFollower(folder, study, found[name], name, print_line)

    found = hooks_of(study)
    return {f"hook {name}": partial(make, name) for name in found}


def _study(folder: Path) -> StudyConfig:
    from search.storage.working_copy import RESOLVED
    from search.study.load import load_study

    return load_study(folder / RESOLVED, fill=False, recorded=True)


class _Thread(threading.Thread):
    """Thread that keeps one copy up to date."""

    def __init__(self, name: str, make: Callable[[Callable[[str], None]], OneWayCopy], grace_secs: float) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.code = 1
        self._label, self._make, self._grace_secs = name, make, grace_secs
        self._told: set[str] = set()
        self.start()

    def run(self) -> None:
        try:
            self.code = self._follow(self._make(self._print_once))
        except HybridSearchError as error:
            _print_line(f"{self._label}: {error}")
            self.code = error.exit_code
        except Exception as error:  # noqa: BLE001  the other copies continue whatever happens
            _print_line(f"{self._label}: {type(error).__name__}: {error}".splitlines()[0])

    def _follow(self, copy: OneWayCopy) -> int:
        pause_secs = 0.0
        while not self.stop.wait(pause_secs):
            fault = attempt(copy.sync)
            if fault is None:
                self._told = {line for line in self._told if not line.endswith("; retrying")}
                pause_secs = POLL_SECS
            else:
                self._print_once(f"{fault}; retrying")
                pause_secs = min(max(2 * pause_secs, POLL_SECS), MAX_PAUSE_SECS)
        until = time.monotonic() + self._grace_secs
        while (fault := attempt(copy.finish)) is not None:
            if time.monotonic() + POLL_SECS > until:
                _print_line(f"{self._label}: {fault}; {copy.num_waiting} trials, repeats or comparisons not copied yet")
                return 1
            time.sleep(POLL_SECS)
        return 0

    def _print_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            _print_line(f"{self._label}: {line}")


def attempt(step: Callable[[], int]) -> str | None:
    """Run one step of a copy.

    Args:
        step: `sync` or `finish` of a copy.

    Returns:
        None if the step succeeded, else the reason for a retry, in one line.

    Raises:
        InputError: The journal is damaged, so a retry cannot succeed.
    """
    from search.errors import TrackingError
    from search.tracking.mlflow_client import RejectedError

    try:
        step()
    except (TrackingError, RejectedError) as error:
        return str(error)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  for example a full disk while a figure is drawn; metrics are still sent
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


class _Orders:
    """Reads the driver's commands from standard input. The driver's death counts as `stop`."""

    def __init__(self, parent: int | None) -> None:
        self._parent = parent
        self._stopped = False

    def wait(self) -> None:
        """Wait until the driver stops."""
        while not self.stop_within(60.0):
            pass

    def stop_within(self, secs: float) -> bool:
        """Wait up to `secs` seconds and return whether the driver has stopped."""
        until = time.monotonic() + secs
        while not self._stopped:
            # A forked worker may keep this input open after the driver's death, so check the driver as well.
            if self._parent is not None and os.getppid() != self._parent:
                self._stopped = True
                break
            left = until - time.monotonic()
            if left <= 0:
                break
            ready, _, _ = select.select([sys.stdin], [], [], min(left, POLL_SECS))
            if ready:
                line = os.read(sys.stdin.fileno(), 1024)
                self._stopped = not line or b"stop" in line
        return self._stopped


@contextlib.contextmanager
def _alone(file: Path, orders: _Orders, grace_secs: float) -> Iterator[bool]:
    """Wait for the lock of this study's copies; yield False if held `grace_secs` after the driver stopped."""
    with file.open("a") as stream:
        until: float | None = None
        while not try_lock(stream):
            if orders.stop_within(0.1):
                until = until or time.monotonic() + grace_secs
                if time.monotonic() > until:
                    yield False
                    return
                time.sleep(0.1)
        yield True


def _print_line(line: str) -> None:
    # The driver may have exited and closed its end of the pipe.
    with contextlib.suppress(OSError):
        print(printable(redacted(line)), file=sys.stderr, flush=True)  # noqa: T201
