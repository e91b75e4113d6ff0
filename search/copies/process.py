"""The copies in a process of their own: the driver starts it and forgets it; no step of a trial waits for a server.

The driver's side is `TrackerProcess`; it imports neither mlflow nor optuna. The other side is `search.copies`.
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
"""How long one request may take: a slow server is waited for here, as nobody waits for the mirror."""
URI_VARIABLE = "HYBRID_SEARCH_MIRROR_URI"
DATABASE_VARIABLE = "HYBRID_SEARCH_COPY_DATABASE"
"""How the process learns where MLflow and Optuna's database are: an address may hold a password, and everybody sees a
command line."""
_SITE = {"site-packages", "dist-packages"}


class TrackerProcess:
    """The driver's handle on the process that writes the copies of its journal.

    Args:
        folder: The study's folder.
        uri: MLflow tracking URI; None: nothing is copied to MLflow.
        experiment: MLflow experiment.
        say: Receives each line that the process has for the user; called from another thread.
        optuna: Where Optuna's study is kept: the study's folder, or the URL of a database; None: nowhere.
    """

    def __init__(
        self,
        folder: Path,
        uri: str | None,
        experiment: str | None,
        say: Callable[[str], None] = lambda _: None,
        *,
        optuna: Path | str | None = None,
    ) -> None:
        self._say = say
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
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"MLFLOW_HTTP_REQUEST_TIMEOUT": REQUEST_SECS, **_environment(), **addresses},
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
        """After `close`: one line for the user about what the copies do not have yet; None if they have all."""
        if self._sent is not False:
            return None
        why = self._lines[-1] if self._lines else "the copies were not done in time"
        return f"{why}; the journal has everything, and the next start of this study sends the rest"

    def close(self, timeout_secs: float) -> bool:
        """Tell the process to send the rest and leave, and wait for that.

        Args:
            timeout_secs: At most; then the process is ended, and the next one goes on where it was.

        Returns:
            Whether the copies have everything.
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
