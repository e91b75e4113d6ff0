"""What is fixed before the results are looked at: family, estimand, error rate, rope, and how p-values are adjusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Estimand = Literal["auto", "new-data", "this-data"]
Adjust = Literal["holm", "hommel", "hochberg", "shaffer", "bergmann-hommel", "max-t", "bh"]
MethodName = Literal[
    "auto",
    "crossed",
    "crossed-satterthwaite",
    "corrected-t",
    "paired-t",
    "sign-flip",
    "wilcoxon",
    "mcnemar",
    "mcnemar-mid-p",
    "5x2cv-t",
    "5x2cv-f",
    "multi-bootstrap",
    "pooled-images",
]


NEW_DATA = "new data of this kind"
THIS_DATA = "this data set"
CHECKPOINTS = "these two checkpoints"
NEW_DATA_SETS = "new data sets of this kind"
MIN_BLOCKS = 3
"""Below: description only."""
FIRM_BLOCKS = 5
"""Below: provisional."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a claim rests on beside the results; a promise holds only for what was declared before looking."""

    estimand: Estimand = "auto"
    """new-data: new images of this kind and new repeats; this-data: new repeats on these very images. auto: new-data
    where what is stored allows it."""
    method: MethodName = "auto"
    """auto: by what is declared and stored, never by how the results look."""
    adjust: Adjust = "holm"
    """How the p-values of a family are adjusted."""
    alpha: float = 0.05
    """Family-wise error rate (with bh: false discovery rate)."""
    rope: float = 0.005
    """Half-width of practical equivalence, fraction of 1."""
    ratio: float | None = None
    """Images scored over images trained on, where every block is a random split."""
    num_images: int | None = None
    """Images behind each score; needed by pooled-images where there is no correctness."""
    num_classes: int | None = None
    """For chance accuracy; needed where a diverged repeat left no result."""
