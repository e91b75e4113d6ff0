"""How a file of results is to be read, where that is stated instead of detected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ROW = "row"
"""`--block-column row`: every row of a wide table is one block."""
LAST = "last"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options that say what the columns mean; None: detected, and refused where two columns are plausible."""

    config: str | None = None
    block: str | None = None
    score: str | None = None
    dataset: str | None = None
    image: str | None = None
    label: str | None = None
    """The column of true labels."""
    prediction: str | None = None
    """The column of predicted labels."""
    metric: str | None = None
    """The metric to read where a column names one metric per row."""
    at: str | None = None
    """Which step of a learning curve is the score: `last`, or the number of a step."""
    direction: Literal["lower", "higher"] | None = None
    """Which scores are better, where it is stated."""
    scale: float | None = None
    """Scores are divided by it: 100 for percent; 1 takes them as they are."""
    unpaired: bool = False
    """Runs have no block in common."""

    @property
    def columns(self) -> list[str]:
        """Options that speak of the columns of a file, of those that are given."""
        names = ("config", "block", "score", "dataset", "image", "label", "prediction")
        return [*(f"--{name}-column" for name in names if getattr(self, name)), *(["--at"] if self.at else [])]

    @property
    def own_unit(self) -> bool:
        """Whether scores keep a unit of their own instead of being fractions of 1."""
        return self.scale == 1 or (self.direction == "lower" and self.scale is None)


DETECTED = Asked()
"""Nothing is stated."""
