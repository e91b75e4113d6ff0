"""Report section: accuracy against costs, and the Pareto front of the sweep."""

from __future__ import annotations

from search.console.measures import TITLES, show_measure
from search.journal.fronts import Front, front_of, num_startup_of
from search.journal.measures import Direction, value_of
from search.report.goals_plot import front_figure
from search.report.markup import Html, section, styled, table, tag
from search.report.material import Material
from search.report.picture import picture
from search.text.counted import counted, num_runs
from search.tracking.front_plot import costs_of, front_plot

BESIDE: dict[str, Direction] = {"val_accuracy": "max", "num_parameters": "min"}
"""What is drawn for a sweep whose only objective is the accuracy."""


def make(material: Material) -> Html | None:
    """Return the section; None without a completed trial of which the costs are known."""
    search = material.study.search
    declared = search.objectives if len(search.objectives) > 1 else BESIDE
    num_startup = num_startup_of(material.sessions, default=min(search.startup_trials, search.trials))
    front = front_of(material.trials, declared, search.limits, num_startup=num_startup)
    if not front.trials:
        return None
    parts = [tag("p", sentence(front, is_declared=len(search.objectives) > 1))]
    if front.knee is not None and len(front.trials) > 2:
        parts.append(tag("p", f"Its knee, the trial nearest to the best of every objective, is {front.knee.label}."))
    pictures = [_picture(material, front, cost) for cost in costs_of(front)]
    rows = [
        (record.label, *(show_measure(name, value_of(record, name)) for name in front.objectives))
        for record in front.trials
    ]
    runs = num_runs(len(front.trials[0].blocks)) if front.trials else "one run"
    caption = f"The Pareto front: {runs} each, nominated by the sweep, not confirmed"
    shown = table(("trial", *(TITLES[name] for name in front.objectives)), rows, caption=caption)
    return section("goals", "Accuracy and cost", *parts, styled("div", "side-by-side", *pictures), shown)


def _picture(material: Material, front: Front, cost: str) -> Html:
    both = f"both {TITLES['val_accuracy']} and {TITLES[cost]}"
    line = f"no trial is better than one on the line in {both}"
    if len(front.objectives) > 2:
        line = "the line connects the Pareto front of all objectives"
    return picture(
        front_plot(material.trials, only(front, cost), material.study.search.limits),
        front_figure(material.trials, front, cost),
        alt=f"Validation accuracy against {TITLES[cost]}, with {counted(len(front.trials), 'trial')} on the front.",
        caption=f"Each mark is {num_runs(len(material.trials[0].blocks))} of one trial; {line}.",
    )


def only(front: Front, cost: str) -> Front:
    """Return the front with the accuracy and one other objective."""
    kept = {name: direction for name, direction in front.objectives.items() if name in {"val_accuracy", cost}}
    return Front(
        objectives=kept,
        trials=front.trials,
        knee=front.knee,
        reference=front.reference,
        hypervolumes=front.hypervolumes,
    )


def sentence(front: Front, *, is_declared: bool) -> str:
    """Return one sentence about the front: its objectives, its size and its hypervolume."""
    aims = " and ".join(
        f"{TITLES[name]} ({'higher' if direction == 'max' else 'lower'} is better)"
        for name, direction in front.objectives.items()
    )
    goals = "" if is_declared else " The sweep's only goal was the accuracy."
    volume = ""
    if is_declared and front.hypervolumes:
        volume = f" Hypervolume {front.hypervolumes[-1][1]:.3f} of the box between the reference point and the ideal."
    return f"{counted(len(front.trials), 'trial')} on the Pareto front of {aims}.{volume}{goals}"
