"""Forest and slopes: drawn without a display, every row labelled, nothing cut off or on top of something else."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
from collections.abc import Callable

import pytest

from search.significance import Comparison, Interval, Verdict
from search.significance.figures import forest_plot, slope_plot
from search.significance.figures.forest import value_range

Make = Callable[..., Comparison]


@pytest.mark.parametrize(("num", "num_families"), [(1, 1), (8, 1), (4, 2)])
def test_forest_plot_is_readable(make_comparison: Make, refused: Comparison, num: int, num_families: int) -> None:
    family = [
        make_comparison(f"a configuration with a rather long name {i}", family=f"family {j}")
        for j in range(num_families)
        for i in range(num)
    ]
    family[-1] = dataclasses.replace(refused, family=family[-1].family)
    figure = forest_plot(family)
    figure.savefig(io.BytesIO(), format="png")
    axes, notes = figure.axes
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    labels = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    texts = [text.get_window_extent(renderer) for text in notes.texts]
    num_headings = num_families if num_families > 1 else 0
    assert len(labels) - num_headings == len(texts) == num * num_families
    for boxes in (labels, texts):
        assert min(box.x0 for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= figure.bbox.width
        assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert not any(label.overlaps(text) for label in labels for text in texts)


def test_headings_name_data_set_and_family(make_comparison: Make) -> None:
    both = [make_comparison(dataset=name, family="vs cnn") for name in ("cifar10", "digits")]
    labels = [label.get_text() for label in forest_plot(both).axes[0].get_yticklabels()]
    assert labels == ["cifar10 · vs cnn", "crnn minus cnn", "digits · vs cnn", "crnn minus cnn"]


def test_the_axis_holds_every_interval_but_not_absurd_ones(make_comparison: Make) -> None:
    low, high = value_range([make_comparison(estimate=0.02, half=0.01)])
    assert low < -0.5
    assert high > 4
    wide = Interval(low=-0.4, high=0.5, level=0.99)
    low, high = value_range([make_comparison(estimate=0.02, half=0.01, simultaneous_interval=wide)])
    assert -4 < low < -0.5
    assert 3 < high < 8
    axes = forest_plot([make_comparison(simultaneous_interval=wide)]).axes[0]
    assert {line.get_marker() for line in axes.lines} >= {"<", ">"}


def test_an_interval_without_ends_fills_its_row(make_comparison: Make) -> None:
    nothing = Interval(low=math.nan, high=math.nan, level=0.95)
    figure = forest_plot([make_comparison(interval=nothing, simultaneous_interval=None), make_comparison("ecrnn")])
    figure.savefig(io.BytesIO(), format="png")
    axes, notes = figure.axes
    low, high = axes.get_xlim()
    first = axes.lines[1].get_xdata()
    assert first[0] < low < high < first[1]  # type: ignore[index, operator]
    assert "unbounded" in notes.texts[0].get_text()


def test_the_band_is_the_rope(make_comparison: Make) -> None:
    band = forest_plot([make_comparison(rope=0.01)]).axes[0].patches[0]
    assert (band.get_x(), band.get_width()) == pytest.approx((-1, 2))  # type: ignore[attr-defined]


def test_verdicts_are_told_apart_without_colour(make_comparison: Make, refused: Comparison) -> None:
    family = [*(make_comparison(verdict=verdict) for verdict in Verdict if verdict is not Verdict.REFUSED), refused]
    legend = forest_plot(family).legends[0]
    markers = [line.get_marker() for line in legend.get_lines() if line.get_linestyle() == "None"]
    assert len(set(markers)) == len(markers) == len(Verdict)


def test_slope_plot_counts_the_blocks(make_comparison: Make) -> None:
    figure = slope_plot(make_comparison())
    figure.savefig(io.BytesIO(), format="png")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["first higher: 2 of 4", "second higher: 1 of 4", "tie: 1 of 4", "mean"]
