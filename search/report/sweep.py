"""Report section: the sweep's counts, failures, nominees, history, learning curves, and expected maximum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.console.counts import duration
from search.console.scores import percent
from search.journal.summary import best_first, nominee
from search.records import Completed, TrialRecord
from search.report.learning_curves import curves_figure, curves_plot, drawn
from search.report.markup import Html, join, section, styled, table, tag
from search.report.material import Material
from search.report.picture import picture
from search.report.so_far import highest_so_far, so_far_figure, so_far_plot
from search.significance.figures import best_of_plot
from search.significance.figures.interactive_curves import best_of_figure
from search.significance.selection import expected_best_of
from search.text.counted import counted, num_runs

NUM_SHOWN = 10
BAND = (0.1, 0.9)
"""Lower and upper quantile of the best of k trials, the edges of the band."""


def make(material: Material) -> Html | None:
    """Return the section; None without a sweep."""
    if not material.trials:
        return None
    status = material.status
    tiles = [
        ("planned", status.num_planned),
        ("completed", status.num_completed),
        ("stopped early", status.num_stopped),
        ("failed", status.num_failed),
        *([("infeasible", status.num_infeasible)] if status.num_infeasible else []),
        ("unfinished", status.num_unfinished),
        *([("waiting", status.num_waiting)] if status.num_waiting else []),
    ]
    counts = tag(
        "ul",
        *(tag("li", tag("strong", str(count)), Html(" "), word) for word, count in tiles),
        attributes={"class": "tiles"},
    )
    secs = sum(record.elapsed_secs for record in material.trials)
    told = tag("p", f"{counted(status.num_epochs, 'epoch')} in {duration(secs)} of training.")
    return section("sweep", "The sweep", counts, told, *_failures(material), *_nominees(material), *_curves(material))


def _failures(material: Material) -> list[Html]:
    failures = material.status.failures
    if not failures:
        return [tag("p", "No trial failed.")]
    return [table(("reason", "trials"), [(why, str(count)) for why, count in failures], caption="Failures")]


def _nominees(material: Material) -> list[Html]:
    ranked = best_first(material.trials)[:NUM_SHOWN]
    if not ranked:
        return []
    rows = [(record.label, percent(record.val_accuracy), str(len(record.curve)), record.node) for record in ranked]
    runs = num_runs(len(ranked[0].blocks))
    caption = f"Completed trials by validation accuracy: nominated, not confirmed; {runs} each, ranked by this score"
    return [table(("trial", "validation accuracy", "epochs", "node"), rows, caption=caption, words=(0, 3))]


def _curves(material: Material) -> list[Html]:
    trials = material.trials
    parts = []
    _, heights = highest_so_far(trials)
    if heights:
        parts.append(
            picture(
                so_far_plot(trials),
                so_far_figure(trials),
                alt=f"Validation accuracy trial by trial; the highest rises from {percent(heights[0])} to "
                f"{percent(heights[-1])}.",
                caption=f"Each mark is {num_runs(len(trials[0].blocks))} of one trial; the line is the highest "
                "completed one so far.",
            )
        )
    values = values_of(trials)
    if len(values) > 1:
        parts.append(_best_of(material, values))
    beside = [styled("div", "side-by-side", *parts)] if parts else []
    return [*beside, *([_learning(trials)] if any(len(record.curve) > 1 for record in trials) else [])]


def _learning(trials: Sequence[TrialRecord]) -> Html:
    shown, best = drawn(trials), nominee(trials)
    some = "" if len(shown) == sum(bool(record.curve) for record in trials) else "; evenly spaced ones of all are drawn"
    return picture(
        curves_plot(shown, best),
        curves_figure(shown, best),
        alt=f"Validation accuracy after each epoch of {counted(len(shown), 'trial')}, the nominee highlighted.",
        caption=f"Learning curves, {num_runs(len(trials[0].blocks))} of each trial{some}. A curve that ends early was "
        "stopped by the scheduler, by hand or by a budget, or failed.",
    )


def values_of(trials: Sequence[TrialRecord]) -> NDArray[np.float64]:
    """Return the validation accuracies of the completed trials, (N,)."""
    done = [record.val_accuracy for record in trials if isinstance(record.outcome, Completed)]
    return np.array([value for value in done if value is not None])


def band_of(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the band that holds the best of k trials, drawn with replacement, in 80 % of draws, for k = 1 to N.

    The best of k is at most v with probability F(v)^k, so its q-quantile is the trials' q^(1/k)-quantile.

    Args:
        values: Scores of the trials, (N,).

    Returns:
        Lower and upper edge, (N,) each.
    """
    budgets = np.arange(1, len(values) + 1)
    low, high = (np.quantile(values, quantile ** (1 / budgets), method="inverted_cdf") for quantile in BAND)
    return low, high


def _best_of(material: Material, values: NDArray[np.float64]) -> Html:
    expected = expected_best_of(values, replace=True)
    unbiased = expected_best_of(values, replace=False)
    band, label = band_of(values), "8 of 10 sweeps of this size"
    hint = " Approximate: the trials were not independent random draws trained to the end."
    highest = material.selection.expected_highest if material.selection else None
    caveat = "" if highest and highest.is_exact else hint
    gain = unbiased[-1] - unbiased[(len(values) - 1) // 2]
    return picture(
        best_of_plot(expected, unbiased, band=band, band_label=label, values=values),
        best_of_figure(expected, unbiased, band=band, band_label=label),
        alt=f"Expected highest validation accuracy of k trials, rising to {percent(float(unbiased[-1]))} at "
        f"k = {len(values)}.",
        caption=join(
            [
                f"The gain from more trials: from half of the {len(values)} completed trials to all of them, the "
                f"expected highest score rose by {100 * gain:.2f} percentage points.{caveat} These are selection "
                "scores, so they are too high."
            ]
        ),
    )
