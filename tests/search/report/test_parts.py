"""The pieces: markup, curves of a sweep, and comparisons read back."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search.journal.comparison import ComparisonDocument
from search.records import Completed, Failed, Stopped, TrialRecord
from search.report.learning_curves import curves_figure, drawn
from search.report.markup import Html, definitions, join, table, tag
from search.report.picture import picture
from search.report.so_far import highest_so_far, so_far_figure, so_far_plot
from search.report.sweep import band_of
from search.report.verdict import parted, verdict_counts
from search.significance import Comparison, Interval, MeanTest, Verdict
from search.significance.figures.interactive import forest_figure, slopes_figure, superiority_figure
from search.significance.figures.interactive_curves import best_of_figure, per_class_figure, planning_figure
from search.significance.figures.lines import planning_lines

Judged = Callable[..., list[Comparison]]


def test_a_picture_has_a_still_and_a_live_version(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # still pictures after all
    trials = [make_record("a", outcome=Completed(), curve=(make_epoch(1, 0.5),))]
    found = picture(so_far_plot(trials), so_far_figure(trials), alt='1 > 0 "x"', caption="</figure>")
    assert found.count("<figure>") == found.count("</figure>") == 1
    assert found.count("1 &gt; 0 &quot;x&quot;") == 2
    source = re.search(r'src="data:image/png;base64,([^"]+)"', found)
    assert source is not None
    assert base64.b64decode(source[1]).startswith(b"\x89PNG")


def test_text_is_escaped_once_and_markup_never() -> None:
    assert tag("p", "a < b & c", tag("b", "<i>")) == "<p>a &lt; b &amp; c<b>&lt;i&gt;</b></p>"
    assert tag("a", "x", attributes={"href": '"><script>'}) == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert join(["<", Html("<br>")]) == "&lt;<br>"
    assert "<script" not in table(("<script>",), [("<script>",)], caption="<script>")
    assert "<script" not in definitions([("<script>", "<script>")])


def test_learning_curves_are_those_of_all_trials(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(number: int, heights: list[float | None], outcome: Any) -> TrialRecord:
        curve = tuple(make_epoch(epoch, height) for epoch, height in enumerate(heights, 1))
        return make_record(f"t{number}", number=number, label=f"<{number}>", curve=curve, outcome=outcome)

    trials = [
        trial(0, [0.5, 0.75], Completed()),
        trial(1, [0.5, None, 0.9], Completed()),
        trial(2, [0.25], Stopped(epoch=1)),
        trial(3, [], Failed(reason="x")),
    ]
    assert [record.number for record in drawn(trials)] == [0, 1, 2]
    completed, stopped, best = curves_figure(drawn(trials), trials[1]).data
    assert (stopped.name, completed.name, best.name) == ("stopped early", "completed", "nominee")
    assert list(completed.x) == [1, 2, None, 1, 3, None]
    assert list(completed.y) == [50, 75, None, 50, 90, None]
    assert list(completed.text)[:3] == ["&lt;0&gt;", "&lt;0&gt;", ""]
    assert list(best.y) == [50, 90, None]
    monkeypatch.setattr("search.report.learning_curves.MAX_DRAWN", 2)
    assert [record.number for record in drawn(trials)] == [0, 2]


def test_the_band_is_what_draws_of_k_give() -> None:
    values = np.array([0.5, 0.6, 0.7, 0.9])
    low, high = band_of(values)
    for k in (1, 2, 3, 4):
        highest = sorted(max(draw) for draw in itertools.product(values, repeat=k))
        reached = [highest[math.ceil(quantile * len(highest) - 1e-9) - 1] for quantile in (0.1, 0.9)]
        assert (low[k - 1], high[k - 1]) == pytest.approx(reached)


def test_the_highest_so_far_counts_completed_trials_only(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]
) -> None:
    outcomes = [Completed(), Stopped(epoch=1), Failed(reason="lost"), Completed(), Completed()]
    trials = [
        make_record(str(number), number=number, outcome=outcome, curve=(make_epoch(1, accuracy),), label="<x>")
        for number, (outcome, accuracy) in enumerate(zip(outcomes, (0.5, 0.99, 0.9, 0.4, 0.7), strict=True))
    ]
    assert highest_so_far(trials[::-1]) == ([0, 3, 4], [0.5, 0.5, 0.7])
    live = so_far_figure(trials)
    assert [len(trace.x) for trace in live.data] == [3, 3, 1]
    assert "&lt;x&gt;" in live.data[1].hovertext[0]
    assert [line.get_label() for line in so_far_plot(trials).axes[0].lines][-1] == "highest so far"


def test_verdicts_are_cut_before_their_numbers(judged: Judged) -> None:
    whole = judged(["a (95 % sure)"])[0]
    head, rest = parted(whole)
    assert head + rest == whole.sentence
    assert head.endswith("percentage points")
    refused = dataclasses.replace(whole, sentence="Refused: a (95 % sure) against cnn: no blocks.")
    assert parted(refused) == ("Refused: a (95 % sure) against cnn", ": no blocks.")
    plain = dataclasses.replace(whole, sentence="One run of each. No verdict.")
    assert parted(plain) == ("One run of each.", " No verdict.")
    assert verdict_counts([whole, refused, dataclasses.replace(whole, verdict=Verdict.REFUSED)]) == (
        "2 better, 1 refused"
    )


def test_a_comparison_survives_its_journey_through_json(
    judged: Judged, make_document: Callable[..., ComparisonDocument]
) -> None:
    interval = Interval(low=math.nan, high=math.nan, level=0.95)
    check = MeanTest(name="x", estimate=0.1, se=0.0, df=3.0, t=math.nan, p=math.nan, interval=interval, num_blocks=4)
    for comparison in judged(["crnn"]) + judged(["crnn"], num_blocks=2):
        whole = dataclasses.replace(comparison, check=check, sensitivity_verdict=Verdict.WORSE)
        stored = {**whole.to_dict(), "of a later version": 1}
        (back,) = make_document({"contenders": [], "comparisons": [stored]}).comparisons
        assert repr(back) == repr(whole)  # NaN is not equal to itself
    bare = {key: value for key, value in whole.to_dict().items() if key not in {"components", "family", "check"}}
    (back,) = make_document({"contenders": [], "comparisons": [bare]}).comparisons
    assert back.components is None


def test_live_pictures_hold_the_full_numbers(judged: Judged) -> None:
    comparisons = judged(["crnn", "<b>ecrnn"])
    forest = forest_figure(comparisons)
    points = [trace for trace in forest.data if trace.mode == "markers"]
    texts = [text for trace in points for text in trace.hovertext]
    assert len(texts) == 2
    for name in ("Holm over 2", "P(A &gt; B)", "smallest detectable", "95 % interval for all 2", "paired repeats"):
        assert all(name in text for text in texts)
    assert any("&lt;b&gt;ecrnn minus cnn" in text for text in texts)
    slopes = slopes_figure(comparisons[0])
    assert len(slopes.data) == comparisons[0].num_blocks + 1
    assert sum(trace.showlegend is not False for trace in slopes.data) <= 4
    matrix = superiority_figure(comparisons)
    z = np.array(matrix.data[0].z, dtype=float)
    assert z.shape == (3, 3)
    assert np.allclose((z + z.T)[~np.isnan(z)], 1)
    assert np.isnan(z).sum() == 5
    lines = planning_lines(comparisons)
    assert len([trace for trace in planning_figure(lines, rope=0.005).data if trace.mode == "lines"]) == len(lines) == 2
    curve = np.array([0.5, 0.6])
    best = best_of_figure(curve, curve, band=(curve, curve), band_label="band")
    assert best.data[0].name == "band"
    assert per_class_figure([]).data == ()
