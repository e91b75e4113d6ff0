from __future__ import annotations

import random
import time

from search.sweep.promotion import PromotionAsha


def make(reduction: int = 3, max_epochs: int = 27) -> PromotionAsha:
    return PromotionAsha(grace_epochs=1, reduction=reduction, max_epochs=max_epochs)


def naive_promotion(
    reached: dict[int, list[tuple[float, str]]], gone: dict[int, set[str]], reduction: int
) -> tuple[int, str] | None:
    """Algorithm 2 of Li et al. as it is printed: from the highest rung down, the best of the top 1/reduction."""
    for rung in sorted(reached, reverse=True):
        best_first = sorted(reached[rung], key=lambda item: -item[0])  # stable: of equal values, the earlier one
        top = best_first[: len(best_first) // reduction]
        for _, key in top:
            if key not in gone[rung]:
                return rung, key
    return None


def test_promotions_are_those_of_the_printed_algorithm() -> None:
    for seed in range(20):
        rng, reduction = random.Random(seed), 2 + seed % 3
        scheduler = make(reduction)
        reached: dict[int, list[tuple[float, str]]] = {rung: [] for rung in scheduler.rungs}
        gone: dict[int, set[str]] = {rung: set() for rung in scheduler.rungs}
        num_begun, running = 0, dict[str, int]()
        for _ in range(400):
            if len(running) < 4:
                expected = naive_promotion(reached, gone, reduction)
                key = scheduler.next_promotion()
                assert key == (None if expected is None else expected[1])
                if expected is not None:
                    gone[expected[0]].add(expected[1])
                    running[expected[1]] = expected[0]
                else:
                    running[f"t{num_begun}"] = 0
                    num_begun += 1
            key = rng.choice(sorted(running))
            running[key] += 1
            epoch, value = running[key], round(rng.random(), 1)  # with equal values
            go_on = scheduler.observe(key, epoch, value)
            assert go_on == (epoch not in scheduler.rungs)
            if epoch in reached:
                reached[epoch].append((value, key))
            if not go_on or epoch == 27:
                del running[key]
        assert any(gone[rung] for rung in list(gone)[1:]), "trials are promoted twice"


def test_a_trial_pauses_at_each_rung_and_nowhere_else() -> None:
    scheduler = make()
    assert list(scheduler.rungs) == [1, 3, 9]
    told = []
    for epoch in range(1, 28):
        told.append(scheduler.observe("a", epoch, 0.5))
        assert scheduler.is_waiting("a") is not told[-1]
        assert scheduler.observe("a", epoch, 0.5) is told[-1], "observed again"
        scheduler.leave("a")
    assert [epoch for epoch, go_on in enumerate(told, start=1) if not go_on] == [1, 3, 9]
    assert [scheduler.pause_after(epoch) for epoch in (0, 1, 2, 3, 8, 9, 26)] == [1, 3, 3, 9, 9, None, None]
    assert scheduler.observe("a", 9, 0.5), "it has left the rung"


def test_rungs_lie_in_validated_epochs() -> None:
    def rungs(max_epochs: int, validate_every: int) -> list[int]:
        return list(
            PromotionAsha(grace_epochs=1, reduction=3, max_epochs=max_epochs, validate_every=validate_every).rungs
        )

    assert rungs(27, 2) == [2, 4, 10]
    assert rungs(27, 5) == [5, 10]
    assert rungs(10, 5) == [5]
    assert rungs(5, 5) == []


def test_the_highest_rung_comes_first() -> None:
    scheduler = make(reduction=2, max_epochs=4)
    for index in range(4):
        scheduler.observe(f"t{index}", 1, index / 10)
    assert [scheduler.next_promotion(), scheduler.next_promotion(), scheduler.next_promotion()] == ["t3", "t2", None]
    scheduler.observe("t2", 2, 0.1)
    for index in range(4, 6):
        scheduler.observe(f"t{index}", 1, index / 10)
    scheduler.observe("t3", 2, 0.2)
    assert [scheduler.next_promotion(), scheduler.next_promotion()] == ["t3", "t5"]


def test_a_trial_that_left_is_not_promoted_and_its_value_still_counts() -> None:
    scheduler = make(reduction=2, max_epochs=4)
    for key, value in (("a", 0.9), ("b", 0.8)):
        scheduler.observe(key, 1, value)
    scheduler.leave("a")
    scheduler.leave("a")
    scheduler.leave("unknown")
    assert scheduler.next_promotion() is None, "b is second of two"
    for key in "cd":
        scheduler.observe(key, 1, 0.1)
    assert scheduler.next_promotion() == "b"


def test_at_the_end_one_trial_is_completed() -> None:
    scheduler = make()
    scheduler.observe("a", 1, 0.4)
    scheduler.observe("b", 1, 0.5)
    assert scheduler.next_promotion() is None
    assert scheduler.next_promotion(is_last=True) == "b"
    scheduler.observe("b", 3, 0.1)
    assert scheduler.next_promotion(is_last=True) == "b", "the highest rung, not the best value"
    scheduler.leave("b")  # it failed
    assert scheduler.next_promotion(is_last=True) == "a"
    scheduler.observe("a", 3, 0.1)
    assert scheduler.next_promotion(is_last=True) == "a"
    scheduler.observe("a", 27, 0.1)
    scheduler.observe("c", 1, 0.1)
    assert scheduler.next_promotion(is_last=True) is None


def test_a_value_that_is_missing_at_a_rung_is_the_worst() -> None:
    scheduler = make(reduction=2)
    assert not scheduler.observe("blind", 1, None)
    assert not scheduler.observe("seen", 1, 0.0)
    assert scheduler.next_promotion() == "seen"


def test_ten_thousand_trials_in_a_second() -> None:
    scheduler, rng = make(), random.Random(0)
    start = time.process_time()
    for index in range(10_000):
        scheduler.observe(f"t{index}", 1, rng.random())
        while (key := scheduler.next_promotion()) is not None:
            scheduler.observe(key, 3, rng.random())
    assert time.process_time() - start < 1.0
