"""A searched parameter as arrays, the input of all measures of importance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A searched parameter, and its value in each trial."""

    name: str
    positions: NDArray[np.float64]
    """(N,): place on the parameter's own scale from 0 to 1 if it is ordered, else the number of the choice; NaN in
    trials without the parameter."""
    num_values: int | None
    """Number of possible values; None if there is a continuum."""
    choices: tuple[str, ...] = ()
    """The choices in words; empty if the parameter is ordered."""
    ends: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest value of an ordered parameter."""
    is_log: bool = False
    """Whether the scale of an ordered parameter is logarithmic."""

    @property
    def is_ordered(self) -> bool:
        """Whether the parameter is a number, not one of a list of choices."""
        return not self.choices

    @property
    def is_active(self) -> NDArray[np.bool_]:
        """Whether each trial has the parameter, (N,)."""
        return ~np.isnan(self.positions)

    def binned(self, num_bins: int) -> NDArray[np.int64]:
        """Return the bin of each value, bins of equal width on the parameter's scale; all trials must have it."""
        if not self.is_ordered:
            return self.positions.astype(np.int64)
        if self.num_values is not None and self.num_values <= num_bins:
            return np.rint(self.positions * (num_bins - 1)).astype(np.int64)
        return np.minimum((self.positions * num_bins).astype(np.int64), num_bins - 1)


@dataclass(frozen=True, kw_only=True)
class Share:
    """The importance of one parameter."""

    parameter: str
    share: float
    """Fraction, from 0 to 1."""
    low: float
    """Lower end of the interval of the middle 95 % of resamplings of the trials."""
    high: float
    """Upper end of the interval."""
    is_beyond_chance: bool = True
    """Whether shuffled scores rarely give a parameter such an importance; True where that was not computed."""
