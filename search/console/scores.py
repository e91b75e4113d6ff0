"""Texts of the three scores, for status, comparison and model card."""

from __future__ import annotations

from search.journal.selection import ConfirmedScore, Expected, Selection
from search.text.counted import num_runs


def score_rows(selection: Selection) -> list[tuple[str, str, str]]:
    """Return name, value and explanation of the selection, corrected and confirmed score."""
    confirmed, rank = selection.confirmed_score, selection.sweep_rank
    if rank is None:
        chosen = "none: the sweep did not choose it"
    elif selection.selection_score is None:
        chosen = "none: it was not validated"
    else:
        kept = "" if selection.kept_epoch is None else f" after its best epoch, {selection.kept_epoch}"
        chosen = (
            f"validation accuracy of {num_runs(selection.num_blocks)}{kept}, "
            f"{'selected for this score' if rank == 1 else f'nominee {rank} of the sweep'}"
        )
    is_confirmed = selection.state.startswith("confirmed")
    return [
        ("selection score", percent(selection.selection_score), chosen),
        ("corrected score", percent(selection.corrected_score), _correction(selection)),
        (
            "confirmed score" if is_confirmed else "score on fresh repeats",
            percent(confirmed.mean if confirmed else None),
            _mean(confirmed) if confirmed else f"unknown: {selection.confirmed_unknown}",
        ),
    ]


def _correction(selection: Selection) -> str:
    correction = selection.correction
    if correction is None:
        return f"unknown: {selection.correction_unknown}"
    is_best_epoch = selection.kept_epoch is not None
    if correction.num_candidates == 1:
        if is_best_epoch:
            return "one candidate: no correction, although its epoch was selected on the validation images"
        return "one candidate: no selection, so no correction"
    num_stopped = correction.num_stopped
    return (
        f"{'at least ' * bool(num_stopped or is_best_epoch)}{100 * correction.bias:.2f} pp less, for selection on "
        f"{correction.num_images:,} validation images among {correction.num_candidates:,} candidates "
        f"(Tibshirani, {'blocks as ' * correction.covers_seeds}{correction.num_folds} folds"
        f"{f'; {num_stopped:,} stopped trials competed as well' if num_stopped else ''}"
        f"{'; the selection of the epoch adds to it' if is_best_epoch else ''}); the effect of the seeds is "
        f"{'included' if correction.covers_seeds else 'not corrected'}"
    )


def _mean(confirmed: ConfirmedScore) -> str:
    if confirmed.num_repeats == 1:
        return "test accuracy of one run"
    interval = confirmed.interval
    words = f"test accuracy, mean of {confirmed.num_repeats} repeats on these test images; "
    if interval is None:
        return words + ("no interval from two" if confirmed.num_repeats == 2 else "no interval, as none varied")
    return f"{words}{100 * interval.level:g} % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def expected_line(expected: Expected) -> str:
    """Describe the validation accuracy expected from further trials."""
    counts = ", ".join(f"{count:,}" for count in expected.num_trials)
    scores = ", ".join(f"{100 * score:.2f}" for score in expected.val_accuracy)
    hint = "; approximate: trials were stopped early, or are not independent random draws"
    return f"highest validation accuracy expected of {counts} trials: {scores} %{'' if expected.is_exact else hint}"


def percent(value: float | None) -> str:
    """Format an accuracy in percent with two decimals.

    >>> percent(0.98765), percent(None)
    ('98.77 %', '-')
    """
    return "-" if value is None else f"{100 * value:.2f} %"
