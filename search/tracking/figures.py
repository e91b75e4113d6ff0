"""Figures that accompany an MLflow run, as small PNG files.

The colours are the Okabe-Ito palette and a single-hue scale, which are safe for colour blindness and greyscale print.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.text.counted import num_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from search.records import TrialRecord

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
TRAINING: Any = {"color": ORANGE, "linestyle": "--", "label": "training"}
VALIDATION: Any = {"color": BLUE, "label": "validation"}
DPI = 80
MAX_NUMBERED_CLASSES = 12
"""Largest number of classes for which each cell shows its count."""
MAX_NAMED_CLASSES = 30
_STYLE: Any = {"font.size": 8.0, "axes.titlesize": 9.0, "axes.spines.top": False, "axes.spines.right": False}


def draw_curves(record: TrialRecord, file: Path) -> None:
    """Draw loss and accuracy of one training per epoch.

    Args:
        record: The training; needs at least one epoch.
        file: Path of the PNG file.
    """
    _curves_plot().draw(record, file)


@functools.lru_cache(maxsize=1)
def _curves_plot() -> _CurvesPlot:
    return _CurvesPlot()


class _CurvesPlot:
    """Axes, lines and ticks, created once because a sweep draws thousands of these figures."""

    def __init__(self) -> None:
        from matplotlib.ticker import MaxNLocator

        self._figure, self._panels = _panels(2, (6.4, 2.6), left=0.07, right=0.98, bottom=0.16, top=0.91, wspace=0.16)
        self._lines: list[dict[str, Any]] = []
        for axes in self._panels:
            styles = (("train", TRAINING), ("val", VALIDATION))
            self._lines.append({part: axes.plot([], [], markersize=3, **style)[0] for part, style in styles})
            axes.set_xlabel("epoch")
            _whole_epochs(axes)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))

    def draw(self, record: TrialRecord, file: Path) -> None:
        marker = "o" if len(record.curve) <= 30 else ""
        kinds = (("loss", "lowest", min), ("accuracy", "highest", max))
        for axes, lines, (name, word, pick) in zip(self._panels, self._lines, kinds, strict=True):
            for part, line in lines.items():
                values = ((item.epoch, getattr(item, f"{part}_{name}")) for item in record.curve)
                points = [point for point in values if point[1] is not None]
                line.set_data(*(zip(*points, strict=True) if points else ((), ())))
                line.set_marker(marker)
                line.set_label(line.get_label().removeprefix("_") if points else f"_{line.get_label()}")
                if points:
                    epoch, value = pick(points, key=lambda point: point[1])
            # Validation values, or training values without a validation. With a fixed height, matplotlib does not
            # measure every label twice.
            axes.set_title(f"{name}: {word} {value:.4g} (epoch {epoch})", y=1.0)
            axes.relim()
            axes.autoscale()
        self._panels[0].legend(frameon=False)
        _save(self._figure, file)


def draw_sweep(records: Sequence[TrialRecord], nominee: TrialRecord | None, file: Path) -> None:
    """Draw the validation accuracy of all trials of a sweep, with the nominee highlighted.

    Args:
        records: Trials; those without a validated epoch are left out.
        nominee: Trial to highlight; None for none.
        file: Path of the PNG file.
    """
    from matplotlib.collections import LineCollection

    figure, (axes,) = _panels(1, (6.4, 3.6), left=0.1, right=0.98, bottom=0.12, top=0.92)
    lines = [line for record in records if (line := _validated(record))]
    axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.8, alpha=0.6))
    ends = np.array([line[-1] for line in lines]).reshape(-1, 2)
    axes.plot(ends[:, 0], ends[:, 1], linestyle="", marker="o", markersize=2.5, color=GREY)
    if nominee is not None and nominee.val_accuracy is not None:
        epochs, accuracies = zip(*_validated(nominee), strict=True)
        axes.plot(epochs, accuracies, color=BLUE, linewidth=2, marker="o", markersize=4)
        runs = num_runs(len(nominee.blocks))
        title = f"nominated: {nominee.label}, validation accuracy {nominee.val_accuracy:.4f} ({runs})"
        axes.set_title(title, color=BLUE)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy")
    axes.margins(0.03)
    axes.autoscale_view()
    _whole_epochs(axes)
    _save(figure, file)


def _validated(record: TrialRecord) -> list[tuple[int, float]]:
    """Return (epoch, validation accuracy) of the validated epochs."""
    return [(item.epoch, item.val_accuracy) for item in record.curve if item.val_accuracy is not None]


def load_confusion(file: Path) -> NDArray[np.int64]:
    """Read a confusion matrix.

    Args:
        file: Path of the .npy file.

    Returns:
        Counts of shape (num_classes, num_classes).

    Raises:
        OSError: The file cannot be read.
        ValueError: The file contains no square matrix.
    """
    counts: NDArray[np.int64] = np.load(file, allow_pickle=False)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        msg = f"expected counts of shape (classes, classes), found {counts.shape}"
        raise ValueError(msg)
    return counts


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], file: Path) -> None:
    """Draw a confusion matrix: the share of each true class, with counts if there are few classes.

    Args:
        counts: Counts of shape (num_classes, num_classes); rows are true classes.
        classes: Class names in the order of the rows; numbers are used if their count does not match.
        file: Path of the PNG file.
    """
    num_classes = len(counts)
    names = tuple(classes) if len(classes) == num_classes else tuple(str(index) for index in range(num_classes))
    _confusion_plot(names).draw(counts, file)


@functools.lru_cache(maxsize=2)
def _confusion_plot(names: tuple[str, ...]) -> _ConfusionPlot:
    return _ConfusionPlot(names)


class _ConfusionPlot:
    """Axes and labels, drawn once per list of classes because a sweep draws hundreds of these figures."""

    def __init__(self, names: tuple[str, ...]) -> None:
        num_classes = len(names)
        inner = 1.6 + 0.32 * min(num_classes, MAX_NUMBERED_CLASSES)
        named = num_classes <= MAX_NAMED_CLASSES
        margin = 0.5 + (0.065 * max(map(len, names)) if named else 0.15)
        width, height = margin + inner + 0.85, margin + inner + 0.3
        self._figure, (axes,) = _panels(
            1,
            (width, height),
            left=margin / width,
            right=1 - 0.55 / width,
            bottom=margin / height,
            top=1 - 0.3 / height,
        )
        blank = np.zeros((num_classes, num_classes))
        self._image = axes.imshow(blank, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        self._figure.colorbar(self._image, ax=axes, label="share of the true class", fraction=0.05, pad=0.03)
        if named:
            axes.set_xticks(range(num_classes), names, rotation=90)
            axes.set_yticks(range(num_classes), names)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        for side_name in ("top", "right"):
            axes.spines[side_name].set_visible(True)
        self._axes = axes
        canvas: Any = self._figure.canvas
        canvas.draw()
        self._canvas = canvas
        self._background = canvas.copy_from_bbox(self._figure.bbox)

    def draw(self, counts: NDArray[np.int64], file: Path) -> None:
        from PIL import Image

        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        total = int(counts.sum())
        self._canvas.restore_region(self._background)
        self._image.set_data(shares)
        self._axes.draw_artist(self._image)
        title = self._axes.set_title(f"accuracy {np.trace(counts) / max(total, 1):.4f}, {total} images", fontsize=9)
        self._axes.draw_artist(title)
        if len(counts) <= MAX_NUMBERED_CLASSES:
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
            for row, column in np.argwhere(counts > 0):
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = self._axes.text(column, row, str(counts[row, column]), color=colour, **style)
                self._axes.draw_artist(text)
                text.remove()
        title.set_text("")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(file, compress_level=6)


def _panels(num_columns: int, size: tuple[float, float], **margins: float) -> tuple[Figure, Sequence[Any]]:
    """Return a figure and its axes, without pyplot (keeps figures alive) or a layout engine (draws twice)."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=DPI)
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, num_columns, squeeze=False)
    figure.subplots_adjust(**margins)
    return figure, list(panels.flat)


def _whole_epochs(axes: Any) -> None:  # noqa: ANN401 - matplotlib's own stubs make subplots an ndarray of Any
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="png", pil_kwargs={"compress_level": 6})
