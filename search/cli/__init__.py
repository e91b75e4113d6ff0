"""The command line: parses arguments, calls the commands and prints their results."""

from __future__ import annotations

import contextlib
import gc
import os
import sys

GARBAGE_THRESHOLDS = (100_000, 2, 2)
"""For `gc.set_threshold`; with the defaults, imports spend a sixth of their time on garbage collections."""


def main() -> None:
    """Run the command line: the entry point `hybrid-search`."""
    from search.cli.app import main as run
    from search.errors import EXIT_INTERRUPTED

    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        run()
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            # The interrupt's sender may soon kill this process, and unloading torch takes a second, or several.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None
                    stream.flush()
            os._exit(EXIT_INTERRUPTED)
        if "triton" not in sys.modules:  # it complains of objects that are not collected
            gc.freeze()  # the collection at the end of the interpreter would visit every object again
        raise
