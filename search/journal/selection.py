"""The three scores of a nominated configuration, always reported together: selection, corrected and confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.significance.records import Interval, to_plain

NUM_FOLDS = 4
"""The maximum over equal candidates is biased by b on N images, and by sqrt(K) b on N/K of them. The correction
estimates the difference, (sqrt(K) - 1) b: b itself with four folds, 2.2 b with ten."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Correction of the nominee's selection score."""

    bias: float
    """Mean over the folds of the highest accuracy minus the nominee's accuracy; fraction, at least 0."""
    num_candidates: int
    """Number of completed trials, including the nominee."""
    num_images: int
    """Number of validation images, which all candidates share."""
    num_folds: int = NUM_FOLDS
    num_stopped: int = 0
    """Trials that the scheduler stopped. They were candidates too; including their correctness could only increase the
    bias."""
    covers_seeds: bool = False
    """Whether the folds are the blocks of the sweep, so that the bias from lucky seeds and splits is included."""


@dataclass(frozen=True, kw_only=True)
class ConfirmedScore:
    """Mean test accuracy over some repeats."""

    mean: float
    num_repeats: int
    interval: Interval | None
    """Confidence interval of the mean; None below three repeats, or where nothing varied."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected best validation accuracy as a function of the number of trials."""

    num_trials: tuple[int, ...]
    val_accuracy: tuple[float, ...]
    """Expected maximum over as many of the completed trials (Tang et al. 2020); biased upward, like every selection
    score."""
    is_exact: bool
    """Whether all trials were independent random draws trained to the end; otherwise the curve is only indicative."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The scores of one configuration. Each of `correction` and `confirmed_score` is known, or the reason is."""

    name: str
    trial: int | None
    """Trial number; None for a baseline that the sweep did not find."""
    sweep_rank: int | None
    """Rank among the sweep's nominees, from 1; None for a baseline that the sweep did not find."""
    state: str
    """One of the states that `search.journal.nominee.state_in` returns."""
    selection_score: float | None
    """Validation accuracy of the trial, biased upward because the trial was selected by it; None for a baseline that
    the sweep did not find."""
    corrected_score: float | None
    """Selection score minus the estimated selection bias."""
    correction: Correction | None
    correction_unknown: str | None
    """Why there is no correction; printed after `not known: `."""
    confirmed_score: ConfirmedScore | None
    """Score on the repeats of the newest comparison, on blocks that the sweep did not use."""
    confirmed_unknown: str | None
    """Why there is no confirmed score; printed after `not known: `."""
    num_blocks: int = 1
    """Number of blocks of the sweep of which the selection score is the mean."""
    kept_epoch: int | None = None
    """The epoch whose weights count, if it was chosen by the validation accuracy, too (`train.keep: best`)."""
    expected_highest: Expected | None
    """Expected best score of the sweep; None before the first completed trial."""


def selection_data(selection: Selection) -> dict[str, Any]:
    """Return the scores as JSON-safe data, without what only sweeps of several blocks or of kept epochs have."""
    plain: dict[str, Any] = to_plain(selection)
    for holder, defaults in (
        (plain, {"num_blocks": 1, "kept_epoch": None}),
        (plain["correction"] or {}, {"covers_seeds": False}),
    ):
        for name, default in defaults.items():
            if holder.get(name, default) == default:
                holder.pop(name, None)
    return plain
