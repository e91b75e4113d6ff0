"""Writes docs/stars.md and its figure from the rows of `bench.stars`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stars import DEPENDENCE, LASTING, SD_SEEDS, Row, marked_families, misses, rows_of
from search.reproduce.paper import Paper, load_paper
from search.significance.methods import METHODS
from search.significance.planning.design import POWER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURE = "stars.md", "pictures/stars.png"
MARKS = ("first minus second", "printed, pp", "printed mark", "pooled p", "its mark")
VALID = (
    *("first minus second", "pp", "printed", "allowed alone", "allowed in table", "images"),
    *("chance alone", "chance in table"),
    *("runs", "+ seeds", "crossed", "valid verdict"),
)

TEXT = """\
# The stars of the ECRNN paper

Woo, Kim and Choi (2023) train every configuration three times, each time on another random 7:3 split of the 50,000
CIFAR-10 training images, and mark {num_rows} differences of mean validation accuracy by a "paired t-test":
\\* p < .05, \\*\\* p < .005, \\*\\*\\* p < .0001. {distinct} of the pairs are distinct; {twice} stand in two tables.

`python -m bench.stars_page` writes this page, from the accuracies in `search/reproduce/printed/ecrnn.yaml` alone.

## The marks, reproduced

Take every validation image of every run for an independent toss of a coin, n = 3 x 15,000, and compare two
proportions: the method `pooled images, as published`. **{agreed} of {num_rows} marks** follow from the printed
accuracies. With the images of one run, n = 15,000, {misses[0]} come out otherwise; with those of two, {misses[1]}; with
those of three, {misses[2]}. The variation between runs is no part of it: one run on as many images would have done.
Exactly equal learners get a mark that way in .10 to .53 of cases.

{marks}

## What three runs would have had to look like

The run is the unit, and random splits of the same images overlap. The corrected resampled t sets the mean of the runs'
differences against their standard deviation times sqrt(1/3 + 3/7), with two degrees of freedom. So
the largest variation between runs that still gives p < .05 follows from the printed means. In percentage points:

- **allowed alone**: the largest standard deviation of the three differences with which this comparison would have
  reached .05, had it been the only one
- **allowed in table**: the same after Holm over the table, if all of its differences varied alike
- **images**: the standard deviation that the choice of 15,000 validation images gives by itself, whatever the seeds do,
  {noise}. It rests on a stated share of images on which two configurations disagree: {dependence:g} % of
  what independent errors would give (64 to 82 % between shipped presets on reduced CIFAR-10). Two runs share three in
  ten of their validation images, so slightly less is seen between runs
- **chance**: that three runs vary no more than is allowed, if nothing but the choice of images makes them differ: the
  kindest case
- **runs**: how many a corrected t needs to find such a difference with 80 % power at Holm's strictest level, if
  images were all; **+ seeds**: if seeds add a standard deviation of {seeds:g}; "none": no number of runs does
- **crossed**: how many repeats the crossed test needs on the 10,000 official test images, which the paper left unused,
  with the same seeds and {lasting:g} % of the disagreement lasting

Even in the kindest case only {alone} of the {num_rows} differences are so large that three runs would have shown them
alone with a chance of .8 or more. Within its table **{in_table}** is: the highest chance is {highest}. The paper marks
{starred}. The result does not depend on the assumed share: for a chance of .8, {best} would have to disagree on no
more than {limit:.0f} % of the images.

{valid}

![how much three runs may vary]({picture})

Left of the band, significance needs less variation between runs than images and seeds cause.

## The verdict

- From validation accuracies: **refused: 3 runs**. The corrected t is offered from {fewest} on; below, its correction is
  mostly assumption.
- Had the correctness of the 10,000 test images been kept: the crossed test, and with three repeats every verdict would
  read **provisional**.
- More runs of the same design would settle {settled} of the {num_rows}, if seeds add what is stated; the others lie
  below the floor that overlapping splits put under them. Repeats scored on the test images would settle
  {settled_crossed}, with {crossed} each.
- The best of each kind were chosen after looking, and are no family: such a claim is confirmed on fresh repeats, or not
  made.

This is what the printed numbers can carry. It is no claim that the differences are not there: those of Tables 3 and 4
are large, and `hybrid-search reproduce ecrnn` is the way to find out.
"""


def write(paper: Paper) -> None:
    """Write the page and its figure."""
    (DOCS / PAGE).write_text(make_page(paper), encoding="utf-8")
    (DOCS / PICTURE).parent.mkdir(exist_ok=True)
    draw(paper).savefig(DOCS / PICTURE, dpi=110)
    print(f"docs/{PAGE} and docs/{PICTURE} written")


def make_page(paper: Paper) -> str:
    """Return the page as Markdown."""
    families = [(family.title, rows_of(paper, family)) for family in marked_families(paper)]
    rows = [row for _, found in families for row in found]
    scored = paper.data["cifar10"].scores["validation"]
    noise = [100 * row.noise for row in rows]
    best = max(rows, key=lambda row: row.chance_holm)
    wanted = math.sqrt(-math.log(1 - POWER))  # ratio of allowed and true SD at which three runs have that power
    crossed = [row.runs_crossed for row in rows if row.runs_crossed is not None]
    distinct = len({frozenset((row.first, row.second)) for row in rows})
    return TEXT.format(
        num_rows=len(rows),
        distinct=distinct,
        twice=len(rows) - distinct,
        agreed=sum(row.stars == row.printed_stars for row in rows),
        misses=[misses(paper, num_images=count * scored.images) for count in (1, 2, 3)],
        marks="\n\n".join(f"### {title}\n\n{_table(MARKS, map(_marks_of, found))}" for title, found in families),
        dependence=100 * DEPENDENCE,
        seeds=100 * SD_SEEDS,
        lasting=100 * LASTING,
        noise=f"{min(noise):.2f} to {max(noise):.2f}",
        alone=sum(row.chance >= POWER for row in rows),
        in_table=sum(row.chance_holm >= POWER for row in rows) or "none",
        highest=_chance(best.chance_holm),
        starred=sum(row.printed_stars > 0 for row in rows),
        best=_name(best),
        limit=100 * ((best.allowed_holm / wanted) ** 2 * scored.images + best.difference**2),
        valid="\n\n".join(f"### {title}\n\n{_table(VALID, map(_valid_of, found))}" for title, found in families),
        picture=PICTURE,
        fewest=METHODS["corrected-t"].min_blocks,
        settled=sum(row.runs_seeds is not None for row in rows),
        settled_crossed=len(crossed),
        crossed=f"{min(crossed)} to {max(crossed)}",
    )


def draw(paper: Paper) -> Figure:
    """Plot the allowed SD of the runs against the SD due to sampling of images, one row per comparison."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    families = [(family.title, rows_of(paper, family)) for family in marked_families(paper)[:-1]]
    figure = Figure(figsize=(9, 10), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(families), 1, sharex=True, height_ratios=[len(rows) for _, rows in families])
    expected = "to be expected: images alone (left edge), with seeds (right)"
    for axes, (title, rows) in zip(panels, families, strict=True):
        low, high = min(row.noise for row in rows), max(math.hypot(row.noise, SD_SEEDS) for row in rows)
        axes.axvspan(100 * low, 100 * high, color="#E69F00", alpha=0.35, linewidth=0, label=expected)
        places = range(len(rows))
        holm, alone = [100 * row.allowed_holm for row in rows], [100 * row.allowed for row in rows]
        axes.hlines(places, holm, alone, color="#999999", linewidth=1, zorder=1)
        axes.scatter(holm, places, color="#0072B2", marker="s", label="allowed in its table")
        axes.scatter(alone, places, facecolor="white", edgecolor="#D55E00", label="allowed alone", zorder=2)
        axes.set_yticks(places, [f"{_name(row)}  {'*' * row.printed_stars:3}" for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    ticks = (0.02, 0.05, 0.1, 0.2, 0.5, 1)
    panels[-1].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[-1].set_xlabel("standard deviation of the three runs' differences that p < .05 allows (percentage points)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _marks_of(row: Row) -> tuple[str, ...]:
    p = "< .0001" if row.p < 0.0001 else f"{row.p:.4f}".removeprefix("0")
    same = "" if row.stars == row.printed_stars else " (differs)"
    return (_name(row), f"{row.printed:+.2f}", _mark(row.printed_stars), p, _mark(row.stars) + same)


def _valid_of(row: Row) -> tuple[str, ...]:
    return (
        *(_name(row), f"{row.printed:+.2f}", _mark(row.printed_stars)),
        *(f"{100 * value:.2f}" for value in (row.allowed, row.allowed_holm, row.noise)),
        *(_chance(value) for value in (row.chance, row.chance_holm)),
        *("none" if number is None else f"{number:,}" for number in (row.runs, row.runs_seeds, row.runs_crossed)),
        "refused: 3 runs",
    )


def _chance(chance: float) -> str:
    if chance < 0.005:
        return "< .01"
    return "> .99" if chance >= 0.995 else f"{chance:.2f}".removeprefix("0")


def _name(row: Row) -> str:
    return f"{row.first} - {row.second}"


def _mark(stars: int) -> str:
    return "\\*" * stars or "n.s."


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rows = [heads, *body]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    first, *others = (f"| {line} |" for line in lines)
    return "\n".join([first, f"|{'|'.join('-' * (width + 2) for width in widths)}|", *others])


if __name__ == "__main__":
    write(load_paper("ecrnn"))
