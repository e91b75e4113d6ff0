"""Test one comparison before the adjustment: select the test, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.declared import CHECKPOINTS, NEW_DATA_SETS, Declared
from search.significance.methods import METHODS, Method, choose_test
from search.significance.pairing import Outcomes, Pair, bits_of, pair_up, scores_of
from search.significance.records import MeanTest
from search.significance.results import Results
from search.significance.tests.differences import merged
from search.significance.tests.mcnemar import mcnemar_test
from search.text.counted import counted

MAX_MISSING = 0.1
"""Maximum share of missing pairs; beyond it there is no verdict."""
SAME = "the difference is the same in every repeat (zero variance), so the seeds may not have reached the training"
ALMOST_SAME = (
    "the difference is the same in {same} of {count} repeats, so the seeds may not have reached the training, or the "
    "scores are rounded too much to show the variation"
)
NO_RATIO = (
    "a claim about new data needs the correctness of every test image, or random splits with their ratio of images "
    "scored to images trained on"
)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One comparison, tested but without a verdict."""

    names: tuple[str, str]
    dataset: str = ""
    method: Method | None = None
    pair: Pair | None = None
    refusal: str | None = None
    """Why there is no test."""
    test: MeanTest | None = None
    sensitivity: MeanTest | None = None
    """The same test on the blocks in which neither diverged."""
    left: Pair | None = None
    """The pair on these blocks."""
    diverged: bool = False
    """Whether either configuration diverged on some block."""
    secondary: MeanTest | None = None
    """Corrected resampled t on the scores, reported beside a test on correctness bits."""
    check: MeanTest | None = None
    """McNemar's test of one trained pair; the Multi-Bootstrap is added later for the whole family."""


def outcomes_of(found: Results) -> tuple[dict[str, Outcomes], dict[str, Outcomes]]:
    """Return the correctness bits and the scores of every configuration on a data set, by name.

    Raises:
        ScoresError: Arrays are malformed.
    """

    def lost(name: str) -> frozenset[str]:
        return found.diverged.get(name, frozenset())

    bits = {name: bits_of(name, found.blocks[name], list(rows), lost(name)) for name, rows in found.correct.items()}
    scores = {
        name: scores_of(name, found.blocks[name], array, lost(name), bounded=found.bounded)
        for name, array in found.scores.items()
    }
    return bits, scores


def examine(
    names: tuple[str, str],
    bits: Mapping[str, Outcomes],
    scores: Mapping[str, Outcomes],
    declared: Declared,
    *,
    family_size: int,
    dataset: str = "",
) -> Examined:
    """Test one comparison.

    Args:
        names: Its two configurations.
        bits: Name -> outcomes with values (R, M), over the test images.
        scores: Name -> outcomes with values (R,), one score per block.
        declared: The declared settings; tests carry an interval of level 1 - alpha.
        family_size: Number of declared comparisons.
        dataset: Name of the data set.

    Returns:
        Its tests, or the reason why there is none.
    """
    a, b = names
    has_bits, has_scores = a in bits and b in bits, a in scores and b in scores
    chosen = choose_test(declared, has_bits=has_bits, has_scores=has_scores)
    if chosen is None:
        refusal = _nothing_fits(declared, bits=has_bits, scores=has_scores)
        return Examined(names=names, dataset=dataset, refusal=refusal)
    method = METHODS[chosen]
    source = scores if has_scores and (method.needs_scores or not has_bits) else bits
    shapes = [side.values.shape[1:] for side in (source[a], source[b]) if side.present.any()]
    if not shapes:
        refusal = "neither has a result on any block"
        return Examined(names=names, dataset=dataset, method=method, refusal=refusal)
    if len(set(shapes)) > 1:
        counts = " and ".join(str(shape[0]) for shape in shapes)
        refusal = f"their test sets differ in size ({counts} images)"
        return Examined(names=names, dataset=dataset, method=method, refusal=refusal)
    pair = pair_up(source[a], source[b], num_classes=declared.num_classes)
    why_not = refusal_of(pair, method, declared, family_size)
    diverged = not bool(pair.complete.all())
    test = None if why_not else method.run(pair, declared)
    if test is not None and np.isnan(test.p):
        test, why_not = None, SAME if len(pair.blocks) > 1 else "both are correct on the same images"
    left = pair.only(pair.complete)
    sensitivity = None
    if test and diverged and len(left.blocks) >= method.blocks_needed(declared, family_size) and _varies(left.diff):
        sensitivity = method.run(left, declared)
    return Examined(
        names=names,
        dataset=dataset,
        method=method,
        pair=pair,
        refusal=why_not,
        test=test,
        sensitivity=sensitivity if sensitivity and not np.isnan(sensitivity.p) else None,
        left=left,
        diverged=diverged,
        secondary=_secondary(method, scores[a], scores[b], declared) if has_bits and has_scores else None,
        check=_one_pair(pair, declared) if why_not and method.estimand != CHECKPOINTS else None,
    )


def _nothing_fits(declared: Declared, *, bits: bool, scores: bool) -> str:
    if declared.method == "auto" and scores and not bits:
        return NO_RATIO
    if declared.method != "auto" and (scores or bits):
        kind = "the correctness of every test image" if scores else "one score per block, each on its own split"
        return f"the {METHODS[declared.method].title} needs {kind}"
    return "they have no results of the same kind"


def _secondary(method: Method, a: Outcomes, b: Outcomes, declared: Declared) -> MeanTest | None:
    beside = METHODS["corrected-t"]
    if declared.ratio is None or method is beside:
        return None
    pair = pair_up(a, b, num_classes=declared.num_classes)
    enough = len(pair.blocks) >= beside.min_blocks and _varies(pair.diff)
    return beside.run(pair, declared) if enough else None


def _one_pair(pair: Pair, declared: Declared) -> MeanTest | None:
    """Return McNemar's test of one trained pair, which concerns these two checkpoints only."""
    if len(pair.blocks) != 1 or pair.diff.ndim != 2 or pair.diff.shape[1] < 2 or not pair.complete.all():
        return None
    test = mcnemar_test(pair.values_a[0], pair.values_b[0], variant="exact", alpha=declared.alpha)
    return None if np.isnan(test.p) else test


def _varies(diff: NDArray[Any]) -> bool:
    return bool(np.ptp(diff, axis=0).max() > 1e-12)


def refusal_of(pair: Pair, method: Method, declared: Declared, family_size: int) -> str | None:
    """Return why a pair cannot be tested, or None."""
    count = len(pair.blocks)
    if count == 0:
        if pair.num_mismatched and not pair.num_lost:
            return (
                "they share no block: train both on the same seeds and splits, or compare them as independent runs "
                "(analyze --unpaired)"
            )
        return "they have no finished block in common"
    if method.estimand == CHECKPOINTS:
        whole = pair.diff.ndim == 2 and pair.diff.shape[1] > 1 and bool(pair.complete.all())
        return None if whole else f"the {method.title} needs two finished trainings and at least 2 test images"
    if method.min_blocks == 1:
        return None
    needed = method.blocks_needed(declared, family_size)
    if count < needed:
        what = "data sets" if method.estimand == NEW_DATA_SETS else "paired repeats"
        why = (
            ""
            if needed == method.min_blocks
            else (f" for a significant result among {counted(family_size, 'comparison')}")
        )
        return f"the {method.title} needs at least {needed} {what}{why}, got {count}"
    if pair.diff.ndim == 2 and pair.diff.shape[1] < 2:
        return f"the {method.title} needs at least 2 test images, got {pair.diff.shape[1]}"
    if not _varies(pair.diff):
        return SAME
    same = _num_alike(pair.diff) if pair.diff.ndim == 1 and method.estimand != NEW_DATA_SETS else 0
    return ALMOST_SAME.format(same=same, count=count) if same >= count - 1 else None


def _num_alike(diff: NDArray[np.float64]) -> int:
    """Return the number of blocks with the most frequent difference."""
    return int(np.unique(merged(diff), return_counts=True)[1].max())
