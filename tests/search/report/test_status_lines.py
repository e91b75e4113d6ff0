"""What `status` prints: short, with the decision and what to run next; everything on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search.report.overview import make_overview, to_dict
from search.report.status_lines import to_lines
from search.significance import Comparison
from search.study.config import StudyConfig

Told = Callable[..., StudyConfig]
Judged = Callable[..., list[Comparison]]


@pytest.fixture
def study(make_study: Callable[..., StudyConfig]) -> StudyConfig:
    """A study without a folder yet, of three trials."""
    return make_study("search.trials=3", "tracking.enabled=true")


def test_a_finished_sweep_is_compared_next(study: StudyConfig, told: Told) -> None:
    lines = to_lines(make_overview(told(study, [0.7, 0.9, None])), "my.yaml")
    assert lines[1].startswith("trials      3/3: 2 completed, 0 stopped, 1 failed")
    assert "            validation 90.00 % (one run, selected for it)" in lines
    assert [line.split("#")[0].rstrip() for line in lines[-2:]] == [
        "next        hybrid-search compare my.yaml",
        "            hybrid-search ui my.yaml",
    ]
    assert all(len(line) <= 80 for line in lines[1:])


def test_an_interrupted_sweep_is_resumed_next(study: StudyConfig, told: Told) -> None:
    found = make_overview(told(study, [0.7]))
    assert found.next_steps == ("sweep", "ui")
    assert to_lines(found, "my.yaml")[-2].startswith("next        hybrid-search sweep my.yaml ")
    assert "sweep" not in "".join(to_lines(found, "runs/tiny")[-2:])  # which takes a study file


def test_the_statistics_are_shown_on_demand(study: StudyConfig, told: Told, judged: Judged) -> None:
    comparisons = judged(["crnn"])
    found = make_overview(told(study, [0.9, 0.8, 0.7], comparisons))
    assert found.decision == "use crnn: confirmed"
    assert to_dict(found)["decision"] == found.decision
    short, whole = "\n".join(to_lines(found)), "\n".join(to_lines(found, is_verbose=True))
    statistics: tuple[Any, ...] = (comparisons[0].sentence, "corrected score", "nominated   by validation", "epochs ")
    for text in statistics:
        assert text not in short
        assert text in whole
    for text in (short, whole):
        assert "decision    use crnn: confirmed" in text
        assert "next        hybrid-search export " in text
