"""Pictures of what mattered: they show the numbers that they are given."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from search.significance.figures.importance import importance_plot, pair_plot, parallel_plot, slices_plot
from search.significance.importance.factor import Factor, Share

NAN = float("nan")
RATE = Factor(name="rate", positions=np.array([0, 0.5, 1, 0.25]), num_values=None, ends=(1e-4, 1e-1), is_log=True)
CELL = Factor(name="cell", positions=np.array([0.0, 1, 1, 0]), num_values=2, choices=("gru", "lstm"))
NODES = Factor(name="nodes", positions=np.array([0.0, NAN, 1, NAN]), num_values=8, ends=(8.0, 64.0))
RANK = np.array([1.0, 0.75, 0.5, 0.25])


def drawn(figure: Any) -> Any:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=20)
    assert stream.getvalue().startswith(b"\x89PNG")
    return figure


def words(figure: Any) -> set[str]:
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_shares_with_intervals_and_without_certainty() -> None:
    shares = (
        Share(parameter="rate", share=0.7, low=0.5, high=0.9),
        Share(parameter="cell", share=0.3, low=0.1, high=0.5, is_beyond_chance=False),
    )
    figure = drawn(importance_plot([("a", shares, ""), ("b", shares[:1], ""), ("c", (), "too few")], ["rate", "cell"]))
    full, missing, empty = figure.axes
    lines = [(line.get_xdata(), line.get_ydata(), line.get_markerfacecolor()) for line in full.lines]
    assert [list(x) for x, _, _ in lines] == [[50, 90], [70], [10, 50], [30]]
    assert [face for x, _, face in lines if len(x) == 1][1] == "white"
    assert lines[1][2] != "white"
    assert [text.get_text() for text in missing.texts] == ["conditional"]
    assert [text.get_text() for text in empty.texts] == ["too few"]
    assert [label.get_text() for label in full.get_yticklabels()] == ["rate", "cell"]


def test_slices_show_completed_and_stopped_trials() -> None:
    scores, stopped = np.array([0.9, 0.8, 0.6, NAN]), np.array([False, False, True, False])
    completed = np.array([True, True, False, False])  # the last one diverged
    figure = drawn(slices_plot([RATE, CELL], scores, completed, stopped))
    rate, cell = figure.axes
    crosses, points = rate.lines
    assert list(crosses.get_ydata()) == pytest.approx([60])
    assert list(points.get_xdata()) == [0, 0.5]
    assert list(points.get_ydata()) == pytest.approx([90, 80])
    assert [list(line.get_ydata()) for line in cell.lines[2:]] == [[90, 90], [80, 80]]  # means of completed trials
    assert [label.get_text() for label in rate.get_xticklabels()] == ["0.0001", "0.001", "0.01", "0.1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["stopped early", "completed"]


def test_ranks_over_two_parameters_are_blank_without_trials() -> None:
    figure = drawn(pair_plot(NODES, CELL, RANK))
    smooth = figure.axes[0].collections[0].get_array()
    assert smooth.shape == (2, 40)
    assert smooth[0, 0] == pytest.approx(1.0, abs=0.01) or smooth.mask[0, 0]
    assert smooth.mask[0, -1]  # a gru of many nodes
    (trials,) = figure.axes[1].collections
    assert sorted(trials.get_array()) == [0.5, 1.0]  # those with nodes


def test_parallel_coordinates_pass_through_the_values() -> None:
    figure = drawn(parallel_plot([RATE, CELL, NODES], RANK, best=0.75))
    others, best = figure.axes[0].collections
    assert (len(others.get_segments()), len(best.get_segments())) == (2, 2)
    first, second = (segment[:, 1] for segment in best.get_segments())
    low, high = 0.04, 0.96
    assert first == pytest.approx([low, low, low, high], abs=0.04)
    assert second[:2] == pytest.approx([0.5, high], abs=0.04)
    assert second[2] < 0  # no nodes
    assert {"gru", "lstm", "8", "64", "absent", "best", "worst"} <= words(figure)


def test_of_many_trials_a_sample_is_drawn() -> None:
    places = np.linspace(0, 1, 2000)
    factors = [Factor(name=name, positions=places, num_values=None) for name in ("a", "b")]
    figure = drawn(parallel_plot(factors, places, best=0.75))
    others, best = (len(lines.get_segments()) for lines in figure.axes[0].collections)
    assert others + best == 500
    assert 90 < best < 160
    trials = drawn(pair_plot(*factors, places)).axes[1].collections[0].get_array()
    assert len(trials) == 500
    assert abs(np.corrcoef(np.arange(500), trials)[0, 1]) < 0.2  # neither the best nor the worst ones are on top
