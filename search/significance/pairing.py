"""Pair two configurations block by block, and count lost and diverged blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError


class ScoresError(InputError):
    """The scores or correctness bits are malformed."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Outcomes of one configuration on its blocks."""

    blocks: tuple[str, ...]
    values: NDArray[Any]
    """Correctness bits (R, M) uint8, or scores (R,) float64; zeros where `present` is false."""
    present: NDArray[np.bool_]
    """Whether there is a result, shape (R,)."""
    diverged: NDArray[np.bool_]
    """Whether the training diverged, shape (R,); the last finite checkpoint may still give a result."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two configurations on their common blocks, without blocks that lack an outcome of either."""

    blocks: tuple[str, ...]
    values_a: NDArray[Any]
    """Correctness (R, M) int8, float64 where chance is filled in; or scores (R,) float64."""
    values_b: NDArray[Any]
    diff: NDArray[Any]
    """First minus second."""
    scores_a: NDArray[np.float64]
    """Accuracy per block, shape (R,)."""
    scores_b: NDArray[np.float64]
    diverged_a: NDArray[np.bool_]
    diverged_b: NDArray[np.bool_]
    num_mismatched: int
    num_lost: int

    @property
    def per_block(self) -> NDArray[np.float64]:
        """Score differences, shape (R,)."""
        return self.scores_a - self.scores_b

    def only(self, kept: NDArray[np.bool_]) -> Pair:
        """Return the pair on some of its blocks, those where `kept` (R,) is True."""
        return dataclasses.replace(
            self,
            blocks=tuple(block for block, keep in zip(self.blocks, kept, strict=True) if keep),
            values_a=self.values_a[kept],
            values_b=self.values_b[kept],
            diff=self.diff[kept],
            scores_a=self.scores_a[kept],
            scores_b=self.scores_b[kept],
            diverged_a=self.diverged_a[kept],
            diverged_b=self.diverged_b[kept],
        )

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Blocks on which neither configuration diverged, shape (R,)."""
        return ~(self.diverged_a | self.diverged_b)


def bits_of(
    name: str, blocks: Sequence[str], rows: Sequence[NDArray[Any] | None], diverged: Collection[str]
) -> Outcomes:
    """Return the outcomes of one configuration from its correctness bits.

    Args:
        name: The configuration, for messages.
        blocks: Block ids, length R.
        rows: Per block the correctness of every test image, shape (M,) of 0 and 1, or None if there is no result.
        diverged: Ids of the blocks whose training diverged.

    Returns:
        The outcomes.

    Raises:
        ScoresError: Lengths differ, a block is named twice, or a value is not 0 or 1.
    """
    _check_blocks(name, blocks, len(rows), diverged)
    present = np.array([row is not None for row in rows], dtype=np.bool_)
    found = [np.asarray(row) for row in rows if row is not None]
    lengths = {row.shape for row in found}
    if len(lengths) > 1 or any(len(shape) != 1 or 0 in shape for shape in lengths):
        msg = f"correct[{name!r}]: rows must all be (num_images,), at least 1, got shapes {sorted(lengths)}"
        raise ScoresError(msg)
    if any(row.dtype.kind not in "bui" or not 0 <= row.min() <= row.max() <= 1 for row in found):
        msg = f"correct[{name!r}]: correctness must be whole numbers, 0 or 1"
        raise ScoresError(msg)
    values = np.zeros((len(rows), found[0].size if found else 0), dtype=np.uint8)
    for place, row in zip(np.flatnonzero(present), found, strict=True):
        values[place] = row
    return Outcomes(blocks=tuple(blocks), values=values, present=present, diverged=_marks(blocks, diverged))


def scores_of(
    name: str, blocks: Sequence[str], scores: NDArray[Any], diverged: Collection[str], *, bounded: bool = True
) -> Outcomes:
    """Return the outcomes of one configuration from its scores.

    Args:
        name: The configuration, for messages.
        blocks: Block ids, length R.
        scores: Accuracies in [0, 1], shape (R,); NaN if there is no result.
        diverged: Ids of the blocks whose training diverged.
        bounded: Whether scores must lie in [0, 1].

    Returns:
        The outcomes.

    Raises:
        ScoresError: Lengths differ, a block is named twice, or a score is outside [0, 1].
    """
    values = np.asarray(scores, dtype=np.float64)
    _check_blocks(name, blocks, len(values), diverged)
    present = np.isfinite(values)
    outside = bounded and bool(((values[present] < 0) | (values[present] > 1)).any())
    if values.ndim != 1 or outside or np.isinf(values).any():
        msg = f"scores[{name!r}]: accuracies must be fractions from 0 to 1, one per block, NaN if missing"
        raise ScoresError(msg)
    return Outcomes(
        blocks=tuple(blocks),
        values=np.where(present, values, 0.0),
        present=present,
        diverged=_marks(blocks, diverged),
    )


def pair_up(first: Outcomes, second: Outcomes, *, num_classes: int | None) -> Pair:
    """Pair two configurations on their common blocks, in the order of the first.

    A diverged repeat without a result is an outcome: every image gets the expected correctness of a guess, 1 /
    num_classes. Any other missing result is lost: the block is dropped and counted.

    Args:
        first: Outcomes of a, values (R_a, M) or (R_a,).
        second: Outcomes of b, over the same M images.
        num_classes: For chance accuracy; only needed if a diverged repeat has no result.

    Returns:
        The pair; it may have no blocks.

    Raises:
        ScoresError: Chance accuracy is needed and num_classes is not given.
    """
    position = {block: place for place, block in enumerate(second.blocks)}
    common = [(place, position[block]) for place, block in enumerate(first.blocks) if block in position]
    outcome_a, outcome_b = first.present | first.diverged, second.present | second.diverged
    kept = [(i, j) for i, j in common if outcome_a[i] and outcome_b[j]]
    rows_a = np.array([i for i, _ in kept], dtype=np.intp)
    rows_b = np.array([j for _, j in kept], dtype=np.intp)
    shape = second.values.shape[1:] if not first.present.any() else first.values.shape[1:]
    values_a, values_b = (_filled(*side, shape, num_classes) for side in ((first, rows_a), (second, rows_b)))
    return Pair(
        blocks=tuple(first.blocks[i] for i in rows_a),
        values_a=values_a,
        values_b=values_b,
        diff=values_a - values_b,
        scores_a=_per_block(values_a),
        scores_b=_per_block(values_b),
        diverged_a=first.diverged[rows_a],
        diverged_b=second.diverged[rows_b],
        num_mismatched=len(first.blocks) + len(second.blocks) - 2 * len(common),
        num_lost=len(common) - len(kept),
    )


def _filled(
    outcomes: Outcomes, rows: NDArray[np.intp], shape: tuple[int, ...], num_classes: int | None
) -> NDArray[Any]:
    values, empty = outcomes.values[rows], ~outcomes.present[rows]
    if not empty.any():
        return values.view(np.int8) if values.dtype == np.uint8 else values
    if num_classes is None:
        msg = "num_classes must be given, because a diverged repeat has no result and is scored as chance; got None"
        raise ScoresError(msg)
    filled = np.full((len(rows), *shape), 1 / num_classes)
    if not empty.all():
        filled[~empty] = values[~empty]
    return filled


def _per_block(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=1) if values.ndim == 2 else values, dtype=np.float64)


def _check_blocks(name: str, blocks: Sequence[str], num_results: int, diverged: Collection[str]) -> None:
    if len(blocks) != num_results:
        msg = f"{name!r}: one result per block is needed, got {len(blocks)} blocks and {num_results} results"
        raise ScoresError(msg)
    if len(set(blocks)) != len(blocks):
        msg = f"{name!r}: blocks must be named once each, got {list(blocks)}"
        raise ScoresError(msg)
    if unknown := sorted(set(diverged) - set(blocks)):
        msg = f"{name!r}: failed blocks must be among its blocks, got {unknown}; known: {list(blocks)}"
        raise ScoresError(msg)


def _marks(blocks: Sequence[str], diverged: Collection[str]) -> NDArray[np.bool_]:
    return np.array([block in diverged for block in blocks], dtype=np.bool_)
