"""Adjust the p-values of a declared family: the chance of any false "better" in it stays below alpha.

Two intervals accompany an adjusted p. The per-comparison interval (1 - alpha) is the familiar one, used in the
sentence; it may exclude 0 although the adjusted p is above alpha, and the sentence then says so. The simultaneous
interval has Bonferroni width (1 - alpha / family size): all intervals of the family cover together. It may include 0
although Holm rejects, because Holm's later steps are more powerful; intervals that match Holm's steps exactly exist
only one-sided (Strassburger & Bretz 2008).

The family is fixed in advance: a comparison without a p-value (refused) keeps its place and counts as p = 1, so that
dropping a comparison never improves the others. Every guarantee fails if the family was chosen after seeing the
results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from search.significance.adjust import shaffer as logical
from search.significance.pairing import ScoresError
from search.significance.records import Interval, Law
from search.significance.tests.student import interval_of

PValues = Sequence[float | None]
Adjusted = tuple[float | None, ...]
Array = NDArray[np.float64]


def adjust(p_values: PValues, method: str, *, pairs: Sequence[tuple[str, str]] | None = None) -> Adjusted:
    """Adjust the p-values of a declared family.

    >>> adjust((0.01, 0.04, None), "holm")
    (0.03, 0.08, None)

    Args:
        p_values: Raw two-sided p-values of the whole family; None where there is none.
        method: One of `METHODS` or `LOGICAL_METHODS`; the docstring of each function states when its guarantee fails.
        pairs: The two configurations of every comparison; only the logical methods need them.

    Returns:
        Adjusted p-values in the same order, None where the raw one is.

    Raises:
        ScoresError: The method is unknown, a p-value is NaN or outside [0, 1], or the pairs do not fit the method.
    """
    if method in METHODS:
        return METHODS[method](p_values)
    if method not in LOGICAL_METHODS:
        msg = f"unknown adjustment {method!r}; known: {', '.join([*METHODS, *LOGICAL_METHODS])}"
        raise ScoresError(msg)
    if pairs is None or len(pairs) != len(p_values):
        given = "none" if pairs is None else str(len(pairs))
        msg = f"{method} needs the two configurations of each of the {len(p_values)} comparisons, got {given}"
        raise ScoresError(msg)
    raw = _checked(p_values)
    return _in_place(p_values, LOGICAL_METHODS[method](raw.tolist(), pairs) if raw.size else ())


def holm(p_values: PValues) -> Adjusted:
    """Adjust p-values by Holm's step-down procedure: valid under any dependence.

    Args:
        p_values: Raw two-sided p-values of the whole family; None where there is none.

    Returns:
        Adjusted p-values in the same order, None where the raw one is.

    Reference:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    return _step(p_values, lambda p: np.maximum.accumulate(np.arange(p.size, 0, -1) * p))


def hochberg(p_values: PValues) -> Adjusted:
    """Adjust p-values by Hochberg's step-up procedure, never less powerful than Holm.

    The guarantee needs independence or positive dependence (MTP2). It can fail if two comparisons are negatively
    dependent, such as A against B and B against C; use Holm, or Shaffer for all pairs.

    Reference:
        Hochberg 1988, Biometrika 75; Sarkar 1998, Annals of Statistics 26 (the dependence it needs).
    """
    return _step(p_values, lambda p: _smallest_from_here(np.arange(p.size, 0, -1) * p))


def hommel(p_values: PValues) -> Adjusted:
    """Adjust p-values by Hommel's procedure (Simes' test of every intersection), never less powerful than Hochberg.

    The guarantee needs independence or positive dependence, as Simes' inequality does. It can fail where Hochberg's
    does.

    Reference:
        Hommel 1988, A stagewise rejective multiple test procedure based on a modified Bonferroni test, Biometrika 75;
        adjusted p-values: Wright 1992, Adjusted p-values for simultaneous inference, Biometrics 48.
    """
    return _step(p_values, _closed_simes)


def benjamini_hochberg(p_values: PValues) -> Adjusted:
    """Control the false discovery rate: the expected share of false claims among all claims.

    It does not control the family-wise error rate: with many true differences, some false claims are expected. Use it
    for screening, not for "A beats B". Needs independence or positive regression dependence.

    Reference:
        Benjamini & Hochberg 1995, Journal of the Royal Statistical Society B 57.
    """
    return _step(p_values, lambda p: _smallest_from_here(p.size * p / np.arange(1, p.size + 1)))


METHODS: Mapping[str, Callable[[PValues], Adjusted]] = MappingProxyType(
    {
        "holm": holm,
        "hommel": hommel,
        "hochberg": hochberg,
        "bh": benjamini_hochberg,
    }
)
"""Adjustments that use the p-values only."""
LOGICAL_METHODS: Mapping[str, Callable[[Sequence[float], Sequence[tuple[str, str]]], tuple[float, ...]]] = (
    MappingProxyType({"shaffer": logical.shaffer, "bergmann-hommel": logical.bergmann_hommel})
)
"""Adjustments that also use the logical relations among all pairwise equalities."""


def simultaneous_interval(estimate: float, law: Law, *, alpha: float, family_size: int) -> Interval:
    """Return the Bonferroni interval: with probability 1 - alpha all intervals of the family cover together.

    Args:
        estimate: The mean difference.
        law: Distribution of the estimation error.
        alpha: Family-wise error rate.
        family_size: Number of declared comparisons.

    Returns:
        The interval; its level is 1 - alpha / family_size.
    """
    return interval_of(estimate, law, level=1 - alpha / family_size)


def _checked(p_values: PValues) -> Array:
    raw = np.array([1.0 if p is None else p for p in p_values], dtype=np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        msg = f"p-values must lie in [0, 1], None where there is none, got {list(p_values)}"
        raise ScoresError(msg)
    return raw


def _in_place(p_values: PValues, adjusted: Sequence[float]) -> Adjusted:
    return tuple(None if p is None else float(value) for p, value in zip(p_values, adjusted, strict=True))


def _step(p_values: PValues, step: Callable[[Array], Array]) -> Adjusted:
    """Apply a function of the ascending p-values, and put its values back in order, at most 1."""
    raw = _checked(p_values)
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(step(raw[order]), 1.0)
    return _in_place(p_values, adjusted.tolist())


def _smallest_from_here(values: Array) -> Array:
    return np.minimum.accumulate(values[::-1])[::-1]


def _closed_simes(p: Array) -> Array:
    """Return the largest Simes p of all intersections that contain each hypothesis, for ascending p-values."""
    adjusted = p.copy()
    for size in range(p.size, 1, -1):  # of the intersections of this size, that of the largest p-values is the hardest
        rest = p.size - size
        simes = (size * p[rest:] / np.arange(1, size + 1)).min()
        adjusted[rest:] = np.maximum(adjusted[rest:], simes)
        adjusted[:rest] = np.maximum(adjusted[:rest], np.minimum(size * p[:rest], simes))
    return adjusted
