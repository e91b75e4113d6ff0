"""Time of whole commands on the demo's study, from start to exit, beside an earlier version of the program.

`python -m bench.commands OTHER` takes the path of another installation's `hybrid-search`. Each version makes the demo's
study itself. Rounds alternate between the two, so that noise affects both equally.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.report import machine, write_page

ROUNDS = 5
COMMANDS: Mapping[str, Sequence[str]] = {
    "status": ("status", "{study}"),
    "plan": ("plan", "{study}/study.yaml"),
    "predict": ("predict", "{winner}", "digit.png"),
    "report": ("report", "{study}"),
    "analyze": ("analyze", "small.csv"),
}
"""Command -> its arguments."""
BOUNDS = {"status": 0.8, "plan": 2.5, "predict": 1.5, "report": 4.0, "analyze": 1.2}
"""Command -> wanted seconds on a quiet machine."""

Times = dict[str, list[tuple[float, float]]]
"""Command -> wall and processor seconds of each round."""


def write_inputs(folder: Path) -> None:
    """Write one image of a digit's size, and a table of two configurations with six blocks each."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / "digit.png")
    rows = [f"{name},{block},{0.8 + 0.01 * rng.standard_normal():.4f}" for name in "AB" for block in range(6)]
    (folder / "small.csv").write_text("\n".join(["config,block,score", *rows, ""]), encoding="utf-8")


def run(program: str, folder: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Run a command, and return its wall and processor seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([program, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    secs, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return secs, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(programs: Mapping[str, str], root: Path) -> dict[str, Times]:
    """Run every command with every program, alternating.

    Args:
        programs: Label -> path of `hybrid-search`.
        root: Contains a folder per label, in which `demo` was run.
    """
    times: dict[str, Times] = {label: {name: [] for name in COMMANDS} for label in programs}
    for _ in range(1 + ROUNDS):  # the first round fills the caches of the file system and is dropped
        for name, arguments in COMMANDS.items():
            for label, program in programs.items():
                study = next((root / label).glob("runs/*/study.yaml")).parent
                places = {"study": str(study), "winner": str(next((root / label).glob("**/evidence.json")).parent)}
                filled = [argument.format(**places) for argument in arguments]
                times[label][name].append(run(program, root / label, filled))
    return {label: {name: rounds[1:] for name, rounds in by_name.items()} for label, by_name in times.items()}


def import_secs() -> float:
    """Return the median time of a process that only imports torch."""
    command = [sys.executable, "-c", "import torch"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    secs = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        secs.append(time.perf_counter() - start)
    return statistics.median(secs)


def to_page(times: Mapping[str, Times]) -> str:
    """Format the measurements as a page in Markdown."""
    rows = []
    for name in COMMANDS:
        here, other = (
            [statistics.median(times[label][name][i][kind] for i in range(ROUNDS)) for kind in (0, 1)]
            for label in ("here", "other")
        )
        rows.append(
            f"| `{name}` | {other[0]:.2f} s | {here[0]:.2f} s | {here[0] / other[0]:.2f} | {BOUNDS[name]} s "
            f"| {other[1]:.2f} s | {here[1]:.2f} s | {here[1] / other[1]:.2f} |"
        )
    table = "\n".join(rows)
    return f"""# What the commands cost

Whole processes on the demo's study, from start to exit; medians of {ROUNDS} alternating rounds. "Before" is the program
before its packages were laid out anew. `analyze` reads a table of 12 rows, `predict` one image. "Wanted" are seconds on
another machine. Most of `predict` is the import of torch, which took {import_secs():.2f} s here.

| command | before | now | ratio | wanted | processor, before | processor, now | ratio |
|---|---|---|---|---|---|---|---|
{table}

{machine()}
"""


def main(other: str) -> None:
    """Measure this installation and another one, and write `commands.md`."""
    programs = {"here": str(Path(sys.executable).with_name("hybrid-search")), "other": other}
    with tempfile.TemporaryDirectory() as name:
        for label, program in programs.items():
            folder = Path(name, label)
            folder.mkdir()
            write_inputs(folder)
            print(f"{label}: demo")
            run(program, folder, ["demo"])
        write_page("commands.md", to_page(measure(programs, Path(name))))


if __name__ == "__main__":
    main(sys.argv[1])
