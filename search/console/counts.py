"""The state of a study in one line, and its parts."""

from __future__ import annotations

from search.journal.summary import Status
from search.text.counted import num_runs


def waiting(status: Status) -> str:
    """Return the number of waiting trials for a list of counts; empty if there are none."""
    return f", {status.num_waiting} waiting" if status.num_waiting else ""


def infeasible(status: Status) -> str:
    """Return the number of infeasible trials for a list of counts; empty if there are none."""
    return f"{status.num_infeasible} infeasible, " if status.num_infeasible else ""


def one_line(status: Status, noun: str) -> str:
    """Format the state of a study in one line."""
    parts = [
        f"{status.num_over}/{status.num_planned} {noun}",
        f"{status.num_completed} completed, {status.num_stopped} stopped, {status.num_failed} failed, "
        f"{infeasible(status)}{status.num_unfinished} running{waiting(status)}",
    ]
    nominee = status.nominee
    if nominee is not None and nominee.val_accuracy is not None and noun == "trials":
        parts.append(f"nominated {nominee.val_accuracy:.4f} ({num_runs(len(nominee.blocks))}, {nominee.label})")
    if status.epochs_per_sec is not None:
        parts.append(f"{status.epochs_per_sec:.2f} epochs/s")
    if status.eta_secs:
        parts.append(f"ETA {duration(status.eta_secs)}")
    return "; ".join(parts)


def duration(secs: float) -> str:
    """Format a duration.

    >>> duration(45), duration(720), duration(12600)
    ('45 s', '12 min', '3.5 h')
    """
    if secs < 90:
        return f"{secs:.0f} s"
    return f"{secs / 60:.0f} min" if secs < 5400 else f"{secs / 3600:.1f} h"
