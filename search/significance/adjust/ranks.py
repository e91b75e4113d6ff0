"""Compare mean ranks with a control's after Friedman's test, adjusted for the number of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from search.significance.adjust.multiplicity import adjust
from search.significance.pairing import ScoresError
from search.significance.tests.friedman import rank_error


@dataclass(frozen=True, kw_only=True)
class ControlComparison:
    """Mean rank of one configuration compared with the control's."""

    config: int
    z: float
    """(Mean rank - the control's mean rank) / standard error: negative is better than the control."""
    p: float
    adjusted_p: float


def against_control(
    average_ranks: Sequence[float], num_datasets: int, *, control: int, method: str = "holm"
) -> tuple[ControlComparison, ...]:
    """Compare every mean rank with the control's by z, adjusted over the K - 1 comparisons.

    The guarantee fails where Friedman's does; the normal approximation needs about ten data sets.

    Args:
        average_ranks: Mean rank of every configuration, length K.
        num_datasets: Number of data sets D.
        control: Index of the control.
        method: An adjustment that uses p-values only, see `multiplicity.adjust`.

    Returns:
        One comparison per other configuration, in order.

    Raises:
        ScoresError: The control or the method does not exist.

    Reference:
        Demsar 2006, JMLR 7, section 3.2.2.
    """
    k = len(average_ranks)
    if not 0 <= control < k:
        msg = f"control must be the place of a configuration, 0 to {k - 1}, got {control}"
        raise ScoresError(msg)
    others = [place for place in range(k) if place != control]
    error = rank_error(k, num_datasets)
    z = [(average_ranks[place] - average_ranks[control]) / error for place in others]
    p = [float(2 * stats.norm.sf(abs(value))) for value in z]
    return tuple(
        ControlComparison(config=place, z=value, p=raw, adjusted_p=1.0 if adjusted is None else adjusted)
        for place, value, raw, adjusted in zip(others, z, p, adjust(p, method), strict=True)
    )
