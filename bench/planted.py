"""Power: the same repeats, with a known share of one arm's correct answers turned wrong."""

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
    """Chance that a correct answer is turned wrong, per image: the more, the harder the image.

    Args:
        accuracy_M: Share of repeats that got each image right.
        drop: Wished drop of the mean accuracy, fraction; below the mean accuracy.

    Returns:
        Chances proportional to 1 - accuracy, with one repeat's worth added so that no image is safe, none above 1, such
        that the mean drop is exact.
    """
    from scipy.optimize import brentq

    hardness_M = 1 - accuracy_M + 0.01

    def excess(scale: float) -> float:
        return float((accuracy_M * np.minimum(scale * hardness_M, 1)).mean()) - drop

    if drop == 0:
        return np.zeros_like(accuracy_M)
    return np.asarray(np.minimum(brentq(excess, 0, 200, xtol=1e-12) * hardness_M, 1), dtype=np.float64)


def plant(arms: Arms, chances_M: NDArray[np.float64], num_val: int, drop: float, rng: np.random.Generator) -> Arms:
    """Turn some of the second arm's correct answers wrong, on the test images and as many on validation.

    Of validation images only how many were right is known, so there each right answer has the same chance.

    Args:
        arms: At least two.
        chances_M: From `turning_chances`, of the same drop.
        num_val: Validation images of each repeat.
        drop: Drop of the mean accuracy, fraction.
        rng: Decides which answers are turned.

    Returns:
        The arms, the second one worse by the drop on average.
    """
    correct_KRM, val_KR = arms.correct.copy(), arms.val_scores.copy()
    correct_KRM[1] &= rng.random(correct_KRM[1].shape) >= chances_M
    num_right_R = np.rint(val_KR[1] * num_val).astype(int)
    turned_R = rng.binomial(num_right_R, min(drop / float(val_KR.mean()), 1.0))
    val_KR[1] = (num_right_R - turned_R) / num_val
    return dataclasses.replace(arms, correct=correct_KRM, val_scores=val_KR)


@dataclass(kw_only=True)
class Found:
    """What one test made of planted differences, over all splits."""

    right: int = 0
    """The first arm, which is better, was called better (p at alpha, whatever its size)."""
    wrong: int = 0
    """It was called worse."""
    equivalent: int = 0
    """Two one-sided tests rejected, with a rope just as wide as the planted difference."""
    total: int = 0
    detectable: list[float] = field(default_factory=list)
    """The smallest detectable difference that each split's own comparison states."""

    @property
    def power(self) -> Share:
        """Share of right claims."""
        return Share(count=self.right, total=self.total)


TESTS = ("crossed", "corrected-t", "paired-t", "sign-flip", "wilcoxon")


def measure_power(null: NullStudy, drop: float, num_blocks: int, num_splits: int) -> dict[str, Found]:
    """Plant one difference in many splits and test them all.

    Returns:
        Method of the analysis, or `e-process` -> what it found; methods that need more blocks are left out.
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
