"""Numbers as people read them, with digits enough that none contradicts the decision that stands beside it.

A p of .0497 decides otherwise than one of .0503, and both are .050 with three decimals. So a number gets further
decimals as long as rounding moves it onto a mark (alpha, 0, the edges of the rope) that it does not lie on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.significance.records import Interval

NOISE = 1e-11
"""Distance from 0 below which the end of an interval is 0: float noise, a billionth of a percentage point."""

MAX_DIGITS = 8
"""Decimals after which a number is written as being on its mark."""
NOISE = 1e-9
"""Percentage points that float noise can make."""


def p_value(p: float, alpha: float | None = None, *, symbol: str = "p") -> str:
    """A p-value in words: `p = .004`, `p < .001`.

    Args:
        p: The value.
        alpha: The level that it is compared with, if any: .0497 against .05 is not written as .050.
        symbol: `q` for a false discovery rate.
    """
    number = p_number(p, alpha)
    return f"{symbol} {number}" if number[0] in "<>" else f"{symbol} = {number}"


def p_number(p: float, alpha: float | None = None) -> str:
    """A p-value for a table: three decimals or as many as alpha asks for, no leading zero; `< .001` below that."""
    digits = 3 if alpha is None else min(max(3, math.ceil(-math.log10(alpha))), MAX_DIGITS)
    if p < 0.5 * 10**-digits:
        return f"< {_short(10**-digits, digits)}"
    if alpha is not None:
        while digits < MAX_DIGITS and _moved(p, alpha, digits):
            digits += 1
        if _moved(p, alpha, digits):
            return f"{'<' if p < alpha else '>'} {alpha:g}".replace("0.", ".")
    return "1" if p > 0.9995 else _short(p, digits)


def probability(value: float) -> str:
    """A posterior probability in words: `= .97`, `> .99`."""
    if value < 0.005:
        return "< .01"
    return "> .99" if value >= 0.995 else f"= {_short(value, 2)}"


def points(fraction: float, digits: int = 1) -> str:
    """A fraction in percentage points, without a negative zero."""
    return f"{_rounded(100 * fraction, digits):.{digits}f}"


def plain(value: float, digits: int = 1) -> str:
    """A number in its own unit, as exact as `points` with as many decimals writes a fraction."""
    return f"{_rounded(value, digits + 2):.{digits + 2}f}"


def digits_for(interval: Interval, marks: Sequence[float] = ()) -> int:
    """Decimals of a percentage point for an interval and its estimate.

    One as a rule; more when the interval is so narrow that one would hide it, or when an end would be rounded onto a
    mark.

    Args:
        interval: In fractions.
        marks: Fractions that the ends must not be rounded onto.
    """
    half = 50 * (interval.high - interval.low)  # NaN compares false
    digits = min(max(1, math.ceil(0.5 - math.log10(half))), 4) if half > 0 else 1
    return digits_apart((interval.low, interval.high), marks, digits)


def digits_apart(fractions: Sequence[float], marks: Sequence[float], digits: int = 1) -> int:
    """The fewest decimals of a percentage point, from `digits` on, that round no number onto or past a mark.

    Args:
        fractions: The numbers.
        marks: What they must stay apart from, unless they are equal.
        digits: Decimals to start with.
    """
    there = [100 * value for value in fractions if math.isfinite(value)]
    while digits < MAX_DIGITS and any(_moved(value, 100 * mark, digits) for value in there for mark in marks):
        digits += 1
    return digits


def significant(value: float, mark: float, digits: int = 3) -> str:
    """Three significant digits, or as many as keep a number on its side of a mark."""
    while digits < MAX_DIGITS and _side(float(f"{value:.{digits}g}") - mark) != _side(value - mark):
        digits += 1
    return f"{value:.{digits}g}"


def _moved(value: float, mark: float, digits: int) -> bool:
    """Whether rounding takes a number to the other side of a mark, or onto it."""
    return _side(_rounded(value, digits) - mark) != _side(value - mark)


def _side(gap: float) -> int:
    return 0 if abs(gap) <= NOISE else (1 if gap > 0 else -1)


def _rounded(value: float, digits: int) -> float:
    # Halves go away from 0, whatever the float noise of the arithmetic that made them.
    return round(value + math.copysign(NOISE, value), digits) + 0.0


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".removeprefix("0")
