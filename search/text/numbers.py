"""Numbers in their own unit, without exponents."""

from __future__ import annotations

import math


def plain_number(value: float, digits: int = 15) -> str:
    """Format a number with at most so many significant digits, all those before the decimal point, and no exponent.

    >>> plain_number(1234.5678, 3), plain_number(0.012345, 3), plain_number(1.0e6), plain_number(0.1)
    ('1,235', '0.0123', '1,000,000', '0.1')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
