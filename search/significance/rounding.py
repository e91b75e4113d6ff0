"""Format numbers with enough decimals that none contradicts the decision reported beside it.

With alpha = .05, a p of .0497 is significant and one of .0503 is not, but both round to .050. A number therefore gets
more decimals while rounding moves it onto a mark (alpha, 0, the edges of the rope) that it does not equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.significance.records import Interval

NOISE_FRACTION = 1e-11
"""Distance from 0 below which the end of an interval is 0: float noise, a billionth of a percentage point."""

MAX_DIGITS = 8
"""Maximum number of decimals; a number still rounded onto its mark is then written as equal to it."""
NOISE_POINTS = 1e-9
"""Maximum size of rounding errors, in percentage points."""


def p_value(p: float, alpha: float | None = None, *, symbol: str = "p") -> str:
    """Return a p-value as text, with as many decimals as separate it from alpha.

    >>> p_value(0.0497, 0.05)
    'p = .0497'
    >>> p_value(0.0002)
    'p < .001'

    Args:
        p: The value.
        alpha: The level to which it is compared, if any.
        symbol: `q` for a false discovery rate.
    """
    number = p_number(p, alpha)
    return f"{symbol} {number}" if number[0] in "<>" else f"{symbol} = {number}"


def p_number(p: float, alpha: float | None = None) -> str:
    """Return a p-value for a table: three decimals, or more for a small alpha, no leading zero; `< .001` below."""
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
    """Return a posterior probability as text: `= .97`, `> .99`."""
    if value < 0.005:
        return "< .01"
    return "> .99" if value >= 0.995 else f"= {_short(value, 2)}"


def points(fraction: float, digits: int = 1) -> str:
    """Return a fraction in percentage points, without a negative zero."""
    return f"{_rounded(100 * fraction, digits):.{digits}f}"


def plain(value: float, digits: int = 1) -> str:
    """Return a number in its own unit, with the precision of `points` for a fraction."""
    return f"{_rounded(value, digits + 2):.{digits + 2}f}"


def digits_for(interval: Interval, marks: Sequence[float] = ()) -> int:
    """Return the number of decimals, in percentage points, for an interval and its estimate.

    One by default; more if the interval would be too narrow to show, or if an end would be rounded onto a mark.

    Args:
        interval: In fractions.
        marks: Fractions onto which the ends must not be rounded.

    Returns:
        At least 1, at most MAX_DIGITS.
    """
    half = 50 * (interval.high - interval.low)  # NaN compares false
    digits = min(max(1, math.ceil(0.5 - math.log10(half))), 4) if half > 0 else 1
    return digits_apart((interval.low, interval.high), marks, digits)


def digits_apart(fractions: Sequence[float], marks: Sequence[float], digits: int = 1) -> int:
    """Return the smallest number of decimals, from `digits` on, that rounds no number onto or past a mark.

    Args:
        fractions: The numbers.
        marks: Values to keep apart from, unless equal.
        digits: Minimum number of decimals.
    """
    there = [100 * value for value in fractions if math.isfinite(value)]
    while digits < MAX_DIGITS and any(_moved(value, 100 * mark, digits) for value in there for mark in marks):
        digits += 1
    return digits


def significant(value: float, mark: float) -> str:
    """Return three significant digits, or as many as keep a number on its side of a mark."""
    digits = 3
    while digits < MAX_DIGITS and _side(float(f"{value:.{digits}g}") - mark) != _side(value - mark):
        digits += 1
    return f"{value:.{digits}g}"


def _moved(value: float, mark: float, digits: int) -> bool:
    """Return whether rounding moves a number onto or past a mark."""
    return _side(_rounded(value, digits) - mark) != _side(value - mark)


def _side(gap: float) -> int:
    return 0 if abs(gap) <= NOISE_POINTS else (1 if gap > 0 else -1)


def _rounded(value: float, digits: int) -> float:
    # Round half away from 0, independent of rounding errors in the input.
    return round(value + math.copysign(NOISE_POINTS, value), digits) + 0.0


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".removeprefix("0")
