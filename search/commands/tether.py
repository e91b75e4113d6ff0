"""A program that runs a server and terminates it, with all its workers, when the parent process exits.

The parent holds the other end of standard input and writes nothing. The operating system closes the pipe however the
parent exits, including by SIGKILL. Run by its path, the program needs only the standard library:

    python tether.py COMMAND...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE_SECS = 5.0
"""Time that the server has to shut down before it is killed."""


def main(command: list[str]) -> None:
    """Run a command until it exits or standard input closes. This process must lead a process group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group below
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_at_end_of_input, args=(server,), daemon=True).start()
    code = server.wait()
    os._exit(code if code >= 0 else 128 - code)


def _end_at_end_of_input(server: subprocess.Popen[bytes]) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + PATIENCE_SECS
    while server.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)  # remaining workers, and this process


if __name__ == "__main__":
    main(sys.argv[1:])
