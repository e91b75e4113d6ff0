"""Figures of a reproduction. The paper's results and ours differ in colour (Okabe and Ito's palette) and in marker.

Shapes: B images, H height, W width, C classes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.records import EpochMetrics
from search.reproduce.paper import HeatMap
from search.reproduce.table import without_interval
from search.significance.means import mean_of_repeats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS, SECOND, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
DPI = 120
MAX_NUMBERED_CLASSES = 12
"""Largest number of classes for which a confusion matrix shows its counts."""


@dataclass(frozen=True)
class ConfusionPanel:
    """One confusion matrix."""

    title: str
    classes: Sequence[str]
    counts: NDArray[Any]
    """Counts (C, C), rows are true classes; may be means over runs."""


@dataclass(frozen=True)
class SaliencyRow:
    """Saliency maps of one model."""

    label: str
    maps: NDArray[Any]
    """Saliency of each pixel, (B, H, W)."""
    captions: Sequence[str]
    """The predicted class of each image."""


def draw_cells(document: dict[str, Any]) -> Figure:
    """Plot the printed and the reproduced accuracy of each cell, one panel per score."""
    scores = list(dict.fromkeys(row["score"] for row in document["cells"]))
    labels = list(dict.fromkeys(row["label"] for row in document["cells"]))
    figure, axes = _figure(1, len(scores), (3.4 + 4.2 * len(scores), 1.5 + 0.36 * len(labels)), sharey=True)
    for place, score in enumerate(scores):
        panel = axes[0, place]
        for at, row in enumerate(item for item in document["cells"] if item["score"] == score):
            _cell_row(panel, at, row)
        _row_axis(panel, f"{score} accuracy (%)")
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    for panel in axes.flat:
        low, high = panel.get_xlim()
        panel.set_xlim(max(low, 0), min(high, 100))
    _legend(
        figure,
        [
            _key(THEIRS, "D", "theirs"),
            _line(THEIRS, 1.2, "95 % for the choice of their images"),
            _key(OURS, "o", "ours, mean"),
            _line(OURS, 4, "95 % interval of the mean"),
            _line(OURS, 1.2, "95 % of means of as many further runs as theirs"),
            _key(GREY, "|", "one run"),
        ],
    )
    figure.suptitle(document["title"], fontsize=11)
    return figure


def _cell_row(axes: Axes, at: int, row: dict[str, Any]) -> None:
    for name, width in (("expected", 1.2), ("interval", 4.0)):
        if row.get(name):
            ends = (100 * row[name]["low"], 100 * row[name]["high"])
            axes.plot(ends, (at, at), color=OURS, linewidth=width, solid_capstyle="butt")
    axes.plot(100 * np.array(row["scores"]), np.full(len(row["scores"]), at + 0.22), "|", color=GREY, markersize=5)
    if row["ours"] is not None:
        axes.plot(100 * row["ours"], at, "o", color=OURS, markersize=6, markeredgecolor="white")
    if row["theirs"] is not None:
        error = row["their_error"] or 0.0
        ends = (100 * (row["theirs"] - error), 100 * (row["theirs"] + error))
        axes.plot(ends, (at - 0.18, at - 0.18), color=THEIRS, linewidth=1.2)
        axes.plot(100 * row["theirs"], at - 0.18, "D", color=THEIRS, markersize=5.5, markeredgecolor="white")


def draw_differences(document: dict[str, Any]) -> Figure:
    """Plot printed and reproduced differences with the interval of each valid test, one panel per family."""
    rows: list[tuple[str, dict[str, Any] | None]] = []
    for family in document["families"]:
        rows += [(family["title"], None), *((f"{p['label_a']}\nminus {p['label_b']}", p) for p in family["pairs"])]
    figure, axes = _figure(1, 2, (11.5, 1.6 + 0.46 * len(rows)), sharey=True, width_ratios=(1, 0.62))
    panel, notes = axes[0]
    panel.axvline(0, color="black", linewidth=0.8)
    for at, (label, pair) in enumerate(rows):
        if pair is None:
            panel.text(0, at, label, transform=panel.get_yaxis_transform(), fontsize=9, weight="bold", va="center")
            continue
        _pair_row(panel, at, pair)
        note = notes.text(0, at, _note(pair), va="center", fontsize=8, linespacing=1.25)
        note.set_in_layout(False)
    panel.set_yticks(range(len(rows)), ["" if pair is None else label for label, pair in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.5, -0.7)
    _row_axis(panel, "difference in accuracy, first minus second (percentage points)")
    notes.set_xlim(0, 1)
    notes.axis("off")
    scored = document["families"][0]["score"]
    keys = [_key(THEIRS, "D", "theirs"), _key(OURS, "o", f"ours, {scored} images")]
    if scored == "validation":
        keys.append(_key(SECOND, "s", "ours, test images"))
    _legend(figure, [*keys, _line(GREY, 3, "95 % interval of a valid test")])
    figure.suptitle(document["title"], fontsize=11)
    return figure


def _pair_row(axes: Axes, at: int, pair: dict[str, Any]) -> None:
    if pair["theirs"] is not None:
        axes.plot(100 * pair["theirs"], at - 0.26, "D", color=THEIRS, markersize=5.5, markeredgecolor="white")
    for test, colour, marker, shift in zip(pair["tests"].values(), (OURS, SECOND), "os", (0, 0.26), strict=False):
        found = test["comparison"]
        if found["estimate"] is None:
            continue
        height = at + shift
        if found["interval"]:
            ends = (100 * found["interval"]["low"], 100 * found["interval"]["high"])
            axes.plot(ends, (height, height), color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot(100 * found["estimate"], height, marker, color=colour, markersize=6, markeredgecolor="white")


def _note(pair: dict[str, Any]) -> str:
    parts = [] if pair["their_stars"] is None else [f"their mark {_stars(pair['their_stars'])}"]
    if pair["as_published"]:
        parts.append(f"their test on ours {_stars(pair['as_published']['stars'])}")
    valid = [f"{score} {'none' if t['stars'] is None else _stars(t['stars'])}" for score, t in pair["tests"].items()]
    return "\n".join(line for line in ("; ".join(parts), f"valid test on {'; '.join(valid)}") if line)


def draw_heat_map(scores: Sequence[Sequence[NDArray[Any]]], heat_map: HeatMap) -> Figure:
    """Plot mean accuracy over a grid as a heat map, with the interval in each field.

    Args:
        scores: Accuracies per run, (R,), of each field, row by row; NaN if not trained.
        heat_map: Title and axes.
    """
    finite = [[item[np.isfinite(item)] for item in line] for line in scores]
    means = np.array([[100 * item.mean() if item.size else np.nan for item in line] for line in finite])
    figure, axes = _figure(1, 1, (2.2 + 1.35 * means.shape[1], 1.6 + 0.85 * means.shape[0]))
    panel = axes[0, 0]
    image = panel.imshow(means, cmap="cividis", aspect="auto")
    low, high = np.nanmin(means), np.nanmax(means)
    for row, line in enumerate(finite):
        for column, item in enumerate(line):
            dark = item.size and (means[row, column] - low) < 0.55 * (high - low)
            words = _field(item)
            panel.text(column, row, words, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    panel.set_xticks(range(means.shape[1]), [str(value) for value in heat_map.columns.values])
    panel.set_yticks(range(means.shape[0]), [str(value) for value in heat_map.rows.values])
    panel.set_xlabel(heat_map.columns.label)
    panel.set_ylabel(heat_map.rows.label)
    panel.set_title(f"{heat_map.title}\nmean (95 % interval over runs)", fontsize=10)
    figure.colorbar(image, ax=panel, label="test accuracy (%)")
    return figure


def _field(scores: NDArray[Any]) -> str:
    if not scores.size:
        return "not trained"
    found = mean_of_repeats(scores)
    if found.interval is None:
        return f"{100 * found.mean:.1f}\n({without_interval(found.num_repeats)})"
    return f"{100 * found.mean:.1f}\n({100 * found.interval.low:.1f} to {100 * found.interval.high:.1f})"


def draw_curves(curves: Mapping[str, Sequence[Sequence[EpochMetrics]]]) -> Figure:
    """Plot training and validation loss of each model: thin lines for runs, thick lines for their mean.

    The two losses are not comparable if training minimises more than the cross-entropy, as the autoencoder's does.

    Args:
        curves: Model -> learning curves of its runs; epochs without validation have no validation loss.
    """
    figure, axes = _figure(1, len(curves), (1 + 2.9 * len(curves), 3.4), sharey=True, sharex=True)
    for panel, (label, runs) in zip(axes[0], curves.items(), strict=True):
        for name, colour, dashes, marker in (("train_loss", THEIRS, "--", "."), ("val_loss", OURS, "-", "o")):
            lines = [
                [(item.epoch, getattr(item, name)) for item in run if getattr(item, name) is not None] for run in runs
            ]
            if not any(lines):  # no validation part
                continue
            for line in lines:
                panel.plot(
                    *np.array(line).reshape(-1, 2).T,
                    dashes,
                    color=colour,
                    marker=".",
                    markersize=2,
                    linewidth=0.7,
                    alpha=0.5,
                )
            mean = np.mean([line for line in lines if len(line) == len(lines[0])], axis=0).reshape(-1, 2)
            word = "training, as minimised" if name == "train_loss" else "validation, cross-entropy"
            panel.plot(*mean.T, dashes, color=colour, linewidth=2, marker=marker, markersize=4, label=word)
        panel.set_title(label, fontsize=10)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(color="#DDDDDD", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("loss")
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure


def draw_confusions(panels: Sequence[ConfusionPanel]) -> Figure:
    """Plot confusion matrices, shaded by the share of the true class, with counts if they fit."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = 2.2 + 0.36 * max(min(len(panel.classes), MAX_NUMBERED_CLASSES) for panel in panels)
    figure, axes = _figure(rows, columns, (size * columns + 0.8, size * rows))
    image: Any = None
    for panel, axis in zip(panels, axes.flat, strict=False):
        shares = panel.counts / np.maximum(panel.counts.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axis.set_xticks(range(len(panel.classes)), panel.classes, rotation=90, fontsize=8)
        axis.set_yticks(range(len(panel.classes)), panel.classes, fontsize=8)
        axis.set_xlabel("predicted class", fontsize=8)
        axis.set_ylabel("true class", fontsize=8)
        right = np.trace(panel.counts) / max(panel.counts.sum(), 1)
        axis.set_title(f"{panel.title}\n{100 * right:.1f} % right", fontsize=9)
        if len(panel.classes) <= MAX_NUMBERED_CLASSES:
            for row, column in np.argwhere(panel.counts > 0):
                count, colour = panel.counts[row, column], "white" if shares[row, column] > 0.5 else "black"
                words = f"{count:.0f}" if float(count).is_integer() or count >= 9.95 else f"{count:.1f}"
                axis.text(column, row, words, ha="center", va="center", fontsize=7, color=colour)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.5)
    return figure


def draw_saliency(pixels: NDArray[np.uint8], captions: Sequence[str], rows: Sequence[SaliencyRow]) -> Figure:
    """Plot images, and below them each model's saliency maps: brighter pixels change the true class's score more.

    Args:
        pixels: (B, H, W, 3).
        captions: True class of each image.
        rows: Saliency maps, one row per model.
    """
    count = len(pixels)
    figure, axes = _figure(1 + len(rows), count, (1.4 + 1.15 * count, 1.42 * (1 + len(rows)) + 0.3))
    for place in range(count):
        _show(axes[0, place], pixels[place], captions[place], {})
        for at, row in enumerate(rows, start=1):
            _show(axes[at, place], row.maps[place], f"predicted: {row.captions[place]}", {"cmap": "magma", "vmin": 0})
    for at, label in enumerate(("image", *(row.label for row in rows))):
        axes[at, 0].set_ylabel(textwrap.fill(label, 16), fontsize=8, rotation=0, ha="right", va="center")
    return figure


def _show(axes: Axes, picture: NDArray[Any], caption: str, look: dict[str, Any]) -> None:
    axes.imshow(picture, interpolation="nearest", **look)
    axes.set_title(textwrap.shorten(caption, 20, placeholder="…"), fontsize=7, pad=2)
    axes.set_xticks([])
    axes.set_yticks([])


def _figure(rows: int, columns: int, size: tuple[float, float], **layout: Any) -> tuple[Figure, Any]:  # noqa: ANN401
    """Return a figure and its axes (rows, columns); made without pyplot, which would keep every figure in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **layout)


def _row_axis(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(figure: Figure, handles: list[Any]) -> None:
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def _key(colour: str, marker: str, label: str) -> Any:  # noqa: ANN401
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=label)


def _line(colour: str, width: float, label: str) -> Any:  # noqa: ANN401
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linewidth=width, label=label)


def _stars(number: int) -> str:
    return "*" * number or "n.s."
