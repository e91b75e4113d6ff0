"""Families of equal configurations: what is counted fast is what the analysis says, and it keeps to alpha."""

from __future__ import annotations

import numpy as np
import pytest

from bench import families
from bench.claims import Share
from bench.families import DIGITS_SPREAD, PAIRS, ROPE, SIZES, STRONG, Squares, judge_families, squares_of, with_tastes
from bench.nulls import load_null
from bench.simulated import simulate
from search.significance.tests.crossed import crossed_test, satterthwaite_test

LEVEL = (0.0,) * families.NUM_CONFIGS


def small(num_repeats: int, num_images: int, num_families: int, seed: int = 0) -> tuple[list[np.ndarray], Squares]:
    rng = np.random.default_rng(seed)
    drawn = [simulate(STRONG, num_repeats, rng, num_images, leads=LEVEL) for _ in range(num_families)]
    return drawn, squares_of(iter(drawn), PAIRS)


@pytest.mark.parametrize(("num_repeats", "num_images"), [(3, 400), (5, 60)])
def test_the_fast_counts_are_those_of_the_tests_themselves(num_repeats: int, num_images: int) -> None:
    drawn, squares = small(num_repeats, num_images, 2)
    p_values = {variant: squares.p_values(variant) for variant in families.VARIANTS}
    for place, (a, b) in enumerate(PAIRS[:10]):
        diff = drawn[0][a] - drawn[0][b]
        assert p_values["generalized"][place] == pytest.approx(crossed_test(diff).p, rel=1e-9)
        assert p_values["Satterthwaite"][place] == pytest.approx(satterthwaite_test(diff).p, rel=1e-9)


def test_the_judge_says_what_the_fast_counts_say() -> None:
    found = judge_families(STRONG, 300, 3, 0, 2)
    assert (found.num_unlike, found.claims.total) == (0, 2)


def test_families_with_three_repeats_keep_to_alpha_and_satterthwaites_do_not() -> None:
    _, squares = small(3, 300, 400)
    any_claim = {
        variant: squares.p_values(variant).reshape(-1, len(PAIRS)).min(axis=1) <= 0.05 / len(PAIRS)
        for variant in families.VARIANTS
    }
    decided, old = (Share(count=int(told.sum()), total=told.size) for told in any_claim.values())
    assert not decided.exceeds
    assert decided.count > 0  # a test that never rejects would pass too
    assert old.exceeds
    assert old.rate > 0.2


def test_at_the_ropes_edge_adjusted_equivalence_keeps_to_alpha_and_the_posterior_does_not() -> None:
    rng = np.random.default_rng(4)
    cell = families.count_cell(
        STRONG.name,
        5,
        lambda: (simulate(STRONG, 5, rng, 250, leads=LEVEL) for _ in range(4)),
        lambda: (simulate(STRONG, 5, rng, 250, leads=(0.0, *(STRONG.lead(-ROPE),) * 27)) for _ in range(300)),
    )
    assert not any(share.exceeds for share in cell.equivalent.values())
    assert cell.equivalent[1].count > 0
    assert cell.posterior[27].rate > 0.2
    assert (cell + cell).equivalent[27].total == 600


@pytest.mark.parametrize("world", [STRONG, DIGITS_SPREAD])
def test_a_lead_is_the_difference_that_is_planted(world: families.World) -> None:
    rng = np.random.default_rng(0)
    level, ahead = simulate(world, 60, rng, 20_000, leads=(0.0, world.lead(0.1))).mean(axis=(1, 2))
    assert level == pytest.approx(world.accuracy, abs=0.03)
    assert ahead - level == pytest.approx(0.1, abs=0.04)
    if world is DIGITS_SPREAD:
        luck = simulate(world, 200, rng, 4000).mean(axis=2)[0].std()
        assert luck == pytest.approx(load_null("digits").correct.mean(axis=1).std(), abs=0.004)


def test_stored_trainings_are_given_images_of_their_own() -> None:
    null = load_null("cifar10")
    correct_KRM = with_tastes(null, 8, 3, np.random.default_rng(0))
    assert correct_KRM.shape == (8, 3, families.NUM_PLACES)
    assert correct_KRM.mean() == pytest.approx(null.correct.mean(), abs=0.03)
    hard = correct_KRM.mean(axis=1)
    alike = np.corrcoef(hard)[np.triu_indices(8, 1)].mean()
    same = np.corrcoef(null.correct[:3].mean(axis=0), null.correct[3:6].mean(axis=0))[0, 1]
    # two of them meet on a place where neither has an image of its own
    assert alike == pytest.approx(same * (1 - families.OWN_IMAGES) ** 2, abs=0.08)


def test_sizes_are_what_their_names_say() -> None:
    assert {size: len(pairs) for size, pairs in SIZES.items()} == {1: 1, 3: 3, 7: 7, 28: 28}
