"""Adjust all pairs of k configurations, using that pairwise equalities imply each other.

If A = B and B = C, then A = C: of the three hypotheses, exactly two can never be true. Shaffer uses how many can be
true together, Bergmann and Hommel use which.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from search.significance.pairing import ScoresError

MAX_BERGMANN = 9
"""Maximum number of configurations whose partitions are enumerated: 21,147 for nine, and six times as many for ten."""

Pairs = Sequence[tuple[str, str]]


def shaffer(p_values: Sequence[float], pairs: Pairs) -> tuple[float, ...]:
    """Adjust the p-values of all pairs by Shaffer's static procedure.

    Like Holm's, but step i multiplies by the maximum number of hypotheses that can be true if i - 1 are false, at most
    m - i + 1. Valid under any dependence, never less powerful than Holm. The guarantee fails if the family is not all
    pairs of its configurations (an error here), or was chosen after seeing the results.

    Args:
        p_values: Raw p-values of the whole family, m of them; 1 for a refused comparison.
        pairs: The two configurations of each.

    Returns:
        Adjusted p-values in the same order.

    Raises:
        ScoresError: The pairs are not all pairs of their configurations, each once.

    Reference:
        Shaffer 1986, Modified Sequentially Rejective Multiple Test Procedures, JASA 81, procedure S1.
    """
    num_configs, num = len(_complete(pairs, "shaffer")), len(pairs)
    possible = np.array(sorted(_numbers_of_true(num_configs)))
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    factors = possible[np.searchsorted(possible, num - np.arange(num), side="right") - 1]
    adjusted = np.empty(num)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * raw[order]), 1.0)
    return tuple(adjusted.tolist())


def bergmann_hommel(p_values: Sequence[float], pairs: Pairs) -> tuple[float, ...]:
    """Adjust the p-values of all pairs by Bergmann and Hommel's procedure over exhaustive sets.

    A set of hypotheses is exhaustive if exactly its members can be true together: the configurations form groups of
    equals, and the set holds the pairs within groups. An adjusted p is the largest |I| x min p over the exhaustive sets
    that contain the hypothesis. Valid under any dependence, never less powerful than Shaffer's static procedure; a
    larger raw p can have the smaller adjusted p, depending on its place among the pairs. The guarantee fails where
    Shaffer's does.

    Args:
        p_values: Raw p-values of the whole family; 1 for a refused comparison.
        pairs: The two configurations of each, of at most nine.

    Returns:
        Adjusted p-values in the same order.

    Raises:
        ScoresError: The pairs are not all pairs of their configurations, each once, or there are more than nine.

    Reference:
        Bergmann & Hommel 1988, in Multiple Hypotheses Testing; Garcia & Herrera 2008, JMLR 9, section 3.2.
    """
    names = _complete(pairs, "bergmann-hommel")
    if len(names) > MAX_BERGMANN:
        msg = (
            f"bergmann-hommel expects at most {MAX_BERGMANN} configurations, got {len(names)}; use shaffer, which "
            "controls the same error rate"
        )
        raise ScoresError(msg)
    place = {name: number for number, name in enumerate(names)}
    groups = _partitions(len(names))
    first, second = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
    together = groups[:, first] == groups[:, second]
    raw = np.asarray(p_values, dtype=np.float64)
    weight = together.sum(axis=1) * np.where(together, raw, np.inf).min(axis=1, initial=1.0)
    adjusted = np.where(together, weight[:, None], 0.0).max(axis=0)
    return tuple(np.minimum(adjusted, 1.0).tolist())


def _complete(pairs: Pairs, method: str) -> list[str]:
    """Return the configurations of a family of all pairs, in order of appearance."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    declared = [frozenset(pair) for pair in pairs]
    wanted = {frozenset(pair): pair for pair in itertools.combinations(names, 2)}
    if any(len(pair) != 2 for pair in declared) or len(set(declared)) < len(declared):
        msg = f"{method} needs every pair of two configurations once, got {[tuple(pair) for pair in pairs]}"
        raise ScoresError(msg)
    if missing := [pair for key, pair in wanted.items() if key not in set(declared)]:
        shown = ", ".join(f"{a} and {b}" for a, b in missing[:3])
        more = f", and {len(missing) - 3} more" if len(missing) > 3 else ""
        msg = f"{method} needs all pairs of its {len(names)} configurations; missing: {shown}{more}. Use holm"
        raise ScoresError(msg)
    return names


@lru_cache(maxsize=64)
def _numbers_of_true(num_configs: int) -> frozenset[int]:
    """Return the possible numbers of true pairwise equalities: Shaffer's S(k)."""
    if num_configs < 2:
        return frozenset({0})
    return frozenset(
        size * (size - 1) // 2 + rest
        for size in range(1, num_configs + 1)
        for rest in _numbers_of_true(num_configs - size)
    )


@lru_cache(maxsize=MAX_BERGMANN)
def _partitions(num_configs: int) -> NDArray[np.int8]:
    """Return all partitions of the configurations; each row holds their group numbers, shape (Bell(k), k)."""
    rows: list[tuple[int, ...]] = [(0,)]
    for _ in range(num_configs - 1):
        rows = [(*row, group) for row in rows for group in range(max(row) + 2)]
    return np.array(rows, dtype=np.int8)
