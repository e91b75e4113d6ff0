from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from search.study.config import StudyConfig
from search.sweep.schedulers import Asha, Hyperband, MedianStopping, NoScheduler, Plateau, Scheduler, make_scheduler

MAKERS: dict[str, Callable[[], Scheduler]] = {
    "asha": lambda: Asha(grace_epochs=1, reduction=3, max_epochs=27),
    "hyperband": lambda: Hyperband(grace_epochs=1, reduction=3, max_epochs=27),
    "median": lambda: MedianStopping(grace_epochs=1, max_epochs=27),
    "plateau": lambda: Plateau(grace_epochs=1, patience_epochs=3, max_epochs=27),
    "none": NoScheduler,
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Scheduler]:
    return MAKERS[request.param]


def play(scheduler: Scheduler, num_trials: int, max_epochs: int, seed: int) -> list[tuple[str, int, float, bool]]:
    """Trials of different quality, their epochs interleaved; what each was told."""
    rng = random.Random(seed)
    quality = {f"t{i}": rng.random() for i in range(num_trials)}
    running = dict.fromkeys(quality, 0)
    told = []
    while running:
        key = rng.choice(sorted(running)[:8])
        running[key] += 1
        value = quality[key] * (1 - 0.5 ** running[key]) + rng.gauss(0, 0.02)
        go_on = scheduler.observe(key, running[key], value)
        told.append((key, running[key], value, go_on))
        if not go_on or running[key] == max_epochs:
            del running[key]
    return told


def test_asha_rungs() -> None:
    assert list(Asha(grace_epochs=1, reduction=3, max_epochs=27).rungs) == [1, 3, 9]
    assert list(Asha(grace_epochs=2, reduction=2, max_epochs=9).rungs) == [2, 4, 8]
    assert list(Asha(grace_epochs=5, reduction=2, max_epochs=5).rungs) == []


def test_asha_by_hand() -> None:
    asha = Asha(grace_epochs=1, reduction=2, max_epochs=8)
    # (trial, value at the first rung): of n values the best max(1, n // 2) pass.
    by_hand = [("a", 0.5, True), ("b", 0.4, False), ("c", 0.6, True), ("d", 0.55, True), ("e", 0.5, False)]
    assert [asha.observe(key, 1, value) for key, value, _ in by_hand] == [passes for *_, passes in by_hand]
    # f is third of six: n // 2 = 3 pass.
    assert asha.observe("f", 1, 0.52)
    # The second rung counts for itself.
    assert asha.observe("a", 2, 0.1)
    assert not asha.observe("c", 2, 0.05)


def test_asha_lets_equal_values_pass() -> None:
    asha = Asha(grace_epochs=1, reduction=3, max_epochs=8)
    assert all(asha.observe(f"t{i}", 1, 0.1) for i in range(10))


def test_asha_decides_at_rungs_only_and_counts_a_trial_once() -> None:
    asha = Asha(grace_epochs=2, reduction=2, max_epochs=8)
    assert asha.observe("good", 2, 0.9)
    assert asha.observe("bad", 1, 0.0)
    assert not asha.observe("bad", 2, 0.1)
    assert asha.observe("bad", 3, 0.0)
    asha.observe("good", 2, 0.9)
    assert asha.rungs[2] == [0.1, 0.9]


def test_median_by_hand() -> None:
    median = MedianStopping(grace_epochs=1, max_epochs=4, min_trials=3)
    curves = {"a": (0.2, 0.4), "b": (0.4, 0.6), "c": (0.6, 0.8)}
    for key, values in curves.items():
        for epoch, value in enumerate(values, start=1):
            assert median.observe(key, epoch, value)
    # Running means at epoch 2 are 0.3, 0.5 and 0.7: the median is 0.5.
    assert median.observe("grace", 1, 0.0)
    assert not median.observe("grace", 2, 0.49)
    # `grace` joins with 0.245: the median of 0.245, 0.3, 0.5, 0.7 is 0.4. The best value counts, not the last.
    assert median.observe("peak", 1, 0.41)
    assert median.observe("peak", 2, 0.0)


def test_median_waits_for_enough_trials_that_came_as_far() -> None:
    median = MedianStopping(grace_epochs=1, max_epochs=9, min_trials=3)
    for key in "abc":
        median.observe(key, 1, 0.9)
    for key in "ab":
        median.observe(key, 2, 0.9)
    median.observe("d", 1, 0.0)
    assert median.observe("d", 2, 0.0)
    median.observe("c", 2, 0.9)
    median.observe("e", 1, 0.0)
    assert not median.observe("e", 2, 0.0)


def test_hyperband_brackets_and_shares() -> None:
    hyperband = Hyperband(grace_epochs=1, reduction=3, max_epochs=27)
    assert [list(bracket.rungs) for bracket in hyperband.brackets] == [[1, 3, 9], [3, 9], [9], []]
    # ceil((s_max + 1) / (s + 1) * eta^s) for s = 3, 2, 1, 0: the numbers of Li et al. 2018, algorithm 1.
    assert hyperband.shares == (27, 12, 6, 4)
    assert Hyperband(grace_epochs=9, reduction=3, max_epochs=9).shares == (1,)


def test_hyperband_compares_trials_within_their_bracket() -> None:
    hyperband = Hyperband(grace_epochs=1, reduction=3, max_epochs=9)
    stopped = []
    # Of 17 trials, each worse than the one before, 9 are compared at epoch 1, 5 at epoch 3 and 3 at none.
    for index in range(17):
        for epoch in range(1, 10):
            if not hyperband.observe(f"t{index}", epoch, 1 - index / 17):
                stopped.append((index, epoch))
                break
    assert len({index for index, _ in stopped}) == len(stopped)
    at = [epoch for _, epoch in stopped]
    assert (at.count(1), at.count(3)) == (8, 4)  # the first of each bracket passes
    assert len(at) == 12


def test_hyperband_fills_its_brackets_evenly_at_any_time() -> None:
    hyperband = Hyperband(grace_epochs=1, reduction=3, max_epochs=27)
    for index in range(98):
        hyperband.observe(f"t{index}", 1, None)
        counts = [list(hyperband._bracket_of.values()).count(place) for place in range(4)]
        assert all(abs(num - (index + 1) * share / 49) < 1 for num, share in zip(counts, (27, 12, 6, 4), strict=True))
    assert counts == [54, 24, 12, 8]


def test_plateau_by_hand() -> None:
    plateau = Plateau(grace_epochs=4, patience_epochs=2, max_epochs=9)
    # The best value at epoch 1; grace lasts to epoch 4.
    assert [plateau.observe("a", epoch, value) for epoch, value in enumerate((0.5, 0.4, 0.5, 0.5, 0.5), start=1)] == [
        True,
        True,
        True,
        True,
        False,
    ]
    # A new best value at epoch 4 gives two epochs more, and one at epoch 6 again.
    told = [
        plateau.observe("b", epoch, value) for epoch, value in enumerate((0.5, 0.4, 0.4, 0.6, 0.1, 0.7, 0.7), start=1)
    ]
    assert all(told)
    assert not plateau.observe("b", 8, 0.7)
    # Only validated epochs decide.
    assert plateau.observe("c", 1, 0.5)
    assert all(plateau.observe("c", epoch, None) for epoch in range(2, 8))
    assert not plateau.observe("c", 8, 0.5)


def test_decisions_are_the_same_when_told_again(make: Callable[[], Scheduler]) -> None:
    told = play(make(), num_trials=60, max_epochs=27, seed=1)
    again = make()
    assert [again.observe(key, epoch, value) for key, epoch, value, _ in told] == [go_on for *_, go_on in told]


def test_rebuilt_scheduler_goes_on_as_the_old_one(make: Callable[[], Scheduler]) -> None:
    told = play(make(), num_trials=60, max_epochs=27, seed=2)
    for cut in (1, len(told) // 3, len(told) - 1):
        rebuilt = make()
        for key, epoch, value, _ in told[:cut]:
            rebuilt.observe(key, epoch, value)
        assert [rebuilt.observe(key, epoch, value) for key, epoch, value, _ in told[cut:]] == [
            go_on for *_, go_on in told[cut:]
        ]


def test_last_epoch_is_never_stopped(make: Callable[[], Scheduler]) -> None:
    scheduler = make()
    for index in range(30):
        for epoch in range(1, 28):
            scheduler.observe(f"good{index}", epoch, 0.9)
    assert scheduler.observe("bad", 27, 0.0)


def test_epochs_without_validation_decide_nothing(make: Callable[[], Scheduler]) -> None:
    scheduler = make()
    for index in range(10):
        for epoch in range(1, 27):
            scheduler.observe(f"good{index}", epoch, 0.9)
    assert all(scheduler.observe("blind", epoch, None) for epoch in range(1, 28))


def test_asha_takes_the_first_validated_epoch_at_or_after_the_rung() -> None:
    asha = Asha(grace_epochs=1, reduction=3, max_epochs=27)  # rungs 1, 3, 9
    for key, value in (("good", 0.9), ("bad", 0.1)):
        told = [asha.observe(key, epoch, value if epoch % 5 == 0 else None) for epoch in range(1, 13)]
        # Epoch 5 is past the rungs 1 and 3, epoch 10 past 9.
        assert [epoch for epoch, go_on in enumerate(told, start=1) if not go_on] == ([] if key == "good" else [5, 10])
    assert asha.rungs == {1: [], 3: [0.1, 0.9], 9: [0.1, 0.9]}


def test_asha_has_no_rung_at_the_last_epoch_even_if_it_is_the_first_validated_one() -> None:
    asha = Asha(grace_epochs=9, reduction=3, max_epochs=10)
    assert asha.observe("good", 10, 0.9)
    assert asha.observe("bad", 10, 0.1)


def test_median_averages_over_the_validated_epochs() -> None:
    median = MedianStopping(grace_epochs=1, max_epochs=9, min_trials=3)
    for key, value in (("a", 0.4), ("b", 0.5), ("c", 0.6)):
        for epoch in range(1, 5):
            median.observe(key, epoch, value if epoch % 2 == 0 else None)
    # The running means at epoch 4 are the values themselves: their median is 0.5.
    assert median.observe("d", 4, 0.5)
    assert not median.observe("e", 4, 0.49)


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_losers_are_stopped_and_the_best_survives(name: str) -> None:
    told = play(MAKERS[name](), num_trials=60, max_epochs=27, seed=3)
    stopped = {key for key, *_, go_on in told if not go_on}
    ended = {key: value for key, epoch, value, _ in told if epoch == 27}
    assert len(stopped) >= 20
    assert len(ended) >= 1
    assert stopped.isdisjoint(ended)
    rng = random.Random(3)
    quality = {f"t{i}": rng.random() for i in range(60)}
    assert max(quality[key] for key in ended) > 0.9


@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "plateau"])
def test_ten_thousand_observations_in_a_second(name: str) -> None:
    scheduler = MAKERS[name]()
    rng = random.Random(0)
    start = time.process_time()
    for index in range(400):
        for epoch in range(1, 26):
            scheduler.observe(f"t{index}", epoch, rng.random())
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("asha", Asha),
        ("hyperband", Hyperband),
        ("median", MedianStopping),
        ("plateau", Plateau),
        ("none", NoScheduler),
    ],
)
def test_the_study_chooses(make_study: Callable[..., StudyConfig], word: str, kind: type) -> None:
    assert isinstance(make_scheduler(make_study(f"search.scheduler={word}").search, 9), kind)
