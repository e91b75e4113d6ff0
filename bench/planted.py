"""Power: stored repeats in which a known share of one arm's correct predictions is made wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.claims import ALPHA, Arms, Share, draws
from bench.nulls import NullStudy
from bench.offered import e_process
from search.significance.declared import Declared
from search.significance.effects import smallest_detectable, tost_p
from search.significance.methods import METHODS


def turning_chances(accuracy_M: NDArray[np.float64], drop: float) -> NDArray[np.float64]:
    """Return the probability, per image, that a correct prediction is made wrong; it is higher for harder images.

    Args:
        accuracy_M: Share of repeats with a correct prediction, per image.
        drop: Target drop of the mean accuracy, fraction; must be below the mean accuracy.

    Returns:
        Probabilities proportional to 1.01 - accuracy, so that no image has probability 0, clipped to 1, and scaled so
        that the expected drop is exact.
    """
    from scipy.optimize import brentq

    hardness_M = 1 - accuracy_M + 0.01

    def excess(scale: float) -> float:
        return float((accuracy_M * np.minimum(scale * hardness_M, 1)).mean()) - drop

    if drop == 0:
        return np.zeros_like(accuracy_M)
    return np.asarray(np.minimum(brentq(excess, 0, 200, xtol=1e-12) * hardness_M, 1), dtype=np.float64)


def plant(arms: Arms, chances_M: NDArray[np.float64], num_val: int, drop: float, rng: np.random.Generator) -> Arms:
    """Make some of the second arm's correct predictions wrong, at the same rate on test and on validation images.

    Only the number of correct validation predictions is stored, so that each of them has the same probability.

    Args:
        arms: At least two arms.
        chances_M: Result of `turning_chances` for the same drop.
        num_val: Number of validation images of each repeat.
        drop: Drop of the mean accuracy, fraction.
        rng: Selects the predictions.

    Returns:
        The arms, of which the second is worse by the drop on average.
    """
    correct_KRM, val_KR = arms.correct.copy(), arms.val_scores.copy()
    correct_KRM[1] &= rng.random(correct_KRM[1].shape) >= chances_M
    num_right_R = np.rint(val_KR[1] * num_val).astype(int)
    turned_R = rng.binomial(num_right_R, min(drop / float(val_KR.mean()), 1.0))
    val_KR[1] = (num_right_R - turned_R) / num_val
    return dataclasses.replace(arms, correct=correct_KRM, val_scores=val_KR)


@dataclass(kw_only=True)
class Found:
    """Findings of one test on planted differences, over all splits."""

    right: int = 0
    """Splits in which the first arm, which is better, was called better at alpha, whatever the size of the effect."""
    wrong: int = 0
    """Splits in which the first arm was called worse."""
    equivalent: int = 0
    """Splits in which two one-sided tests rejected, with a rope as wide as the planted difference."""
    total: int = 0
    detectable: list[float] = field(default_factory=list)
    """Smallest detectable difference as reported by the comparison of each split."""

    @property
    def power(self) -> Share:
        """Share of splits with a correct claim."""
        return Share(count=self.right, total=self.total)


TESTS = ("crossed", "corrected-t", "paired-t", "sign-flip", "wilcoxon")


def measure_power(null: NullStudy, drop: float, num_blocks: int, num_splits: int) -> dict[str, Found]:
    """Plant a difference in many splits, and run every test on them.

    Returns:
        Method of the analysis, or `e-process` -> its findings; methods that need more blocks are skipped.
    """
    chances_M = turning_chances(null.correct.mean(axis=0), drop)
    tests = [name for name in TESTS if METHODS[name].blocks_needed(Declared(alpha=ALPHA), 1) <= num_blocks]
    found = {name: Found() for name in (*tests, "e-process")}
    for split, arms in enumerate(draws(null, 2, num_blocks, num_splits)):
        rng = np.random.default_rng([num_blocks, split, 1])
        worse = plant(arms, chances_M, null.meta["num_val"], drop, rng)
        declared = Declared(ratio=null.ratio, alpha=ALPHA, rope=drop)
        for name in tests:
            entry, item = METHODS[name], found[name]
            test = entry.run(worse.on_validation() if entry.needs_scores else worse.on_test(), declared)
            item.total += 1
            item.right += test.p <= ALPHA and test.estimate > 0
            item.wrong += test.p <= ALPHA and test.estimate < 0
            if test.law is not None:
                item.detectable.append(smallest_detectable(test.law, alpha=ALPHA))
                item.equivalent += tost_p(test.estimate, test.law, rope=drop) <= ALPHA
        item = found["e-process"]
        told, ahead = e_process(worse), worse.scores[0].mean() > worse.scores[1].mean()
        item.total += 1
        item.right += bool(told and ahead)
        item.wrong += bool(told and not ahead)
    return found
