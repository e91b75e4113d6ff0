"""The summary of a run as a page: bench/faults.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run import Row

PAGE = Path(__file__).parents[2] / "bench" / "faults.md"


def write_page(rows: Sequence[Row], *, seed: int, mins: float, jobs: int, num_cpus: int) -> None:
    """Write the table of a run."""
    PAGE.write_text(to_markdown(rows, seed=seed, mins=mins, jobs=jobs, num_cpus=num_cpus), encoding="utf-8")


def to_markdown(rows: Sequence[Row], *, seed: int, mins: float, jobs: int, num_cpus: int) -> str:
    """The table with what it needs to be read."""
    skipped = [row for row in rows if row.result.startswith("skipped")]
    num_hit = len(rows) - len(skipped)
    num_ok = sum(row.result == "ok" for row in rows)
    kinds = {row.kind for row in rows} - {row.kind for row in skipped}
    lines = [
        "# Faults",
        "",
        f"{num_hit} faults of {len(kinds)} kinds hit real sweeps at seeded moments; the invariant of",
        f"`tests/faults/invariant.py` was asserted after each. {num_ok} of {num_hit} are ok.",
        f"It took {mins:.0f} minutes with {jobs} sweeps at a time on {num_cpus} CPUs.",
        "",
        f"    make faults SEED={seed}",
        "",
        "Faults with one seed hit one sweep, in this order; together they are replayed with",
        "`python tests/faults/run.py --kind A,B,C --seed S`. A moment is so many further epochs in the journal and so",
        "much later, or a time after the start of the command. `starts` counts those of the command after the fault.",
        "",
        "| number | kind | seed | moment | starts | seconds | result |",
        "|--:|---|--:|---|--:|--:|---|",
    ]
    order = sorted(rows, key=lambda row: row.seed)
    for number, row in enumerate(order, start=1):
        result = row.result.splitlines()[0].replace("|", "/")
        lines.append(
            f"| {number} | {row.kind} | {row.seed} | {row.moment} | {row.starts} | {row.secs:.0f} | {result} |"
        )
    return "\n".join([*lines, ""])
