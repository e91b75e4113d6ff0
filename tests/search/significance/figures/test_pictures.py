"""The other pictures: they show the numbers that they are given, and survive gray print."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.significance import Comparison, Verdict
from search.significance.by_class import ClassDifference, by_class
from search.significance.effects import smallest_detectable
from search.significance.figures import (
    PlanningLine,
    best_of_plot,
    critical_difference_plot,
    per_class_plot,
    planning_lines,
    planning_plot,
    save_figures,
    superiority_matrix,
)
from search.significance.figures.critical_difference import groups_of
from search.significance.figures.per_class import MAX_CLASSES, chosen
from search.significance.figures.planning_curve import y_range
from search.significance.figures.superiority import cells_of, diverging, ink_on, share_text
from search.significance.records import Components
from search.significance.tests import crossed
from search.significance.tests.crossed import components, crossed_test
from search.significance.tests.resampled import corrected_resampled_t

Make = Callable[..., Comparison]


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pixels: what is tested is which pictures there are."""
    monkeypatch.setattr("search.significance.figures.save.DPI", 20)


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of sRGB, as WCAG 2 defines it."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_matrix_mirrors_what_is_known_and_leaves_the_rest_open(make_comparison: Make, refused: Comparison) -> None:
    names, cells = cells_of([make_comparison("crnn", "cnn", mean_a=0.9), make_comparison("ecrnn", "cnn"), refused])
    assert names[:2] == ("crnn", "ecrnn")
    at = {(a, b): cells[i][j] for i, a in enumerate(names) for j, b in enumerate(names)}
    there, back = at["crnn", "cnn"], at["cnn", "crnn"]
    assert (there.share, there.low, there.high) == (0.625, 0.25, 0.9)
    assert (back.share, back.low, back.high) == pytest.approx((0.375, 0.1, 0.75))
    assert at["crnn", "ecrnn"].share is None
    assert not at["crnn", "ecrnn"].is_refused
    assert at["same", "cnn"].is_refused
    assert at["cnn", "same"].is_refused


def test_a_refusal_in_one_family_does_not_hide_the_pair_in_another(make_comparison: Make) -> None:
    good, bad = make_comparison(), make_comparison(estimate=None, verdict=Verdict.REFUSED)
    for both in ([good, bad], [bad, good]):
        _, cells = cells_of(both)
        assert cells[0][1].share == 0.625


def test_the_matrix_shows_shares_and_hatches_the_unknown(make_comparison: Make, refused: Comparison) -> None:
    figure = superiority_matrix([make_comparison("crnn"), make_comparison("ecrnn"), refused])
    figure.savefig(io.BytesIO(), format="png")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count(".62") == 2
    assert texts.count(".25-.90") == 2
    assert texts.count("refused") == 2
    # Of 12 cells off the diagonal, two known pairs fill four.
    assert sum(patch.get_hatch() is not None for patch in figure.axes[0].patches) == 8


def test_the_palette_is_read_in_gray_and_its_text_stands_out() -> None:
    shares = np.linspace(0, 1, 101)
    gray = np.array([luminance(diverging()(share)) for share in shares])
    assert (np.diff(gray[:51]) > 0).all()
    assert (np.diff(gray[50:]) < 0).all()
    assert gray[0] > 2 * gray[-1]
    for share, light in zip(shares, gray, strict=True):
        ink = 1.0 if ink_on(share) == "white" else 0.0
        assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5, share


@pytest.mark.parametrize(("share", "text"), [(0, "0"), (1, "1"), (0.999, ".99"), (0.001, ".01"), (0.625, ".62")])
def test_only_all_is_one(share: float, text: str) -> None:
    assert share_text(share) == text


def test_best_of_draws_what_it_is_given() -> None:
    expected, unbiased = np.array([0.5, 0.6, 0.65]), np.array([0.5, 0.62, 0.7])
    figure = best_of_plot(expected, unbiased, band=(expected - 0.1, expected + 0.1), band_label="band")
    figure.savefig(io.BytesIO(), format="png")
    first, second = figure.axes[0].lines
    assert first.get_xdata().tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert first.get_ydata() == pytest.approx(100 * expected)
    assert second.get_ydata() == pytest.approx(100 * unbiased)
    assert first.get_linestyle() != second.get_linestyle()


def test_the_planning_curve_holds_floor_rope_and_the_repeats_so_far() -> None:
    line = PlanningLine(
        label="a", repeats=(3, 10, 30), detectable=(0.04, 0.02, 0.012), floor=0.01, num_now=10, detectable_now=0.02
    )
    low, high = y_range([line], rope=0.005)
    assert low < 0.5
    assert high > 4
    figure = planning_plot([line], rope=0.005)
    figure.savefig(io.BytesIO(), format="png")
    axes = figure.axes[0]
    curve, floor, _, now = axes.lines
    assert curve.get_ydata() == pytest.approx([4, 2, 1.2])
    assert floor.get_ydata() == pytest.approx([1, 1])
    assert (now.get_xdata(), now.get_ydata()) == ([10], [2])
    assert axes.patches[0].get_extents().ymax > axes.bbox.ymin
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "below ±0.5 pp: practically equivalent" in labels


def test_lines_go_through_what_was_detectable(make_comparison: Make, refused: Comparison) -> None:
    rng = np.random.default_rng(1)
    hardness, luck = rng.normal(0, 1, 400), rng.normal(0, 0.3, (8, 1))
    diff = np.sign(np.round(hardness + luck + rng.normal(0, 0.5, (8, 400)))).astype(np.int64)
    test = crossed_test(diff)
    assert test.law is not None
    now = smallest_detectable(test.law, alpha=0.05)
    crossed = make_comparison(
        test=test.name,
        num_blocks=8,
        num_images=400,
        components=components(diff),
        family_size=1,
        se=test.se,
        smallest_detectable=now,
    )
    scores = rng.normal(0.8, 0.02, 8)
    resampled = corrected_resampled_t(scores - 0.75, ratio=3 / 7)
    assert resampled.law is not None
    on_scores = make_comparison(
        num_blocks=8,
        test=resampled.name,
        num_images=None,
        blocks=tuple("abcdefgh"),
        scores_a=tuple(scores),
        scores_b=(0.75,) * 8,
        se=resampled.se,
        family_size=1,
        smallest_detectable=smallest_detectable(resampled.law, alpha=0.05),
    )
    lines = planning_lines([refused, crossed, on_scores])
    assert len(lines) == 2
    for line in lines:
        assert np.interp(8, line.repeats, line.detectable) == pytest.approx(line.detectable_now, rel=0.01)
        assert list(line.detectable) == sorted(line.detectable, reverse=True)
        assert line.floor is not None
        assert line.floor < line.detectable[-1]
    assert lines[1].floor == pytest.approx(2.8 * np.std(scores, ddof=1) * np.sqrt(3 / 7), rel=0.01)


def test_classes_are_sorted_and_a_long_list_keeps_both_ends() -> None:
    def one(index: int) -> ClassDifference:
        return ClassDifference(
            name=f"class {index}",
            num_images=5,
            accuracy_a=0.5,
            accuracy_b=0.5,
            estimate=(index * 37 % 101) / 1000,
            interval=None,
            simultaneous_interval=None,
        )

    kept, num_left_out = chosen([one(index) for index in range(100)])
    values = [item.estimate for item in kept]
    assert (len(kept), num_left_out) == (MAX_CLASSES, 100 - MAX_CLASSES)
    assert values == sorted(values, reverse=True)
    assert (values[0], values[-1]) == (0.1, 0.0)
    figure = per_class_plot([one(index) for index in range(3)], a="a", b="b", overall=0.01)
    figure.savefig(io.BytesIO(), format="png")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "class 2 (5)",
        "class 1 (5)",
        "class 0 (5)",
    ]


def test_by_class_by_hand() -> None:
    labels = np.array([0, 0, 2, 2])
    a = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    b = np.array([[0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 1, 1]])
    first, second = by_class(a, b, labels, ["zero", "one", "two"])
    assert (first.name, first.num_images, second.name) == ("zero", 2, "two")
    assert first.estimate == pytest.approx(2 / 6)  # + 1 0 / 1 -1 / 0 1
    assert (first.accuracy_a, first.accuracy_b) == pytest.approx((5 / 6, 3 / 6))
    assert second.estimate == 0
    assert second.interval is None
    assert first.interval is not None
    assert first.simultaneous_interval is not None
    assert first.simultaneous_interval.level == pytest.approx(0.975)
    assert first.simultaneous_interval.low < first.interval.low


def test_classes_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 6, 60))
    labels = rng.integers(0, 5, 60)
    classes = by_class(a, b, labels, "vwxyz")
    weighted = sum(item.num_images * item.estimate for item in classes) / 60
    assert weighted == pytest.approx(a.mean() - b.mean())
    with pytest.raises(ValueError, match=r"expected \(R, M\)"):
        by_class(a, b[:, :-1], labels, "vwxyz")


def test_ranks_are_joined_below_the_critical_difference_only() -> None:
    assert groups_of([1.0, 1.5, 3.0, 3.4, 3.9], 1.0) == [(0, 1), (2, 4)]
    assert groups_of([1.0, 1.9, 2.8], 1.0) == [(0, 1), (1, 2)]
    assert groups_of([1.0, 2.0], 1.0) == []


def test_mean_ranks_take_six_data_sets() -> None:
    with pytest.raises(ValueError, match="num_datasets must be at least 6 for mean ranks, got 5"):
        critical_difference_plot(["a", "b"], [1.2, 1.8], 0.9, num_datasets=5)
    figure = critical_difference_plot(["a", "b"], [1.8, 1.2], 0.9, num_datasets=6)
    figure.savefig(io.BytesIO(), format="png")
    assert "descriptive" in figure.axes[0].get_title()
    assert any("b  1.20" in text.get_text() for text in figure.axes[0].texts)


def test_the_whole_set_is_written_and_an_older_one_goes(
    make_comparison: Make, refused: Comparison, tmp_path: Path
) -> None:
    for name in ("slopes-7.png", "planning.png", "holiday.png", "slopes-x.png"):
        (tmp_path / name).write_bytes(b"old")
    bare = make_comparison("bare", estimate=None, blocks=(), scores_a=(), scores_b=(), verdict=Verdict.REFUSED)
    names = save_figures([make_comparison("crnn"), bare, refused], tmp_path)
    assert names == ["forest.png", "slopes-0.png", "slopes-2.png", "superiority.png"]
    assert {file.name for file in tmp_path.iterdir()} == {*names, "holiday.png", "slopes-x.png"}
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_each_data_set_has_its_matrix_and_two_configurations_have_none(make_comparison: Make, tmp_path: Path) -> None:
    parts = Components(repeats=1e-4, images=0.02, residual=0.1)
    names = save_figures([make_comparison(components=parts, test=crossed.NAME)], tmp_path)
    assert names == ["forest.png", "slopes-0.png", "planning.png"]
    assert save_figures([], tmp_path) == []
    pairs = [make_comparison(a, "cnn", blocks=(), dataset=name) for name in ("x", "y") for a in ("crnn", "ecrnn")]
    assert save_figures(pairs, tmp_path) == ["forest.png", "superiority-0.png", "superiority-1.png"]


def test_ranks_are_drawn_over_six_data_sets(make_comparison: Make, tmp_path: Path) -> None:
    datasets = tuple(f"data {i}" for i in range(6))

    def over(a: str, b: str, **fields: object) -> Comparison:
        scores = {"scores_a": (0.8,) * 6, "scores_b": (0.7, 0.71, 0.72, 0.73, 0.81, 0.9)}
        return make_comparison(a, b, blocks=datasets, estimand="new data sets of this kind", **{**scores, **fields})

    names = save_figures([over("crnn", "cnn"), over("ecrnn", "cnn", scores_a=(0.9,) * 6)], tmp_path)
    assert "critical-difference.png" in names
    assert "critical-difference.png" not in save_figures([over("crnn", "cnn")], tmp_path)
    assert "critical-difference.png" not in save_figures([make_comparison(), make_comparison("ecrnn")], tmp_path)


def test_no_figure_is_kept_alive(make_comparison: Make, tmp_path: Path) -> None:
    from matplotlib._pylab_helpers import Gcf

    save_figures([make_comparison()], tmp_path)
    assert not Gcf.get_all_fig_managers()
