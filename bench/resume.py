"""Time to resume a study with thousands of trials, overhead per trial, and its growth with the number of trials."""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import resume_parts as parts
from bench.report import machine, write_page
from bench.resume_parts import PARTS, Row

NUM_TRIALS = 10_000
WINDOW = 500
NUM_PROPOSALS = 15
TRIAL_SECS = 10.0
EPOCHS, NUM_RECORDED = 10, 150
"""Epochs of a recorded trial, which stands for 10 seconds of training, and number of recorded trials."""
NUM_COPIED, CHUNK = 1_500, 250
COLOURS = ("#999999", "#0072B2", "#56B4E9", "#D55E00", "#009E73")
"""Okabe and Ito's colours in the order of `PARTS`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write bench/resume.md and its figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=NUM_TRIALS)
    num_trials = parser.parse_args(arguments).trials
    few = num_trials // 10
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = parts.run_trials(folder / "live", few)
        shutil.copytree(folder / "live", folder / "few")
        rows += parts.run_trials(folder / "live", num_trials)
        _tell(f"{len(rows)} trials trained", began)
        resumed = {
            num: [parts.resume_secs(folder / name, num) for _ in range(rounds)]
            for num, name, rounds in ((few, "few", 3), (num_trials, "live", 3))
        }
        _tell(f"resumed: {resumed}", began)
        source = folder / "live" / "trivial"
        proposals = {
            num: (
                parts.our_proposals(source, num, folder / f"ours-{num}", NUM_PROPOSALS),
                parts.plain_proposals(source, num, folder / f"plain-{num}", NUM_PROPOSALS),
            )
            for num in (few // 10, few, num_trials // 4, num_trials // 2, num_trials)
        }
        _tell(f"proposals: {proposals}", began)
        recorded = parts.recorded_trials(folder / "recorded", NUM_RECORDED, EPOCHS)
        pictures = parts.with_pictures(folder / "recorded" / "trivial", folder / "pictures", NUM_RECORDED)
        copied = parts.mirror_secs(source, folder / "mirror", min(NUM_COPIED, num_trials), CHUNK)
        _tell(f"copied: {copied}, with pictures {pictures:.3f}", began)
    draw(rows, proposals, Path(__file__).parent / "pictures" / "resume.png")
    write_page("resume.md", page(rows, resumed, proposals, recorded, copied, pictures, time.monotonic() - began))


def _tell(line: str, began: float) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)


def windows(rows: Sequence[Row], part: str) -> list[float]:
    """Return the mean milliseconds of a part in consecutive windows of trials."""
    size = min(WINDOW, max(1, len(rows) // 10))
    starts = range(0, len(rows) - size + 1, size)
    return [1000 * statistics.fmean(row[part] for row in rows[start : start + size]) for start in starts]


def page(
    rows: Sequence[Row],
    resumed: dict[int, list[tuple[float, float]]],
    proposals: dict[int, tuple[float, float]],
    recorded: Sequence[Row],
    copied: Sequence[float],
    pictures: float,
    total_secs: float,
) -> str:
    """Return the page as Markdown."""
    many = max(resumed)
    tenth = max(1, len(rows) // 10)
    grown = "\n".join(_growth(rows, part, tenth) for part in PARTS)
    ours_beside = [part for part in PARTS if part != "training"]
    first, last = (
        sum(statistics.fmean(row[part] for row in window) for part in ours_beside)
        for window in (rows[:tenth], rows[-tenth:])
    )
    shares = {part: statistics.fmean(row[part] for row in recorded) / TRIAL_SECS for part in ours_beside}
    times = "\n".join(
        f"| {num:,} | {', '.join(f'{secs:.1f}' for secs, _ in taken)} | "
        f"**{statistics.median(secs for secs, _ in taken):.1f}** | {statistics.median(cpu for _, cpu in taken):.1f} |"
        for num, taken in resumed.items()
    )
    asked = "\n".join(
        f"| {num:,} | {1000 * ours:.1f} | {1000 * plain:.1f} | {ours / plain:.2f} |"
        for num, (ours, plain) in proposals.items()
    )
    share_rows = "\n".join(
        f"| {part} | {1000 * TRIAL_SECS * share:.1f} | {share:.2%} |" for part, share in shares.items()
    )
    return f"""# Resuming, and what thousands of trials cost

{machine()}

Times of resuming are wall time; everything else is processor time of the process in question, which depends less on who
else uses the machine. All of it took {total_secs / 60:.0f} minutes.

## From the command to the first new trial

A study with so many recorded one-epoch trials, continued by the same command: imports, data, journal, Optuna's study
made from it in memory, the scheduler's memory, tidying, and the first proposal of TPE. Inline runner, so without Ray's
own start.

| recorded trials | rounds, s | median, s | processor time of the whole command, s |
|---|---|---|---|
{times}

## {many:,} one-epoch trials of a trivial model

Inline runner, random proposals (TPE's own cost is below), MLflow apart. Milliseconds per trial, mean of the first and
of the last {tenth:,} trials:

| part | first {tenth:,} | last {tenth:,} |
|---|---|---|
{grown}
| **all but training** | **{1000 * first:.1f}** | **{1000 * last:.1f}** |

![cost per trial by part](pictures/resume.png)

## TPE's own share

A proposal and its outcome after so many trials, median of {NUM_PROPOSALS}, in milliseconds; beside it plain Optuna
(`study.optimize` with the same sampler, log file and parameters, nothing else).

| trials so far | here | plain Optuna | ratio |
|---|---|---|---|
{asked}

## Share of a {TRIAL_SECS:.0f}-second trial

Trials of {EPOCHS} epochs, recorded through the real classes without training ({NUM_RECORDED} of them, TPE):

| part | ms per trial | share of {TRIAL_SECS:.0f} s |
|---|---|---|
{share_rows}
| **driver, together** | **{1000 * TRIAL_SECS * sum(shares.values()):.1f}** | **{sum(shares.values()):.2%}** |
| MLflow's copy, in its own process, a picture included | {1000 * pictures:.1f} | {pictures / TRIAL_SECS:.2%} |

MLflow's copy of one-epoch trials takes {1000 * copied[0]:.1f} ms per trial for the first {CHUNK} and
{1000 * copied[-1]:.1f} ms for the last {CHUNK} of {CHUNK * len(copied):,}, on SQLite. Its process is the last to get
a core (nice 10), and no trial waits for it.
"""


def _growth(rows: Sequence[Row], part: str, num: int) -> str:
    first, last = (1000 * statistics.fmean(row[part] for row in window) for window in (rows[:num], rows[-num:]))
    return f"| {part} | {first:.2f} | {last:.2f} |"


def draw(rows: Sequence[Row], proposals: dict[int, tuple[float, float]], path: Path) -> None:
    """Draw the time per trial by part on the left, and that of TPE's proposals on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    curves = {part: windows(rows, part) for part in PARTS}
    step = len(rows) / len(curves[PARTS[0]])
    places = [step * (place + 0.5) for place in range(len(curves[PARTS[0]]))]
    left.stackplot(places, *curves.values(), labels=PARTS, colors=COLOURS)
    left.set_title("one-epoch trials, random proposals")
    left.set_ylabel("processor time per trial, ms")
    lines: tuple[tuple[str, str, str, Any], ...] = (
        ("here", COLOURS[1], "o-", 0),
        ("plain Optuna", COLOURS[3], "s--", 1),
    )
    for name, colour, look, index in lines:
        right.plot(list(proposals), [1000 * secs[index] for secs in proposals.values()], look, color=colour, label=name)
    right.set_title("TPE: proposal and outcome")
    right.set_ylabel("processor time, ms")
    for axes in (left, right):
        axes.set_xlabel("trials so far")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
