"""Start and stop the process that writes the copies, so that training never waits for a server.

`FollowerProcess` is the driver's side and imports neither mlflow nor optuna. `search.copies` is the other side.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

REQUEST_SECS = "45"
"""Time limit of one MLflow request in seconds. It is generous because nothing waits for this process."""
URI_VARIABLE = "HYBRID_SEARCH_MIRROR_URI"
DATABASE_VARIABLE = "HYBRID_SEARCH_COPY_DATABASE"
"""Environment variables with the addresses of MLflow and of Optuna's database. They are not passed on the command line,
which is visible to all users, because an address may contain a password."""
_SITE = {"site-packages", "dist-packages"}


class FollowerProcess:
    """The driver's handle on the process that copies its journal. Creating it starts the process.

    Args:
        folder: The study's folder.
        uri: MLflow tracking URI; None disables the MLflow copy.
        experiment: MLflow experiment; None disables the MLflow copy.
        print_line: Receives each line that the process prints for the user; called from another thread.
        optuna: Location of Optuna's study: the study's folder, or the URL of a database; None disables this copy.
        hooks: Whether to call the hooks of the study.
    """

    def __init__(
        self,
        folder: Path,
        uri: str | None,
        experiment: str | None,
        print_line: Callable[[str], None] = lambda _: None,
        *,
        optuna: Path | str | None = None,
        hooks: bool = False,
    ) -> None:
        self._print_line = print_line
        self._lines: list[str] = []
        self._sent: bool | None = None
        command = [sys.executable, "-P", "-m", "search.copies", str(folder.absolute()), "--parent", str(os.getpid())]
        addresses: dict[str, str] = {}
        if uri is not None and experiment is not None:
            command += ["--experiment", experiment]
            addresses[URI_VARIABLE] = uri
        if optuna is not None:
            command += ["--optuna"]
            addresses |= {DATABASE_VARIABLE: optuna} if isinstance(optuna, str) else {}
        if hooks:
            command += ["--hooks"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"MLFLOW_HTTP_REQUEST_TIMEOUT": REQUEST_SECS, **environment(), **addresses},
            # Ctrl-C in the terminal reaches the driver only, which then stops this process.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def backlog(self) -> str | None:
        """One line for the user about what the copies lack after `close`; None if they are complete."""
        if self._sent is not False:
            return None
        why = self._lines[-1] if self._lines else "the copies were not finished in time"
        return f"{why}; the journal is complete, and the next start of this study writes the rest"

    def close(self, timeout_secs: float) -> bool:
        """Ask the process to write the rest and exit, and wait for it.

        Args:
            timeout_secs: Longest wait in seconds; then the process is killed. The next start of the study resumes.

        Returns:
            Whether the copies are complete.
        """
        if self._sent is None:
            with contextlib.suppress(OSError, ValueError):  # it is over, or an interrupted `close` said so already
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
                    self._print_line(text)


def environment() -> dict[str, str]:
    """Return the environment variables of a process that runs a module of this project on one core, without a GPU."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # GPUs are for trials, and everything that the process prints is shown to the user.
    environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    root = Path(__file__).absolute().parents[2]
    if not _SITE.intersection(root.parts):
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
