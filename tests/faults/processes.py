"""Processes of an episode, found by a mark in their environment, whoever their parent is by now."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

MARK = "HYBRID_SEARCH_FAULTS"
"""Environment variable that all processes of an episode inherit."""

RAYS_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::Dashboard")
"""Ray's processes that train nothing."""
KEPT = "/kept"
"""End of the mark of servers that outlive a command."""


def marked(mark: str) -> list[psutil.Process]:
    """Living processes whose mark begins so."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(mark) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def of_role(role: str, mark: str) -> list[psutil.Process]:
    """Processes with a task: `mirror`, `worker`, `raylet` (each node has one), `head`."""
    return [process for process in marked(mark) if role in roles(process)]


def roles(process: psutil.Process) -> Iterator[str]:
    """What a process does in a sweep."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return
    if not command:
        return
    program = Path(command[0]).name
    if "search.copies" in command:
        yield "mirror"
    if program.startswith("ray::") and not program.startswith(RAYS_OWN):
        yield "worker"
    if program == "raylet":
        yield "raylet"
        if "--head" not in command:
            yield "joined raylet"
    if program == "gcs_server":
        yield "head"


def tell(processes: Iterable[psutil.Process]) -> str:
    """Name processes for a report."""
    lines = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            lines.append(f"{process.pid} {' '.join(process.cmdline())[:90]}")
    return "; ".join(lines)


def is_left_over(process: psutil.Process) -> bool:
    """Whether a process should have gone with its command: not a server that the harness keeps, save a worker in it."""
    try:
        return not process.environ()[MARK].endswith(KEPT) or "worker" in roles(process)
    except (psutil.Error, KeyError, OSError):
        return False


def await_none(mark: str, secs: float) -> list[psutil.Process]:
    """Wait until no process of a mark is left over; returns those that still are after so many seconds."""
    until = time.monotonic() + secs
    while (left := [item for item in marked(mark) if is_left_over(item)]) and time.monotonic() < until:
        time.sleep(0.2)
    return left


def end(mark: str) -> None:
    """Kill every process of a mark."""
    for _ in range(3):
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.1)
        if not marked(mark):
            return
