"""A program that runs a server and ends it, with all its workers, as soon as the process that started it is gone.

That process holds the other end of standard input and writes nothing: the system closes it however the process ends,
by SIGKILL, too. Run by its path, it needs nothing but the standard library:

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
"""For the server to end by itself before it is killed."""


def main(command: list[str]) -> None:
    """Run a command until it ends, or until standard input does. This process must lead a process group."""
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
    os.killpg(0, signal.SIGKILL)  # workers that outlived it, and this process


if __name__ == "__main__":
    main(sys.argv[1:])
