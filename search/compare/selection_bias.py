"""How much of the nominee's validation score is luck of the images: Tibshirani's correction over folds of them.

Shapes: K folds, C candidates, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.journal.summary import best_first
from search.records import Stopped, TrialRecord
from search.seeds import derive
from search.significance.selection import tibshirani
from search.storage.disk import load_array

NUM_FOLDS = 4
"""The maximum over equal candidates lies b above the truth on N images, sqrt(K) b on N/K of them. The correction is the
difference, (sqrt(K) - 1) b: b itself with four folds, 2.2 b with ten."""

MAX_GAP = 0.01
"""Between an accuracy that was told and what is stored of it: a training that was cut off after its last checkpoint is
validated once more, perhaps on another device."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What is taken off the nominee's selection score."""

    bias: float
    """Mean over the folds of the highest accuracy in it minus the nominee's; a fraction, at least 0."""
    num_candidates: int
    """Completed trials, the nominee included."""
    num_images: int
    """Of the validation part, which all of them share."""
    num_folds: int = NUM_FOLDS
    num_stopped: int = 0
    """Trials that the scheduler stopped. They competed as well; with their answers the bias could only be larger."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A score that nobody has, and why."""

    reason: str
    """Goes on after `not known: `."""


def correct(folder: Path, trials: Sequence[TrialRecord], *, num_images: int, seed: int) -> Correction | Unknown:
    """Estimate by how much the best validation accuracy of a sweep is too high because it was chosen.

    It sees the luck of the validation images: what the nominee's very weights would score on other images of this kind.
    It does not see the luck of the seeds, as all trials have one block: another training of the same point may score
    lower still. Four folds make it right where all candidates are equal; where one stands out it takes off somewhat
    too much, never less than nothing. Trials that the scheduler stopped competed, but left no answers to compare: with
    them the correction is a lower bound, and beside a single completed trial there is none.

    The promise fails when there are so few images that a fold decides by a handful, and when the trials were trained on
    different blocks or data: then they share no images, and the answer is `Unknown`.

    Args:
        folder: The study's folder.
        trials: All trials of its sweep; the nominee is the completed one with the highest validation accuracy.
        num_images: N, of the validation part.
        seed: Deals the images to the folds; position would deal them by class where they are stored so.

    Returns:
        The correction, or why there is none.

    Reference: Tibshirani & Tibshirani 2009 (Annals of Applied Statistics 3:822), equation 2, with accuracies.
    """
    if not num_images:
        return Unknown(reason="there is no validation part")
    ranked = [record for record in best_first(trials) if record.val_accuracy is not None]
    if not ranked:
        return Unknown(reason="no trial was completed")
    num_old = sum("val_correct" not in record.artifacts for record in ranked)
    if num_old:
        which = "it was" if num_old == len(ranked) else f"{num_old} of {len(ranked)} completed trials were"
        return Unknown(reason=f"{which} trained before the right answers of the validation were recorded")
    num_stopped = sum(isinstance(record.outcome, Stopped) for record in trials)
    if len(ranked) == 1 and num_stopped:
        which = "a trial that the scheduler stopped" if num_stopped == 1 else f"{num_stopped} trials that were stopped"
        return Unknown(reason=f"{which} competed with it, and left no answers to correct by")
    if len({record.blocks for record in ranked}) > 1:
        return Unknown(reason="the trials were trained on different blocks, so they share no validation images")
    if num_images < NUM_FOLDS:
        return Unknown(reason=f"{num_images} validation images are too few for {NUM_FOLDS} folds")
    num_scored = num_images * len(ranked[0].blocks)
    deal = _Deal(num_scored, seed)
    scores_KC = np.empty((NUM_FOLDS, len(ranked)))
    for position, record in enumerate(ranked):
        try:
            correct_N = load_val_correct(folder, record, num_images)
        except (OSError, ValueError) as error:
            return Unknown(reason=f"what trial {record.number} got right cannot be read ({error})")
        scores_KC[:, position] = deal.scores(correct_N)
    return Correction(
        bias=tibshirani(scores_KC).bias,
        num_candidates=len(ranked),
        num_images=num_scored,
        num_stopped=num_stopped,
    )


def load_val_correct(folder: Path, record: TrialRecord, num_images: int) -> NDArray[np.uint8]:
    """Read which validation images a completed trial got right: 0 and 1, block after block, (R * N,).

    Raises:
        OSError: The file cannot be read.
        ValueError: It is gone or damaged, or holds something else than the accuracy that the trial has told.
    """
    packed_RB = load_array(folder / record.artifacts["val_correct"], "uint8", -(-num_images // 8))
    if len(packed_RB) != len(record.blocks):
        msg = f"expected the bits of {len(record.blocks)} blocks, found {len(packed_RB)}"
        raise ValueError(msg)
    correct_N: NDArray[np.uint8] = np.unpackbits(packed_RB, axis=1, count=num_images).reshape(-1)
    if abs(correct_N.mean() - (record.val_accuracy or 0.0)) > MAX_GAP + 1 / correct_N.size:
        msg = f"an accuracy of {correct_N.mean():.4f}, and it told {record.val_accuracy:.4f}"
        raise ValueError(msg)
    return correct_N


class _Deal:
    """Which images are in which fold; sizes differ by one at most."""

    def __init__(self, num_images: int, seed: int) -> None:
        self._order = np.random.default_rng(derive(seed, "optimism", "folds")).permutation(num_images)
        sizes = [len(part) for part in np.array_split(self._order, NUM_FOLDS)]
        self._starts, self._sizes = np.cumsum([0, *sizes[:-1]]), np.array(sizes)

    def scores(self, correct_N: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Accuracy per fold, (K,)."""
        counts_K = np.add.reduceat(correct_N[self._order], self._starts, dtype=np.int64)
        scores_K: NDArray[np.float64] = counts_K / self._sizes
        return scores_K
