"""Results of configurations on the blocks of one data set: the input of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Results:
    """Outcomes of several configurations on one data set."""

    dataset: str = ""
    """Name of the data set; empty for a single one."""
    configs: tuple[str, ...]
    """All configurations, in display order."""
    blocks: Mapping[str, tuple[str, ...]]
    """Configuration -> ids of its blocks, in the order of its results; length R."""
    correct: Mapping[str, Sequence[NDArray[Any] | None]] = field(default_factory=dict)
    """Configuration -> per block the correctness of every test image, (M,) of 0 and 1; None: no result."""
    scores: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Configuration -> one score per block, (R,), fractions from 0 to 1 if `bounded`; NaN: no result."""
    diverged: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Configuration -> ids of blocks whose training diverged."""
    bounded: bool = True
    """Whether scores are fractions from 0 to 1; otherwise they are numbers of any size."""
