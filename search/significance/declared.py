"""Settings that are fixed before the results are seen: family, estimand, error rate, rope and adjustment."""

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
BONFERRONI_BASED: tuple[Adjust, ...] = ("holm", "shaffer", "bergmann-hommel")
"""Adjustments that hold for p-values of any dependence, and therefore at declared interim analyses."""
MIN_BLOCKS = 3
"""With fewer blocks, results are only described."""
FIRM_BLOCKS = 5
"""With fewer blocks, a verdict is provisional."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Declared settings of an analysis; its guarantees hold only if they were fixed before seeing the results."""

    estimand: Estimand = "auto"
    """new-data: new images of this kind and new repeats; this-data: new repeats on the same images. auto: new-data if
    the stored results allow it."""
    method: MethodName = "auto"
    """auto: selected by what is declared and stored, never by the values of the results."""
    adjust: Adjust = "holm"
    """Adjustment of the p-values of a family."""
    interim: tuple[int, int] | None = None
    """Number of this declared interim analysis, from 1, and of all of them, each after the same number of further
    repeats; None if there is only one analysis."""
    alpha: float = 0.05
    """Family-wise error rate (with bh: false discovery rate)."""
    rope: float = 0.005
    """Half-width of practical equivalence, fraction of 1."""
    ratio: float | None = None
    """Scored images over training images, if every block is a random split."""
    num_images: int | None = None
    """Number of images per score; pooled-images needs it without correctness."""
    num_classes: int | None = None
    """Number of classes, for chance accuracy; needed if a diverged repeat has no result."""
