"""Pictures of the Pareto front: how trials of every outcome are drawn, and the lines of the limits."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from search.journal.fronts import Front, front_of
from search.journal.measures import Direction
from search.records import Completed, EpochMetrics, Failed, Infeasible, Stopped, TrialRecord
from search.report.goals_plot import front_figure
from search.tracking import sweep_pictures
from search.tracking.front_plot import front_plot

OBJECTIVES: dict[str, Direction] = {"val_accuracy": "max", "macs": "min"}
OUTCOMES = {
    "completed": Completed(),
    "stopped early": Stopped(epoch=1),
    "failed": Failed(reason="x", diverged=True, epoch=1),
    "infeasible": Infeasible(measure="latency_ms", value=2.0, limit=1.0),
    "running": None,
}


@pytest.fixture
def trials(make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]) -> list[TrialRecord]:
    """The best one, and worse ones of each outcome."""
    return [
        make_record(
            f"k{number}",
            number=number,
            curve=(make_epoch(1, 0.9 - number / 10),),
            counts={"macs": 10 + number},
            outcome=outcome,
        )
        for number, outcome in enumerate([Completed(), *OUTCOMES.values()])
    ]


def front_among(trials: list[TrialRecord]) -> Front:
    return front_of(trials, OBJECTIVES, {}, num_startup=0)


def test_every_outcome_has_its_mark(trials: list[TrialRecord]) -> None:
    axes = front_plot(trials, front_among(trials), {"macs": 14.0}).axes[0]
    marks = {line.get_label(): (line.get_marker(), len(line.get_xdata())) for line in axes.lines}
    assert marks == {
        "completed": ("o", 2),
        "stopped early": ("x", 1),
        "failed": ("+", 1),
        "infeasible": ("x", 1),
        "Pareto front": ("o", 1),
        "limit": ("None", 2),
    }
    figure = front_figure(trials, front_among(trials), "macs")
    names = {trace.name: len(trace.x) for trace in figure.data}
    assert names == {"Pareto front": 1, "on the front": 1, **dict.fromkeys(list(OUTCOMES)[:-1], 1)}


def test_the_picture_in_mlflow_has_the_limits(
    trials: list[TrialRecord], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(sweep_pictures.figures, "draw_sweep", lambda *_: None)

    def draw(trials: list[TrialRecord], front: Front, limits: dict[str, float]) -> Any:
        drawn.append((len(front.trials), front.hypervolumes, limits))
        return front_plot(trials, front, limits)

    monkeypatch.setattr(sweep_pictures, "front_plot", draw)
    for session in ({"limits": {"macs": 14.0}}, {}):
        journal = SimpleNamespace(
            of_kind=lambda _: trials, nominee=None, sessions={"sweep": {"objectives": OBJECTIVES, **session}}
        )
        tags = sweep_pictures.draw_sweep_pictures(journal, None, tmp_path)  # type: ignore[arg-type]
        assert tags == {"hybrid_search.pareto_front": "trial k0"}
        assert (tmp_path / "pareto_front.png").is_file()
    assert drawn == [(1, (), {"macs": 14.0}), (1, (), {})]
