"""MLflow in a process of its own: the driver starts it and forgets it; no step of a trial waits for a server.

The driver's side is `TrackerProcess`; it imports no mlflow. The other side is `main`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from search.errors import InputError
from search.printable import printable
from search.uris import redacted

POLL_SECS = 0.5
MAX_PAUSE_SECS = 30.0
"""Longest pause between two attempts to reach an absent server."""
GRACE_SECS = 10.0
"""After the driver has left: how long an absent server is tried again."""
REQUEST_SECS = "45"
"""How long one request may take: a slow server is waited for here, as nobody waits for the mirror."""
URI_VARIABLE = "HYBRID_SEARCH_MIRROR_URI"
"""How the mirror is told where MLflow is: the address may hold a password, and everybody sees a command line."""
_SITE = {"site-packages", "dist-packages"}


class TrackerProcess:
    """The driver's handle on the process that copies its journal to MLflow.

    Args:
        folder: The study's folder.
        uri: MLflow tracking URI.
        experiment: MLflow experiment.
        say: Told each line that the process has for the user; called from another thread.
    """

    def __init__(self, folder: Path, uri: str, experiment: str, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._lines: list[str] = []
        self._sent: bool | None = None
        command = [sys.executable, "-P", "-m", "search.tracking.mlflow_tracker", str(folder.absolute())]
        self._process = subprocess.Popen(
            [*command, "--experiment", experiment, "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"MLFLOW_HTTP_REQUEST_TIMEOUT": REQUEST_SECS, **_environment(), URI_VARIABLE: uri},
            # Ctrl-C in the terminal is for the driver, which then says when to finish.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def backlog(self) -> str | None:
        """After `close`: one line for the user about what MLflow does not have yet; None if it has everything."""
        if self._sent is not False:
            return None
        why = self._lines[-1] if self._lines else "MLflow was not done in time"
        return f"{why}; the journal has everything, and the next start of this study sends the rest"

    def close(self, timeout_secs: float) -> bool:
        """Tell the process to send the rest and leave, and wait for that.

        Args:
            timeout_secs: At most; then the process is ended, and the next one goes on where it was.

        Returns:
            Whether MLflow has everything.
        """
        if self._sent is None:
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.write(b"stop\n")
                self._process.stdin.close()
            try:
                self._sent = self._process.wait(timeout_secs) == 0
            except subprocess.TimeoutExpired:
                self._sent = False
                self._process.kill()
                self._process.wait()
            self._reader.join(timeout=1.0)
        return self._sent

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._lines.append(text)
                    self._say(text)


def _environment() -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # The process draws and sends: accelerators are for the trials, and its lines are for the user.
    environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    root = Path(__file__).absolute().parents[2]
    if not _SITE.intersection(root.parts):
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def main(arguments: list[str] | None = None) -> int:
    """Copy a study's journal to MLflow until told to stop; end of input tells it too.

    The tracking URI is taken from the environment.

    Returns:
        0 if MLflow has everything, 1 if not, 2 if the journal was damaged.
    """
    parser = argparse.ArgumentParser(prog="search.tracking.mlflow_tracker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--parent", type=int, help="process that drives the study; the mirror ends after it")
    parser.add_argument("--grace", type=float, default=GRACE_SECS, help="seconds to go on trying after the end")
    options = parser.parse_args(arguments)
    uri = os.environ.pop(URI_VARIABLE)
    os.nice(10)
    orders = _Orders(options.parent)
    try:
        with _alone(options.folder / "mlflow.lock", orders, options.grace) as alone:
            if not alone:
                _tell("MLflow: another process is still copying this study")
                return 1
            return _watch(options.folder, uri, options.experiment, orders, options.grace)
    except InputError as error:
        _tell(f"MLflow: {error}")
        return error.exit_code
    except OSError as error:
        _tell(f"MLflow: {error.filename}: {error.strerror}")
        return 1


def _watch(folder: Path, uri: str, experiment: str, orders: _Orders, grace_secs: float) -> int:
    from search.tracking.mirror import Mirror

    told: set[str] = set()

    def tell_once(line: str) -> None:
        if line not in told:
            told.add(line)
            _tell(f"MLflow: {line}")

    mirror = Mirror(folder, uri=uri, experiment=experiment, say=tell_once)
    pause_secs = POLL_SECS
    while not orders.stop_within(pause_secs):
        fault = _attempt(mirror.sync)
        if fault is None:
            told = {line for line in told if not line.endswith("; trying again")}
            pause_secs = POLL_SECS
        else:
            tell_once(f"{fault}; trying again")
            pause_secs = min(2 * pause_secs, MAX_PAUSE_SECS)
    until = time.monotonic() + grace_secs
    while (fault := _attempt(mirror.finish)) is not None:
        if time.monotonic() + POLL_SECS > until:
            _tell(f"MLflow: {fault}; {mirror.num_waiting} trials, repeats or comparisons are not there yet")
            return 1
        time.sleep(POLL_SECS)
    return 0


def _attempt(step: Callable[[], int]) -> str | None:
    """Do a step of the mirror's.

    Returns:
        Why it is to be tried again, in one line; None if all went well.

    Raises:
        InputError: The journal was damaged: trying again is of no use.
    """
    from search.errors import TrackingError
    from search.tracking.mlflow_client import RejectedError

    try:
        step()
    except (TrackingError, RejectedError) as error:
        return str(error)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  a full disk under a picture is no reason to leave the metrics behind
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


class _Orders:
    """What the driver says on standard input; its death counts as a word, too."""

    def __init__(self, parent: int | None) -> None:
        self._parent = parent
        self._stopped = False

    def stop_within(self, secs: float) -> bool:
        """Wait, and say whether it is time to finish."""
        until = time.monotonic() + secs
        while not self._stopped:
            # A forked worker may hold our input open after the driver's death: look for the driver as well.
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
    """Wait until no other mirror works on this study; False if it was time to leave before."""
    with file.open("a") as stream:
        until: float | None = None
        while not _try_lock(stream):
            if orders.stop_within(0.1):
                until = until or time.monotonic() + grace_secs
                if time.monotonic() > until:
                    yield False
                    return
                time.sleep(0.1)
        yield True


def _try_lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tell(line: str) -> None:
    # The driver may be gone, and its end of the pipe with it.
    with contextlib.suppress(OSError):
        print(printable(redacted(line)), file=sys.stderr, flush=True)  # noqa: T201
