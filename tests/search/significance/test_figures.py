"""Figures: drawn without a display, every row labelled, nothing cut off or on top of something else."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

from search.significance import Comparison, Declared, Results, judge_results
from search.significance.figures import forest_plot, slope_plot


def family(num: int) -> tuple[Comparison, ...]:
    rng = np.random.default_rng(0)
    hardness = rng.normal(1, 1.5, 400)
    names = ["CNN", *(f"a configuration with a rather long name {i}" for i in range(num - 1)), "same"]
    correct = {
        name: (hardness + rng.normal(0.1 * i, 0.1, (8, 1)) + rng.normal(0, 0.7, (8, 400)) > 0).astype(np.uint8)
        for i, name in enumerate(names)
    }
    correct["same"] = correct["CNN"]
    results = Results(
        configs=tuple(names),
        blocks=dict.fromkeys(names, tuple(f"compare-{r}" for r in range(8))),
        correct={name: list(rows) for name, rows in correct.items()},
    )
    return judge_results([results], [(name, "CNN") for name in names[1:]], Declared())


@pytest.mark.parametrize("num", [1, 3, 8])
def test_forest_plot_is_readable(num: int) -> None:
    figure = forest_plot(family(num), title="a family")
    figure.savefig(io.BytesIO(), format="png")
    axes, notes = figure.axes
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    labels = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    texts = [text.get_window_extent(renderer) for text in notes.texts]
    assert len(labels) == len(texts) == num
    for boxes in (labels, texts):
        assert min(box.x0 for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= figure.bbox.width
        assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert not any(label.overlaps(text) for label in labels for text in texts)


def test_slope_plot_counts_the_blocks() -> None:
    comparison = family(2)[0]
    figure = slope_plot(comparison)
    figure.savefig(io.BytesIO(), format="png")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    wins = sum(a > b for a, b in zip(comparison.scores_a, comparison.scores_b, strict=True))
    assert f"first higher: {wins} of 8" in labels
