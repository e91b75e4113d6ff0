"""The figure of bench/calibration.md: shares of claims on real training and in simulation, and power."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.calibration_page import Nulls
from bench.claims import ALPHA, Share
from bench.simulated import ROWS as SIMULATED
from search.significance.methods import METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {"digits": "digits", "cifar10": "CIFAR-10"}
SHOWN = (
    ("the whole analysis: better or worse", "whole analysis"),
    (METHODS["crossed"].title, "crossed"),
    (f"{METHODS['corrected-t'].title}, on validation scores", "corrected t, validation"),
    (METHODS["paired-t"].title, "plain paired t"),
    (METHODS["sign-flip"].title, "sign-flip"),
    ("e-process, looked at after every block", "e-process, every block"),
    ("Multi-Bootstrap", "Multi-Bootstrap*"),
    ("plain paired t, looked at after every block", "paired t, every block*"),
    ("pooled images, as published", "pooled images*"),
    ("exact McNemar of the first pair, taken for the configurations", "McNemar, first pair*"),
)
LOOKS = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", ":"), ("#666666", "D", "-."))
"""Okabe and Ito's colours, marker and line style; each alone identifies the series."""


def draw(found: Mapping[str, Nulls], more: Mapping[str, Any], path: Path) -> None:
    """Draw shares of claims on real training on the left, in simulation in the middle, and power on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 0.9, 1))
    _claims(left, found)
    _simulated(middle, more)
    _power(right, found)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def _claims(axes: Axes, found: Mapping[str, Nulls]) -> None:
    places = {title: place for place, (title, _) in enumerate(SHOWN)}
    for study, (name, (colour, marker, _)) in enumerate(zip(found, LOOKS, strict=False)):
        numbers = sorted(found[name].singles)
        for turn, number in enumerate(numbers):
            shift = 0.62 * ((turn + 0.5) / len(numbers) - 0.5) + 0.1 * (study - 0.5)
            size = 3 + 1.6 * turn
            for title, share in found[name].singles[number].items():
                if title in places:
                    _point(axes, places[title] + shift, share, colour, marker, size)
        axes.plot([], [], marker, color=colour, label=NAMES[name])
    axes.axvline(ALPHA, color="black", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=0.1, linscale=2)
    ticks = (0, 0.025, 0.05, 0.1, 0.2, 0.5, 1)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(-0.002, 1)
    axes.set_yticks(range(len(SHOWN)), [label for _, label in SHOWN])
    axes.set_ylim(len(SHOWN) - 0.5, -0.5)
    axes.grid(axis="y", alpha=0.15)
    axes.set_xlabel("share of claims, with 95 % interval (* contrast only)")
    axes.set_title("A configuration against itself\nrepeats from 3 (small) to 30 (large)", fontsize=11)
    axes.legend(loc="upper right", fontsize=9)


def _point(axes: Axes, place: float, share: Share, colour: str, marker: str, size: float) -> None:
    low, high = share.interval
    axes.plot([low, high], [place, place], color=colour, linewidth=0.9)
    axes.plot([share.rate], [place], marker, color=colour, markersize=size)


def _simulated(axes: Axes, more: Mapping[str, Any]) -> None:
    numbers = sorted(more["fixed"])
    shown = (
        (SIMULATED[0].title, "crossed"),
        ("plain paired t", "plain paired t"),
        ("corrected resampled t, misused on a fixed test set", "corrected t, misused"),
        ("pooled images, as published", "pooled images"),
    )
    for (title, label), (colour, marker, line) in zip(shown, LOOKS, strict=True):
        worst = [max(shares[title].rate for shares in more["fixed"][number].values()) for number in numbers]
        axes.plot(numbers, worst, marker=marker, color=colour, linestyle=line, label=label)
    axes.axhline(ALPHA, color="black", linewidth=0.8)
    axes.set_ylim(0, None)
    axes.set_xlabel("repeats of each")
    axes.set_ylabel("share of claims in the worst world")
    axes.set_title("Equal over all images, not on these\n(simulated)", fontsize=11)
    axes.legend(fontsize=9)


def _power(axes: Axes, found: Mapping[str, Nulls]) -> None:
    for name, (colour, marker, _) in zip(found, LOOKS, strict=False):
        numbers = sorted({number for number, _ in found[name].power})
        for number, (_, _, line) in zip(numbers, LOOKS, strict=False):
            drops = sorted(drop for blocks, drop in found[name].power if blocks == number)
            rates = [found[name].power[number, drop]["crossed"].power.rate for drop in drops]
            axes.plot(
                [100 * drop for drop in drops],
                rates,
                marker=marker,
                color=colour,
                linestyle=line,
                label=f"{NAMES[name]}, R = {number}",
            )
    axes.axhline(0.8, color="black", linewidth=0.8)
    axes.set_xscale("log")
    ticks = (0.25, 0.5, 1, 2, 4)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("planted difference (percentage points)")
    axes.set_ylabel("share in which the better arm is called better")
    axes.set_title("What the crossed test finds", fontsize=11)
    axes.legend(fontsize=8)
