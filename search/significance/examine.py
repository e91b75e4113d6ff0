"""One comparison before its family is corrected: what is there, which test it allows, and what forbids one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.methods import CORRECTED_T, MIN_BLOCKS, Method, choose
from search.significance.pairing import Outcomes, Pair, pair_up
from search.significance.records import MeanTest

MAX_MISSING = 0.1
"""Share of pairs that may be missing before no verdict is given."""
SAME = "the difference is the same in every repeat (zero variance), so the seeds may not have reached the training"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One comparison, tested but not yet judged."""

    names: tuple[str, str]
    method: Method | None = None
    pair: Pair | None = None
    refusal: str | None = None
    """Why there is no test."""
    test: MeanTest | None = None
    sensitivity: MeanTest | None = None
    """On the blocks in which neither diverged."""
    diverged: bool = False
    """Some block of either diverged."""
    secondary: MeanTest | None = None


def examine(
    names: tuple[str, str],
    bits: Mapping[str, Outcomes],
    scores: Mapping[str, Outcomes],
    *,
    ratio: float | None,
    num_classes: int | None,
    alpha: float,
) -> Examined:
    """Look at one comparison alone.

    Args:
        names: Its two configurations.
        bits: Name -> outcomes with values (R, M), over the test images.
        scores: Name -> outcomes with values (R,), on the validation images.
        ratio: Validation images over training images.
        num_classes: For chance accuracy.
        alpha: Tests carry an interval of 1 - alpha.

    Returns:
        Its tests, or the reason why there is none.
    """
    a, b = names
    has_bits, has_scores = a in bits and b in bits, a in scores and b in scores
    method = choose(has_bits=has_bits, has_scores=has_scores)
    if method is None:
        return Examined(names=names, refusal="they have no results of the same kind")
    source = bits if has_bits else scores
    shapes = [side.values.shape[1:] for side in (source[a], source[b]) if side.present.any()]
    if not shapes:
        return Examined(names=names, method=method, refusal="neither left a result on any block")
    if len(set(shapes)) > 1:
        counts = " and ".join(str(shape[0]) for shape in shapes)
        return Examined(names=names, method=method, refusal=f"their test sets differ, with {counts} images")
    pair = pair_up(source[a], source[b], num_classes=num_classes)
    refusal = _refusal(pair, method)
    diverged = not bool(pair.complete.all())
    test = None if refusal else method.run(pair.diff, alpha, ratio)
    if test is not None and not test.se > 0:
        test, refusal = None, SAME
    left = pair.diff[pair.complete] if diverged else pair.diff[:0]
    sensitivity = method.run(left, alpha, ratio) if test and len(left) >= method.min_blocks and _varies(left) else None
    secondary = None
    if has_bits and has_scores:
        beside = pair_up(scores[a], scores[b], num_classes=num_classes).diff
        if len(beside) >= CORRECTED_T.min_blocks and _varies(beside):
            secondary = CORRECTED_T.run(beside, alpha, ratio)
    return Examined(
        names=names,
        method=method,
        pair=pair,
        refusal=refusal,
        test=test,
        sensitivity=sensitivity if sensitivity and sensitivity.se > 0 else None,
        diverged=diverged,
        secondary=secondary,
    )


def _varies(diff: NDArray[Any]) -> bool:
    return bool(np.ptp(diff, axis=0).max() > 1e-12)


def _refusal(pair: Pair, method: Method) -> str | None:
    """Why no test may be run on this pair, or None."""
    count = len(pair.blocks)
    total = count + pair.num_mismatched + pair.num_lost
    if count == 0:
        return "they have no finished block in common"
    if pair.num_mismatched > MAX_MISSING * total:
        return f"their blocks do not match, {pair.num_mismatched} of {total} belong to one only"
    if count < MIN_BLOCKS:
        return f"{count} paired repeats allow a description only, at least {MIN_BLOCKS} are needed"
    if count < method.min_blocks:
        return f"the {method.name} needs at least {method.min_blocks} paired repeats, got {count}"
    if pair.diff.ndim == 2 and pair.diff.shape[1] < 2:
        return f"the {method.name} needs at least 2 test images, got {pair.diff.shape[1]}"
    return None if _varies(pair.diff) else SAME
