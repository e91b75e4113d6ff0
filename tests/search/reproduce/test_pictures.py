"""What the papers show beside their tables, from runs on stand-in images and from numbers made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from search.records import EpochMetrics
from search.reproduce import figures
from search.reproduce.paper import load_paper
from search.reproduce.run import FOLDER, reproduce
from search.reproduce.setting import Options

pytestmark = pytest.mark.usefixtures("copied_here")

MakeOptions = Callable[..., Options]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Every figure that is saved, by its file's name."""
    kept: dict[str, Figure] = {}
    original = Figure.savefig

    def keep(self: Figure, file: Path, **settings: Any) -> None:
        kept[Path(file).stem] = self
        original(self, file, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.slow
def test_confusion_matrices_are_counted_from_the_predictions(
    make_options: MakeOptions, shown: dict[str, Figure]
) -> None:
    document = reproduce("yilmaz", make_options("cnn", "cnn-lstm-skip"))
    assert document["pictures"] == ["cells.png", "differences.png", "curves.png", "confusion.png"]
    assert document["missing"] == []
    panels = [axes for axes in shown["confusion"].axes if axes.get_title()]
    assert [axes.get_title().split(",")[0] for axes in panels] == ["CNN LSTM SKIP", "CNN"]
    for axes, cell in zip(panels, ("cnn-lstm-skip", "cnn"), strict=True):
        (row,) = [row for row in document["cells"] if row["cell"] == cell]
        # Read from other bits than the accuracy: predictions against labels, not correctness.
        assert f"{100 * row['ours']:.1f} % right" in axes.get_title()
        counts = [float(text.get_text()) for text in axes.texts]
        assert sum(counts) == pytest.approx(24, abs=0.5)
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["blue", "green", "red"]


@pytest.mark.slow
def test_predictions_that_are_gone_are_said(make_options: MakeOptions) -> None:
    options = make_options("cnn")
    document = reproduce("yilmaz", options)
    for file in Path(document["folder"]).glob("trials/*/predictions.npy"):
        file.unlink()
    again = reproduce("yilmaz", options)
    assert "confusion.png" not in again["pictures"]
    assert again["missing"] == ["the confusion matrix of CNN: its repeats have no predictions"]
    assert "Not drawn: the confusion matrix of CNN" in (Path(again["folder"]) / FOLDER / "table.md").read_text()


@pytest.mark.slow
def test_the_grid_and_the_saliency_of_johnson(make_options: MakeOptions, shown: dict[str, Figure]) -> None:
    cells = ("proposed", "sensitivity-conv2-gru32", "sensitivity-conv4-gru64")
    document = reproduce("johnson", make_options(*cells, images=(1, 9)))
    assert document["pictures"] == ["cells.png", "sensitivity.png", "saliency.png"]
    assert document["images"]["validation"] == 0
    words = words_of(shown["sensitivity"])
    assert len(words) == 16
    assert words.count("not trained") == 14
    (row,) = [row for row in document["cells"] if row["cell"] == "sensitivity-conv2-gru32"]
    assert words[0].startswith(f"{100 * row['ours']:.1f}")
    titles = [axes.get_title() for axes in shown["saliency"].axes]
    assert titles[:2] == ["blue (1)", "green (9)"]
    assert all(title.startswith("predicted: ") for title in titles[2:])
    maps = [axes.images[0].get_array() for axes in shown["saliency"].axes[2:]]
    assert all(item is not None and item.shape == (16, 16) and item.max() > 0 for item in maps)


def test_images_outside_the_test_set_are_refused_before_anything_runs(make_options: MakeOptions) -> None:
    options = make_options("proposed", images=(23, 24))
    with pytest.raises(ValueError, match=r"--images: expected positions in the test set, 0 to 23, found 24"):
        reproduce("johnson", options)
    assert not Path(str(options.storage)).exists()


def test_yin_is_scored_on_training_and_test_images(make_options: MakeOptions, shown: dict[str, Figure]) -> None:
    document = reproduce("yin", make_options("cnn", "cnn+irnn"))
    assert [(row["cell"], row["score"]) for row in document["cells"]] == [
        (cell, score) for cell in ("cnn", "cnn+irnn") for score in ("train", "test")
    ]
    assert [axes.get_xlabel() for axes in shown["cells"].axes] == ["train accuracy (%)", "test accuracy (%)"]
    (family,) = document["families"]
    assert (family["size"], family["pairs"][0]["theirs"]) == (1, pytest.approx(0.028))


def test_curves_leave_out_epochs_without_validation(make_epoch: Callable[..., EpochMetrics]) -> None:
    def run(shift: float) -> list[EpochMetrics]:
        return [
            make_epoch(epoch, 0.5, train_loss=2 + shift, val_loss=3 + shift if epoch in {2, 4} else None)
            for epoch in range(1, 5)
        ]

    figure = figures.draw_curves({"CNN": [run(0.0), run(1.0)]})
    lines = figure.axes[0].get_lines()
    (validation,) = [line for line in lines if str(line.get_label()).startswith("validation")]
    (training,) = [line for line in lines if str(line.get_label()).startswith("training")]
    assert list(validation.get_xdata()) == [2, 4]
    assert list(validation.get_ydata()) == [3.5, 3.5]
    assert len(training.get_xdata()) == 4


def test_without_any_validation_there_is_one_line(make_epoch: Callable[..., EpochMetrics]) -> None:
    figure = figures.draw_curves({"CNN": [[make_epoch(1, 0.5, val_loss=None)]]})
    assert [line.get_label() for line in figure.axes[0].get_lines() if line.get_linewidth() > 1] == [
        "training, as minimised"
    ]


def test_the_papers_matrix_stands_first() -> None:
    confusion = load_paper("yilmaz").confusion
    assert confusion is not None
    printed = confusion.printed["caltech101"]
    panel = figures.ConfusionPanel("theirs", printed.classes, np.array(printed.counts))
    figure = figures.draw_confusions([panel, panel, panel])
    assert figure.axes[0].get_title() == "theirs\n90.7 % right"
    assert "153" in words_of(figure)
