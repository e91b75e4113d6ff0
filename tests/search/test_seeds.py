from __future__ import annotations

import dataclasses

import pytest

from search.seeds import Block, derive, make_block

SEEDS = ("split_seed", "init_seed", "order_seed")


def seeds_of(block: Block) -> tuple[int, ...]:
    return tuple(getattr(block, name) for name in SEEDS)


def test_same_arguments_give_the_same_block() -> None:
    assert make_block(3, "sweep", 1) == make_block(3, "sweep", 1)


@pytest.mark.parametrize("other", [(4, "sweep", 1), (3, "compare", 1), (3, "sweep", 2)])
def test_each_argument_changes_all_three_seeds(other: tuple[int, str, int]) -> None:
    for one, two in zip(seeds_of(make_block(3, "sweep", 1)), seeds_of(make_block(*other)), strict=True):
        assert one != two


def test_blocks_never_share_a_seed() -> None:
    blocks = [make_block(seed, purpose, i) for seed in range(20) for purpose in ("sweep", "compare") for i in range(50)]
    drawn = [seed for block in blocks for seed in seeds_of(block)]
    assert len(set(drawn)) == len(drawn) == 3 * 20 * 2 * 50


def test_seeds_stay_the_same_between_versions() -> None:
    # A changed derivation would make every old study impossible to resume.
    assert make_block(0, "sweep", 0) == Block(
        purpose="sweep",
        index=0,
        split_seed=derive(0, "sweep", 0, "split"),
        init_seed=derive(0, "sweep", 0, "init"),
        order_seed=derive(0, "sweep", 0, "order"),
    )
    assert derive(0, "sweep", 0, "split") == 7_082_274_211_668_697_165


def test_seeds_fit_numpy_and_torch() -> None:
    assert all(0 <= derive("part", index) < 2**63 for index in range(2000))


def test_block_has_a_name_and_is_frozen() -> None:
    block = make_block(3, "compare", 7)
    assert block.name == "compare-7"
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.index = 8  # type: ignore[misc]
