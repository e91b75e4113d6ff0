"""Writes the example results of docs/analysis.md; the same bytes every time.

python docs/examples/make.py [FOLDER]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

NUM_SCORED = 15_000
"""Validation images of CIFAR-10 split 7:3, so accuracies are whole numbers of images over this."""


def scores(seed: int, num_blocks: int, *, gap: float, own: float) -> dict[str, np.ndarray]:
    """Accuracies of two configurations: blocks differ by 0.4 points, what a configuration adds to that by `own`."""
    rng = np.random.default_rng(seed)
    block = 0.77 + rng.normal(0, 0.004, num_blocks)
    means = {"ecrnn-bilstm-16": block + gap, "cnn": block}
    return {name: np.round((mean + rng.normal(0, own, num_blocks)) * NUM_SCORED) for name, mean in means.items()}


def write_csv(path: Path, right: dict[str, np.ndarray]) -> None:
    """One row per configuration and block."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["config", "block", "score"])
        for name, counts in right.items():
            writer.writerows([name, block, f"{count / NUM_SCORED:.4f}"] for block, count in enumerate(counts))


def write_npz(path: Path) -> None:
    """Correctness of 2,000 test images by three configurations over eight blocks."""
    rng = np.random.default_rng(4)
    ease = rng.normal(1.2, 1.6, 2_000)
    gaps = {"cnn": 0.0, "crnn-bilstm-16": 0.02, "ecrnn-bilstm-16": 0.2}
    liking = {name: rng.normal(0, 0.3, ease.size) for name in gaps}  # some images suit one configuration better
    correct = [
        [ease + liking[name] + gap + rng.normal(0, 0.03) + rng.normal(0, 0.7, ease.size) > 0 for _ in range(8)]
        for name, gap in gaps.items()
    ]
    np.savez_compressed(
        path,
        correct=np.array(correct, dtype=np.uint8),
        configs=list(gaps),
        blocks=[f"seed-{number}" for number in range(8)],
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "clear-win.csv", scores(1, 10, gap=0.018, own=0.003))
    write_csv(folder / "tie.csv", scores(2, 10, gap=0.0, own=0.0012))
    write_csv(folder / "too-few.csv", scores(3, 3, gap=0.018, own=0.003))
    write_npz(folder / "bits.npz")
