"""Options that state how a file of results is read, instead of detecting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ROW = "row"
"""Value of `--block-column`: every row of a wide table is one block."""
LAST = "last"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Stated meanings of columns; None: detected, and an error if two columns are plausible."""

    config: str | None = None
    block: str | None = None
    score: str | None = None
    dataset: str | None = None
    image: str | None = None
    label: str | None = None
    """Column of true labels."""
    prediction: str | None = None
    """Column of predicted labels."""
    metric: str | None = None
    """Metric to read if one column names the metric of each row."""
    at: str | None = None
    """Step of the learning curve that is the score: `last`, or a step number."""
    direction: Literal["lower", "higher"] | None = None
    """Which scores are better, lower or higher."""
    scale: float | None = None
    """Divisor of the scores: 100 for percent, 1 for none."""
    unpaired: bool = False
    """Whether the runs of two configurations share no blocks."""

    @property
    def columns(self) -> list[str]:
        """Return the given options that name columns of the file."""
        names = ("config", "block", "score", "dataset", "image", "label", "prediction")
        return [*(f"--{name}-column" for name in names if getattr(self, name)), *(["--at"] if self.at else [])]

    @property
    def own_unit(self) -> bool:
        """Whether scores keep their own unit instead of being fractions of 1."""
        return self.scale == 1 or (self.direction == "lower" and self.scale is None)


DETECTED = ReadOptions()
"""No option is given: everything is detected."""
