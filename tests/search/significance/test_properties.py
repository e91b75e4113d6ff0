"""What must hold for any data: mirrors, permutations, invariances, and bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from search.significance import Comparison, Declared, Results, Verdict, judge_results
from search.significance.adjust.multiplicity import holm
from search.significance.tests.crossed import crossed_test, mean_squares, satterthwaite_df, satterthwaite_test
from search.significance.tests.mcnemar import mcnemar_test
from search.significance.tests.resampled import corrected_resampled_t, paired_t
from search.significance.tests.signflip import sign_flip_test
from search.significance.tests.wilcoxon import wilcoxon_test

quick = settings(max_examples=60, deadline=None)
shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12)
diffs = arrays(np.int8, shapes, elements=st.integers(-1, 1))
score_diffs = arrays(np.float64, st.integers(3, 20), elements=st.floats(-0.5, 0.5).map(lambda x: round(x, 4)))
p_values = st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=12)
seeds = st.integers(0, 2**32 - 1)


def simulated(seed: int, *, repeats: int = 6, images: int = 40, shift: float = 0.0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    latent = np.random.default_rng(0).normal(0.8, 1.5, images) + rng.normal(shift, 0.3, (repeats, 1))
    return (latent + rng.normal(0, 1, (repeats, images)) > 0).astype(np.uint8)


def judged(correct: dict[str, NDArray[np.uint8]], pair: tuple[str, str], **blocks: list[str]) -> Comparison:
    results = Results(
        configs=tuple(correct),
        blocks={n: tuple(blocks.get(n, [f"block-{r}" for r in range(len(rows))])) for n, rows in correct.items()},
        correct={name: list(rows) for name, rows in correct.items()},
        scores={name: rows.mean(axis=1) for name, rows in correct.items()},
    )
    return judge_results([results], [pair], Declared(ratio=3 / 7))[0]


@quick
@given(diffs)
def test_mean_squares_follow_their_definition(diff: NDArray[np.int8]) -> None:
    squares = mean_squares(diff)
    rows, cols, mean = diff.mean(axis=1), diff.mean(axis=0), diff.mean()
    num_rows, num_cols = diff.shape
    rest = diff - rows[:, None] - cols[None, :] + mean
    assert squares.repeats == pytest.approx(num_cols * ((rows - mean) ** 2).sum() / (num_rows - 1), abs=1e-12)
    assert squares.images == pytest.approx(num_rows * ((cols - mean) ** 2).sum() / (num_cols - 1), abs=1e-12)
    assert squares.residual == pytest.approx((rest**2).sum() / ((num_rows - 1) * (num_cols - 1)), abs=1e-12)
    as_floats = mean_squares(diff.astype(np.float64))
    for field in ("mean", "repeats", "images", "residual"):
        assert getattr(as_floats, field) == pytest.approx(getattr(squares, field), abs=1e-12)


@quick
@given(diffs, seeds)
def test_crossed_test_ignores_order_and_mirrors_sign(diff: NDArray[np.int8], seed: int) -> None:
    rng = np.random.default_rng(seed)
    test = crossed_test(diff)
    shuffled = crossed_test(diff[rng.permutation(diff.shape[0])][:, rng.permutation(diff.shape[1])])
    assert shuffled == test or (np.isnan(test.p) and np.isnan(shuffled.p))
    assume(test.se > 0)
    mirrored = crossed_test(-diff)
    assert (mirrored.estimate, mirrored.se, mirrored.df, mirrored.p) == (-test.estimate, test.se, test.df, test.p)
    assert (mirrored.interval.low, mirrored.interval.high) == (-test.interval.high, -test.interval.low)
    scaled = crossed_test(diff * 0.25)
    assert (scaled.t, scaled.p) == pytest.approx(
        (test.t, test.p), rel=1e-6, abs=1e-7
    )  # float noise is run variance, and with two runs heavy-tailed


@quick
@given(diffs)
def test_conservative_is_never_bolder(diff: NDArray[np.int8]) -> None:
    careful, plain = crossed_test(diff), crossed_test(diff, variance="plain")
    assert careful.se >= plain.se
    assert satterthwaite_df(mean_squares(diff)) >= min(diff.shape) - 1
    if plain.se > 0:
        assert careful.p >= plain.p * (1 - 1e-12)
        assert satterthwaite_test(diff).p >= satterthwaite_test(diff, variance="plain").p * (1 - 1e-12)


@quick
@given(score_diffs, st.floats(0.01, 100), st.floats(0.01, 10), seeds)
def test_score_tests_ignore_order_and_unit(diff: NDArray[np.float64], unit: float, ratio: float, seed: int) -> None:
    assume(np.ptp(diff) > 1e-3)
    for test in (paired_t, lambda values: corrected_resampled_t(values, ratio=ratio)):
        first = test(diff)
        for other, sign in ((np.random.default_rng(seed).permutation(diff), 1), (diff * unit, 1), (-diff, -1)):
            again = test(other)
            assert (sign * again.t, again.p) == pytest.approx((first.t, first.p), rel=1e-9, abs=1e-9)
    assert corrected_resampled_t(diff, ratio=ratio).se > paired_t(diff).se


@quick
@given(p_values, seeds)
def test_holm_adjusts_upward_in_order(raw: list[float | None], seed: int) -> None:
    adjusted = holm(raw)
    known = [(p, q) for p, q in zip(raw, adjusted, strict=True) if p is not None and q is not None]
    assert [q is None for q in adjusted] == [p is None for p in raw]
    assert all(p <= q <= min(1.0, len(raw) * p) + 1e-12 for p, q in known)
    assert all(q1 <= q2 for (p1, q1), (p2, q2) in itertools.permutations(known, 2) if p1 < p2)
    order = np.random.default_rng(seed).permutation(len(raw))
    assert holm([raw[i] for i in order]) == tuple(adjusted[i] for i in order)


MIRROR = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 1.5, -1.0]), st.integers(3, 9))
def test_swapping_the_names_mirrors_everything(seed: int, shift: float, repeats: int) -> None:
    correct = {"a": simulated(seed, repeats=repeats, shift=shift), "b": simulated(seed + 1, repeats=repeats)}
    ab, ba = judged(correct, ("a", "b")), judged(correct, ("b", "a"))
    assert ba.verdict == MIRROR.get(ab.verdict, ab.verdict)
    assume(ab.verdict is not Verdict.REFUSED)
    assert ab.interval is not None
    assert ba.interval is not None
    assert ab.rope_probabilities is not None
    assert ba.rope_probabilities is not None
    assert (ba.mean_a, ba.mean_b, ba.p, ba.se, ba.df) == (ab.mean_b, ab.mean_a, ab.p, ab.se, ab.df)
    assert (ba.adjusted_p, ba.tost_p, ba.smallest_detectable) == (ab.adjusted_p, ab.tost_p, ab.smallest_detectable)
    assert (ba.interval.low, ba.interval.high) == pytest.approx((-ab.interval.high, -ab.interval.low))
    assert ba.rope_probabilities == pytest.approx(ab.rope_probabilities[::-1], abs=1e-12)
    for one, other in ((ab.estimate, ba.estimate), (ab.d_z, ba.d_z), (ab.g_z, ba.g_z), (ab.t, ba.t)):
        assert (one is None and other is None) or one == pytest.approx(-1 * (other or 0.0))
    assert ab.p_a_gt_b is not None
    assert ba.p_a_gt_b == pytest.approx(1 - ab.p_a_gt_b)
    assert ab.p_a_gt_b_interval is not None
    assert ba.p_a_gt_b_interval is not None
    assert ba.p_a_gt_b_interval.low == pytest.approx(1 - ab.p_a_gt_b_interval.high)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_order_of_the_blocks_means_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    correct = {"a": simulated(seed, shift=0.6), "b": simulated(seed + 1)}
    first = judged(correct, ("a", "b"))
    orders = {name: rng.permutation(6) for name in correct}
    shuffled = {name: rows[orders[name]] for name, rows in correct.items()}
    again = judged(shuffled, ("a", "b"), **{n: [f"block-{r}" for r in order] for n, order in orders.items()})
    assert again.sentence == first.sentence
    assert (again.t, again.p, again.df) == (first.t, first.p, first.df)
    assert again.d_z == pytest.approx(first.d_z)
    assert first.secondary is not None
    assert again.secondary is not None
    assert again.secondary.p == pytest.approx(first.secondary.p)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_calling_every_right_wrong_swaps_the_sides(seed: int) -> None:
    correct = {"a": simulated(seed, shift=0.6), "b": simulated(seed + 1)}
    wrong = judged({name: 1 - rows for name, rows in correct.items()}, ("b", "a"))
    first = judged(correct, ("a", "b"))
    assert (wrong.t, wrong.p, wrong.df, wrong.d_z) == pytest.approx((first.t, first.p, first.df, first.d_z))


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 30), st.booleans())
def test_images_that_all_get_alike_change_no_test_of_this_data_set(seed: int, num: int, right: bool) -> None:
    first, second = simulated(seed, shift=0.4, repeats=8), simulated(seed + 1, repeats=8)
    constant = np.full((8, num), int(right), dtype=np.uint8)
    longer = {"a": np.hstack([first, constant]), "b": np.hstack([second, constant])}
    before, after = (
        judge_results(
            [
                Results(
                    configs=("a", "b"),
                    blocks=dict.fromkeys("ab", tuple("01234567")),
                    correct={name: list(rows) for name, rows in correct.items()},
                )
            ],
            [("a", "b")],
            Declared(estimand="this-data"),
        )[0]
        for correct in ({"a": first, "b": second}, longer)
    )
    assume(before.verdict is not Verdict.REFUSED)
    share = first.shape[1] / longer["a"].shape[1]
    for name in ("p", "d_z", "g_z", "p_a_gt_b", "p_a_gt_b_interval", "num_blocks", "failures_p"):
        assert getattr(after, name) == pytest.approx(getattr(before, name)), name
    assert after.estimate == pytest.approx(share * (before.estimate or 0.0))
    assert after.se == pytest.approx(share * (before.se or 0.0))
    for other in (sign_flip_test, wilcoxon_test):
        diffs = [side["a"].mean(axis=1) - side["b"].mean(axis=1) for side in ({"a": first, "b": second}, longer)]
        assert other(diffs[0]).p == other(diffs[1]).p
    assert mcnemar_test(first[0], second[0]).p == mcnemar_test(longer["a"][0], longer["b"][0]).p


@quick
@given(seeds, st.integers(1, 30))
def test_images_that_all_get_alike_shrink_the_crossed_difference_alone(seed: int, num: int) -> None:
    diff = simulated(seed, shift=0.4).astype(np.int8) - simulated(seed + 1).astype(np.int8)
    longer = np.hstack([diff, np.zeros((len(diff), num), dtype=np.int8)])
    assume(crossed_test(diff).se > 0)
    before, after = mean_squares(diff), mean_squares(longer)
    share = diff.shape[1] / longer.shape[1]
    assert after.mean == pytest.approx(share * before.mean)
    # Sums over images only: the rows keep their spread, in the unit of the longer mean.
    assert after.repeats == pytest.approx(share * before.repeats)
    assert np.sign(crossed_test(longer).t) == np.sign(crossed_test(diff).t)
