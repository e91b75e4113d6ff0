"""Accuracy and confusion of predictions whose true classes are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from search.text.counted import counted

Z = 1.959963984540054
"""Quantile of the normal distribution for 95 % confidence."""
MAX_COLUMNS = 12
"""Largest number of classes whose confusion is printed as a table."""
NUM_CONFUSIONS = 10
"""Number of confusions that are listed otherwise."""


class Tally:
    """Counts of pairs of true and predicted class.

    Args:
        classes: Names of the model's classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, true_label: str, label: str) -> None:
        """Count one image."""
        self._counts[true_label, label] += 1

    @property
    def num_images(self) -> int:
        """Number of images."""
        return self._counts.total()

    @property
    def num_right(self) -> int:
        """Number of images whose predicted class is the true one."""
        return sum(number for (true_label, label), number in self._counts.items() if true_label == label)

    def to_dict(self) -> dict[str, Any] | None:
        """Return accuracy, its 95 % interval and the confusion as plain data; None without images."""
        if not self.num_images:
            return None
        low, high = wilson_interval(self.num_right, self.num_images)
        present = self._present()
        return {
            "accuracy": self.num_right / self.num_images,
            "interval": [low, high],
            "num_images": self.num_images,
            "confusion": {
                "true": present,
                "predicted": list(self._classes),
                "counts": [[self._counts[row, column] for column in self._classes] for row in present],
            },
        }

    def to_lines(self) -> list[str]:
        """Return accuracy and confusion as lines of text."""
        if not self.num_images:
            return []
        low, high = wilson_interval(self.num_right, self.num_images)
        lines = [
            f"accuracy    {100 * self.num_right / self.num_images:.1f} % (95 % CI {100 * low:.1f} to "
            f"{100 * high:.1f} %): {self.num_right:,} of {counted(self.num_images, 'image')} in folders of classes"
        ]
        columns = [name for name in self._classes if any(name in pair for pair in self._counts)]
        if len(columns) > MAX_COLUMNS:
            return lines + self._most_common()
        rows = [["", *columns]]
        rows += [[row, *(str(self._counts[row, column]) for column in columns)] for row in self._present()]
        widths = [max(len(row[at]) for row in rows) for at in range(len(columns) + 1)]
        table = [
            "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(pairs)).rstrip()
            for pairs in (list(zip(row, widths, strict=True)) for row in rows)
        ]
        return [*lines, "confusion   true classes are rows, predicted ones columns", *table]

    def _most_common(self) -> list[str]:
        wrong = Counter({pair: number for pair, number in self._counts.items() if pair[0] != pair[1]})
        return [
            f"confusion   {true_label} predicted as {label}: {counted(number, 'image')}"
            for (true_label, label), number in wrong.most_common(NUM_CONFUSIONS)
        ]

    def _present(self) -> list[str]:
        """Return the true classes that have images, in the model's order."""
        there = {true_label for true_label, _ in self._counts}
        return [name for name in self._classes if name in there]


def wilson_interval(num_right: int, num: int) -> tuple[float, float]:
    """Return Wilson's 95 % confidence interval of a share.

    Args:
        num_right: Number of successes.
        num: Number of trials, at least 1.

    Reference:
        Wilson (1927), Probable inference, the law of succession, and statistical inference.

    >>> tuple(round(bound, 4) for bound in wilson_interval(9, 10))
    (0.5958, 0.9821)
    """
    share, square = num_right / num, Z**2 / num
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / num + square / (4 * num)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
