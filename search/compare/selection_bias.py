"""Selection bias of the nominee's validation score: Tibshirani's correction over folds of the validation images.

Shapes: K folds, C candidates, N images, R blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.journal.selection import NUM_FOLDS, Correction
from search.journal.summary import best_first
from search.records import Stopped, TrialRecord
from search.seeds import derive
from search.significance.selection import tibshirani
from search.storage.disk import load_bits
from search.text.counted import counted

MAX_GAP = 0.01
"""Tolerance between a reported accuracy and the stored correctness: a training that was interrupted after its last
checkpoint is validated again, possibly on another device."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A score that is not available."""

    reason: str
    """The reason; printed after `not known: `."""


def correct(
    folder: Path, trials: Sequence[TrialRecord], *, num_images: int, seed: int, is_val_fixed: bool = False
) -> Correction | Unknown:
    """Estimate the selection bias of a sweep's best validation accuracy.

    With one block the estimate covers the choice of validation images: the accuracy of the nominee's weights on other
    images of this kind. It does not cover seeds: retraining the same point may give a lower score. With several blocks,
    each with its own validation images, the blocks are the folds, and the estimate covers whatever differs between
    them: seeds and images. It is slightly too small, as the validation images of the blocks overlap. If all blocks have
    the same validation images, these are dealt into folds, and seeds are not covered.

    With four folds the estimate is unbiased if all candidates are equal; if one is clearly better, it is somewhat too
    large, and never negative. Trials that the scheduler stopped were candidates but have no correctness to compare: the
    correction is then a lower bound, or `Unknown` if only one trial completed.

    The estimate is unreliable for few validation images, where single images decide a fold. It is `Unknown` if the
    trials were trained on different blocks or data, since they share no images.

    Args:
        folder: The study's folder.
        trials: All trials of the sweep; the nominee is the completed trial with the highest validation accuracy.
        num_images: Number of validation images N of one block.
        seed: Assigns images to folds at random, since stored images may be sorted by class.
        is_val_fixed: Whether all blocks have the same validation images.

    Returns:
        The correction, or the reason why there is none.

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
        return Unknown(reason=f"{which} trained before the correctness of the validation images was recorded")
    num_stopped = sum(isinstance(record.outcome, Stopped) for record in trials)
    if len(ranked) == 1 and num_stopped:
        which = "a trial that was stopped early" if num_stopped == 1 else f"{num_stopped} trials that were stopped"
        return Unknown(reason=f"{which} competed with it and left no correctness of the validation images")
    if len({record.blocks for record in ranked}) > 1:
        return Unknown(reason="the trials were trained on different splits, so they share no validation images")
    num_blocks = len(ranked[0].blocks)
    by_block = num_blocks > 1 and not is_val_fixed
    if num_images < NUM_FOLDS and not by_block:
        return Unknown(reason=f"{num_images} validation images are too few for {NUM_FOLDS} folds")
    num_folds = num_blocks if by_block else NUM_FOLDS
    deal = _Deal(num_images, seed)
    scores_KC = np.empty((num_folds, len(ranked)))
    for position, record in enumerate(ranked):
        try:
            correct_N = load_val_correct(folder, record, num_images)
        except (OSError, ValueError) as error:
            return Unknown(reason=f"the correctness of trial {record.number} cannot be read ({error})")
        correct_RN = correct_N.reshape(num_blocks, num_images)
        scores_KC[:, position] = correct_RN.mean(axis=1) if by_block else deal.scores(correct_RN)
    # Over equal candidates the estimate is (sqrt(K) - 1) times the bias: once with four folds.
    bias = tibshirani(scores_KC).bias / (math.sqrt(num_folds) - 1)
    return Correction(
        bias=bias,
        num_candidates=len(ranked),
        num_images=num_images if is_val_fixed else num_images * num_blocks,
        num_folds=num_folds,
        num_stopped=num_stopped,
        covers_seeds=by_block,
    )


def load_val_correct(folder: Path, record: TrialRecord, num_images: int) -> NDArray[np.uint8]:
    """Read which validation images a completed trial classified correctly.

    Args:
        folder: The study's folder.
        record: The trial.
        num_images: Number of validation images N of one block.

    Returns:
        Shape (R * N,), 0 and 1, block after block.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is missing, damaged, or does not match the accuracy that the trial reported.
    """
    correct_RN = load_bits(folder / record.artifacts["val_correct"], num_images)
    if len(correct_RN) != len(record.blocks):
        msg = f"expected the correctness of {counted(len(record.blocks), 'split')}, found {len(correct_RN)}"
        raise ValueError(msg)
    correct_N = correct_RN.reshape(-1)
    if abs(correct_N.mean() - (record.val_accuracy or 0.0)) > MAX_GAP + 1 / correct_N.size:
        msg = f"an accuracy of {correct_N.mean():.4f}, but the trial reported {record.val_accuracy:.4f}"
        raise ValueError(msg)
    return correct_N


class _Deal:
    """Assignment of images to folds; fold sizes differ by at most one."""

    def __init__(self, num_images: int, seed: int) -> None:
        self._order = np.random.default_rng(derive(seed, "optimism", "folds")).permutation(num_images)
        sizes = [len(part) for part in np.array_split(self._order, NUM_FOLDS)]
        self._starts, self._sizes = np.cumsum([0, *sizes[:-1]]), np.array(sizes)

    def scores(self, correct_RN: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the accuracy per fold of the images, over all blocks, shape (K,)."""
        counts_N = correct_RN.sum(axis=0, dtype=np.int64)
        counts_K = np.add.reduceat(counts_N[self._order], self._starts, dtype=np.int64)
        scores_K: NDArray[np.float64] = counts_K / (self._sizes * len(correct_RN))
        return scores_K
