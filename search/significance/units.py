"""Scores for which lower is better, and scores in a unit of their own.

The analysis tests which of two means is higher. If lower is better, the scores are negated before the analysis, so that
verdicts, one-sided tests and probabilities are correct, and its results are negated back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from search.significance.records import Comparison, Interval, MeanTest
from search.significance.results import Results
from search.significance.wording import sentence_of


def negated(results: Sequence[Results]) -> tuple[Results, ...]:
    """Return the results with every score negated; correctness is unchanged."""
    return tuple(
        dataclasses.replace(
            item, scores={name: -np.asarray(scores) for name, scores in item.scores.items()}, bounded=False
        )
        for item in results
    )


def in_unit(comparison: Comparison, *, lower_is_better: bool, own_unit: bool) -> Comparison:
    """Return a comparison in the direction and unit of the original scores.

    Args:
        comparison: Comparison of negated scores, if lower is better.
        lower_is_better: Negate differences and scores back; verdict, p-values and the share of blocks won are
            unchanged.
        own_unit: Whether the scores are not fractions of 1.

    Returns:
        The comparison with its sentence.
    """
    if lower_is_better:
        comparison = dataclasses.replace(
            comparison,
            estimate=_turned(comparison.estimate),
            t=_turned(comparison.t),
            interval=_mirrored(comparison.interval),
            simultaneous_interval=_mirrored(comparison.simultaneous_interval),
            equivalence_interval=_mirrored(comparison.equivalence_interval),
            bca_interval=_mirrored(comparison.bca_interval),
            scores_a=tuple(-score for score in comparison.scores_a),
            scores_b=tuple(-score for score in comparison.scores_b),
            mean_a=_turned(comparison.mean_a),
            mean_b=_turned(comparison.mean_b),
            d_z=_turned(comparison.d_z),
            g_z=_turned(comparison.g_z),
            rope_probabilities=comparison.rope_probabilities and comparison.rope_probabilities[::-1],
            check=_turned_test(comparison.check),
            secondary=_turned_test(comparison.secondary),
            sensitivity=_turned_test(comparison.sensitivity),
        )
    if lower_is_better or own_unit:
        comparison = dataclasses.replace(comparison, lower_is_better=lower_is_better, own_unit=own_unit)
        comparison = dataclasses.replace(comparison, sentence=sentence_of(comparison))
    return comparison


def _turned(value: float | None) -> float | None:
    return None if value is None else 0.0 - value


def _mirrored(interval: Interval | None) -> Interval | None:
    return interval and dataclasses.replace(interval, low=0.0 - interval.high, high=0.0 - interval.low)


def _turned_test(test: MeanTest | None) -> MeanTest | None:
    mirrored = _mirrored(test.interval) if test else None
    if test is None or mirrored is None:
        return None
    inside = test.equivalence
    if inside is not None:
        turned = 0.0 - inside.interval.high, 0.0 - inside.interval.low
        inside = dataclasses.replace(
            inside,
            interval=dataclasses.replace(inside.interval, low=turned[0], high=turned[1]),
            rope_probabilities=inside.rope_probabilities[::-1],
        )
    return dataclasses.replace(
        test, estimate=0.0 - test.estimate, t=0.0 - test.t, interval=mirrored, equivalence=inside
    )
