"""Select the test by what was declared and stored: the only dispatch. A new test is one more row of the table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from search.significance.declared import CHECKPOINTS, FIRM_BLOCKS, MIN_BLOCKS, NEW_DATA, THIS_DATA, Declared
from search.significance.pairing import Pair, ScoresError
from search.significance.records import Interval, MeanTest
from search.significance.sequential.bounds import interim_level, interim_p
from search.significance.tests import (
    bootstrap,
    cross_validation,
    crossed,
    mcnemar,
    pooled,
    resampled,
    signed_ranks,
    signflip,
    wilcoxon,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A test and its requirements."""

    title: str
    needs_bits: bool = False
    """It needs the correctness of every image; otherwise one score per block."""
    needs_scores: bool = False
    """It needs one score per block, each on that block's own split; accuracies on one fixed test set do not qualify."""
    min_blocks: int
    permutes: bool = False
    """Its smallest possible p-value is 2^(1 - R), for any results."""
    decides: bool = True
    """Whether it can give a verdict; otherwise its numbers are reported without a claim."""
    estimand: str
    why: str
    limits: str
    run: Callable[[Pair, Declared], MeanTest]

    def blocks_needed(self, declared: Declared, family_size: int) -> int:
        """Return the minimum number of blocks for a verdict."""
        if not self.permutes:
            return self.min_blocks
        # max-T uses the family's largest statistic, so its smallest p does not depend on the family size.
        tests = 1 if declared.adjust == "max-t" else family_size
        return max(self.min_blocks, signflip.fewest_blocks(alpha=declared.alpha, family_size=tests))


def _ratio(declared: Declared) -> float:
    if declared.ratio is None or not declared.ratio > 0:
        raise ScoresError(
            "ratio: the corrected resampled t expects images scored over images trained on, above 0, found "
            f"{'none' if declared.ratio is None else declared.ratio}; give it, such as 3/7 for a 7:3 split"
        )
    return declared.ratio


def _run_five_by_two(pair: Pair, run: Callable[..., MeanTest], alpha: float) -> MeanTest:
    return run(pair.per_block[_five_by_two_order(pair.blocks)].reshape(5, 2), alpha=alpha)


def _five_by_two_order(blocks: tuple[str, ...]) -> list[int]:
    wanted = [f"{repeat}.{fold}" for repeat in range(1, 6) for fold in (1, 2)]
    if sorted(blocks) != sorted(wanted):
        raise ScoresError(
            f"block: 5x2 cross-validation expects ten blocks named repeat.fold, {wanted[0]}, {wanted[1]}, ..., "
            f"{wanted[-1]}, found {', '.join(blocks[:10])}"
        )
    return [blocks.index(name) for name in wanted]


def _run_mcnemar(pair: Pair, declared: Declared, variant: mcnemar.Variant) -> MeanTest:
    if len(pair.blocks) != 1:
        raise ScoresError(
            f"method: McNemar's test expects one trained pair, found {len(pair.blocks)} blocks; use crossed, or one "
            "block"
        )
    return mcnemar.mcnemar_test(pair.values_a[0], pair.values_b[0], variant=variant, alpha=declared.alpha)


def run_wilcoxon(pair: Pair, declared: Declared) -> MeanTest:
    """Run Wilcoxon's test with its Hodges-Lehmann estimate and interval; there is no standard error of a mean."""
    test = wilcoxon.wilcoxon_test(pair.per_block, alpha=declared.alpha)
    estimate, interval = wilcoxon.hodges_lehmann(pair.per_block, level=1 - declared.alpha)
    return dataclasses.replace(
        test,
        estimate=estimate,
        interval=interval or Interval(low=math.nan, high=math.nan, level=1 - declared.alpha),
        se=0.0,
        df=math.nan,
        t=math.nan,
        law=None,
        equivalence=signed_ranks.signed_rank_equivalence(pair.per_block, rope=declared.rope, alpha=declared.alpha),
    )


def _run_paired_t(pair: Pair, declared: Declared) -> MeanTest:
    """Run the paired t; at an interim analysis with its p-value, and an interval that covers at all of them."""
    if declared.interim is None:
        return resampled.paired_t(pair.per_block, alpha=declared.alpha)
    look, num_looks = declared.interim
    test = resampled.paired_t(pair.per_block, alpha=interim_level(declared.alpha, declared.interim))
    return dataclasses.replace(
        test,
        p=interim_p(test.p, look=look, num_looks=num_looks),
        interval=dataclasses.replace(test.interval, level=1 - declared.alpha),
    )


def _run_pooled(pair: Pair, declared: Declared) -> MeanTest:
    num_images = pair.diff.shape[1] if pair.diff.ndim == 2 else declared.num_images
    if num_images is None:
        raise ScoresError(
            "num_images: pooled-images expects the number of images behind each score, found none; give it"
        )
    return pooled.pooled_images_t(
        float(pair.scores_a.mean()),
        float(pair.scores_b.mean()),
        num_runs=len(pair.blocks),
        num_images=num_images,
        alpha=declared.alpha,
    )


_CROSSED_LIMITS = (
    "Valid if repeats are exchangeable and the test images were not chosen in favour of either. The training pool is "
    "a single draw, whose variance is not included. In simulations with strongly varying repeats, the rate of false "
    "claims at .05 was below .05 from 3 blocks on, for single comparisons and for families of up to 28."
)
_SAME_IMAGES = "Other images may give another difference: this is not a claim about new data."

METHODS: dict[str, Method] = {
    "crossed": Method(
        title=crossed.NAME,
        needs_bits=True,
        min_blocks=MIN_BLOCKS,
        estimand=NEW_DATA,
        why="Both have the correctness of every test image, so repeats and images are both treated as random.",
        limits=_CROSSED_LIMITS,
        run=lambda pair, declared: crossed.crossed_test(pair.diff, alpha=declared.alpha),
    ),
    "crossed-satterthwaite": Method(
        title=crossed.SATTERTHWAITE,
        needs_bits=True,
        min_blocks=MIN_BLOCKS,
        decides=False,
        estimand=NEW_DATA,
        why="Requested: the crossed test's variance with a t distribution of estimated degrees of freedom.",
        limits=(
            "No verdict: its tails are too light with few repeats. With Holm at .05, a false difference among 28 "
            "equal pairs was found in .35 of simulated families with 3 repeats and in .14 with 5."
        ),
        run=lambda pair, declared: crossed.satterthwaite_test(pair.diff, alpha=declared.alpha),
    ),
    "multi-bootstrap": Method(
        title=bootstrap.NAME,
        needs_bits=True,
        min_blocks=MIN_BLOCKS,
        decides=False,
        estimand=NEW_DATA,
        why="Requested: repeats and images are both resampled with replacement.",
        limits="A check, not a verdict: below 20 repeats its interval is too narrow.",
        run=lambda pair, declared: bootstrap.multi_bootstrap(pair.diff, alpha=declared.alpha),
    ),
    "corrected-t": Method(
        title=resampled.CORRECTED,
        needs_scores=True,
        min_blocks=FIRM_BLOCKS,
        estimand=NEW_DATA,
        why="There is one score per random split, so the variance is corrected for overlapping splits.",
        limits=(
            "Valid for random splits; the correction is an approximation and usually conservative. It has a floor: "
            "no number of blocks shows a difference below it. Validation scores that selected the configuration are "
            "biased upward."
        ),
        run=lambda pair, declared: resampled.corrected_resampled_t(
            pair.per_block, ratio=_ratio(declared), alpha=declared.alpha
        ),
    ),
    "paired-t": Method(
        title=resampled.PAIRED,
        min_blocks=FIRM_BLOCKS,
        estimand=THIS_DATA,
        why="The claim is about this data set only, and given the data the repeats are independent.",
        limits=_SAME_IMAGES,
        run=_run_paired_t,
    ),
    "sign-flip": Method(
        title=signflip.NAME,
        min_blocks=FIRM_BLOCKS,
        permutes=True,
        estimand=THIS_DATA,
        why="The claim is about this data set only; repeats of equal configurations are exchangeable within a block.",
        limits=f"The interval is that of the paired t. {_SAME_IMAGES}",
        run=lambda pair, declared: signflip.sign_flip_test(pair.per_block, alpha=declared.alpha),
    ),
    "wilcoxon": Method(
        title=wilcoxon.NAME,
        min_blocks=FIRM_BLOCKS,
        permutes=True,
        estimand=THIS_DATA,
        why="Requested: the test uses the ranks of the block differences, whatever their distribution.",
        limits=(
            "It assumes that the differences are symmetric around their median; the estimate is the Hodges-Lehmann "
            f"one, the typical difference, with its exact interval. {_SAME_IMAGES}"
        ),
        run=run_wilcoxon,
    ),
    "mcnemar": Method(
        title="exact McNemar",
        needs_bits=True,
        min_blocks=1,
        estimand=CHECKPOINTS,
        why="One trained pair on the same images.",
        limits="It allows no claim about another training of either configuration.",
        run=lambda pair, declared: _run_mcnemar(pair, declared, "exact"),
    ),
    "mcnemar-mid-p": Method(
        title="mid-p McNemar",
        needs_bits=True,
        min_blocks=1,
        estimand=CHECKPOINTS,
        why="One trained pair on the same images.",
        limits=(
            "It allows no claim about another training of either configuration; barely above alpha in the worst case."
        ),
        run=lambda pair, declared: _run_mcnemar(pair, declared, "mid-p"),
    ),
    "5x2cv-t": Method(
        title=cross_validation.T_NAME,
        needs_scores=True,
        min_blocks=10,
        estimand=NEW_DATA,
        why="Requested: five random halvings, each half trained on once.",
        decides=False,
        limits=(
            "No verdict: with few images, equal learners differed significantly in .08 to .12 of simulations at .05. "
            "Its numerator is the first of the ten differences."
        ),
        run=lambda pair, declared: _run_five_by_two(pair, cross_validation.five_by_two_t, declared.alpha),
    ),
    "5x2cv-f": Method(
        title=cross_validation.F_NAME,
        needs_scores=True,
        min_blocks=10,
        estimand=NEW_DATA,
        why="Requested: five random halvings, each half trained on once.",
        decides=False,
        limits=(
            "No verdict: with few images, equal learners differed significantly in .10 to .14 of simulations at .05. "
            "F has no direction."
        ),
        run=lambda pair, declared: _run_five_by_two(pair, cross_validation.five_by_two_f, declared.alpha),
    ),
    "pooled-images": Method(
        title=pooled.NAME,
        min_blocks=1,
        decides=False,
        estimand="images of these runs, as if independent",
        why="Requested: the test of the ECRNN paper.",
        limits="As published: it ignores the variance between runs, so it gives no verdict.",
        run=_run_pooled,
    ),
}


def choose_test(declared: Declared, *, has_bits: bool, has_scores: bool) -> str | None:
    """Return the test for what was declared and stored, never for the values of the results.

    Args:
        declared: The declared settings.
        has_bits: Whether both have correctness bits of the test images.
        has_scores: Whether both have one score per block.

    Returns:
        A key of METHODS; None if the stored results allow no test.
    """
    if declared.method != "auto":
        asked = METHODS[declared.method]
        allowed = (has_bits and not asked.needs_scores) or (has_scores and not asked.needs_bits)
        return declared.method if allowed else None
    if not (has_bits or has_scores):
        return None
    if declared.estimand == "this-data":
        return "sign-flip" if declared.adjust == "max-t" else "paired-t"
    if has_bits:
        return "crossed"
    if declared.ratio is not None:
        return "corrected-t"
    return "paired-t" if declared.estimand == "auto" else None
