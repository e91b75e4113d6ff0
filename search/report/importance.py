"""Report section: what mattered among the trials of the sweep, as a description, and the command for a claim."""

from __future__ import annotations

from collections.abc import Iterator

from search.journal.importance import Importance, what_mattered
from search.records import Completed, Stopped
from search.report.claim import command_lines, find_rival
from search.report.importance_text import (
    CHOICES_NOTE,
    MARKS,
    NO_CLAIM,
    difference_interval,
    explanations,
    goals_note,
    table_rows,
    trials_line,
)
from search.report.markup import Html, definitions, section, styled, table, tag
from search.report.material import Material
from search.report.picture import folded_away, note, still_picture
from search.significance.figures.importance import (
    MAX_DRAWN,
    NUM_AXES,
    NUM_SLICES,
    importance_plot,
    pair_plot,
    parallel_plot,
    slices_plot,
)
from search.text.counted import num_runs


def make(material: Material) -> Html | None:
    """Return the section; None without a trial that has a result."""
    importance = what_mattered(material.trials, material.study.build_space())
    if not importance.trials.records or not importance.parameters:
        return None
    parts = [
        tag("p", f"{trials_line(importance)}. {goals_note(material.study)}".rstrip()),
        *_claim(material, importance),
        definitions(explanations(importance)),
    ]
    if importance.has_enough_trials:
        parts += [*_shares(importance), *_pictures(importance)]
    return section("importance", "What mattered", *parts, *_choices(importance))


def _claim(material: Material, importance: Importance) -> Iterator[Html]:
    rival = find_rival(importance, material.study)
    yield tag("p", tag("strong", NO_CLAIM), f" For a claim, {rival.words}:" if rival else "")
    if rival:
        command = "\n".join(command_lines(rival, material.study))
        yield tag("pre", command, attributes={"tabindex": "0"})  # it scrolls on a narrow screen


def _shares(importance: Importance) -> Iterator[Html]:
    columns = [(ranking.title, ranking.shares, ranking.too_few) for ranking in importance.rankings]
    yield still_picture(
        importance_plot(columns, importance.parameters),
        alt=f"Shares of {len(importance.parameters)} parameters by three measures; the numbers are in the table below.",
        caption="Share of each parameter, with the middle 95 % of resamplings of the trials. Hollow: not beyond "
        "chance, as shuffled scores give a parameter as much (not computed for the variance).",
    )
    headings = ("parameter", *(ranking.title for ranking in importance.rankings))
    rows = [(name, *cells) for name, cells in table_rows(importance)]
    yield folded_away("The shares as numbers", table(headings, rows, caption="Importance; no claim"), note(MARKS))


def _pictures(importance: Importance) -> Iterator[Html]:
    trials, factors = importance.trials, importance.factors
    few = f" {MAX_DRAWN} random trials are drawn." if len(trials.records) > MAX_DRAWN else ""
    stopped = "; trials that were stopped early have trained for fewer epochs" if trials.ended(Stopped).any() else ""
    runs = num_runs(len(trials.records[0].blocks)) if trials.records else "one run"
    yield tag("h3", "Accuracy against each parameter")
    yield still_picture(
        slices_plot(factors, trials.last_accuracy, trials.ended(Completed), trials.ended(Stopped)),
        alt=f"Scatter plots of the last validation accuracy against {min(len(factors), NUM_SLICES)} parameters.",
        caption=f"Last validation accuracy of each trial, {runs} each{stopped}. Lines are the means of the completed "
        f"trials of a choice{', the survivors of the scheduler' if stopped else ''}.{few}",
    )
    if len(factors) > 1:
        yield tag("h3", "The two most important parameters")
        yield still_picture(
            pair_plot(factors[0], factors[1], trials.rank),
            alt=f"Rank in the sweep over {factors[0].name} and {factors[1].name}.",
            caption="Rank in the sweep: completed trials by accuracy, then stopped and infeasible ones by epochs and "
            f"accuracy, then diverged ones.{few}",
        )
    yield tag("h3", "All trials in parallel coordinates")
    yield still_picture(
        parallel_plot(factors, trials.rank, best=importance.best_rank),
        alt=f"Lines of {len(trials.records)} trials through {min(len(factors), NUM_AXES)} parameters to their rank.",
        caption="Each line is a trial; the best quarter is blue. Lines of equal values are spread by rank. Absent: the "
        f"trial does not have this conditional parameter.{few}",
    )


def _choices(importance: Importance) -> Iterator[Html]:
    if not importance.choices:
        return
    rows = [
        (
            item.parameter,
            f"{item.a} minus {item.b}",
            f"{100 * item.estimate:+.2f}",
            difference_interval(item),
            f"{item.num_a} and {item.num_b}",
        )
        for item in importance.choices
    ]
    caption = f"Differences in validation accuracy after epoch {importance.trials.epoch}, in percentage points"
    whole = table(("parameter", "values", "difference", "95 % interval", "trials"), rows, caption=caption, words=(0, 1))
    yield folded_away("Differences between the values of each choice", whole, styled("p", "note", CHOICES_NOTE))
