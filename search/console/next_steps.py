"""The commands to run next, as the last lines of a result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

STEPS = {
    "sweep": ("sweep {}", "resume it"),
    "compare": ("compare {}", "test fresh repeats"),
    "export": ("export {} --to winner", "model and evidence"),
    "report": ("report {}", "one page"),
    "ui": ("ui {}", "runs in MLflow"),
}
"""Step -> command, and its purpose."""


def next_lines(steps: Sequence[str], study: str) -> list[str]:
    """Return the commands to run next.

    Args:
        steps: Names in `STEPS`.
        study: The study file or folder, as the user gave it.

    Returns:
        One line per command, with its purpose if it fits 80 columns.
    """
    commands = [f"hybrid-search {STEPS[step][0].format(shlex.quote(study))}" for step in steps]
    width = max(map(len, commands), default=0)
    lines = []
    for place, (step, command) in enumerate(zip(steps, commands, strict=True)):
        name = "" if place else "next"
        whole = f"{name:12}{command.ljust(width)}  # {STEPS[step][1]}"
        lines.append(whole if len(whole) <= 80 else f"{name:12}{command}")
    return lines
