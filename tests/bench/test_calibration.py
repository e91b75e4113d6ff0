"""The calibration's own machinery: what it counts, what it draws and what it plants."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bench import calibration, designs, simulated
from bench.calibration_page import Nulls, claims_table, observed_detectable
from bench.claims import Arms, Row, Share, count_claims, draw_arms
from bench.nulls import FOLDER, RECIPES, NullStudy, load_null, save_null
from bench.offered import ELSEWHERE, JUDGED, e_process, family_rows, judged, single_rows
from bench.planted import Found, measure_power, plant, turning_chances
from search.significance.methods import METHODS


def null_of(num_repeats: int = 40, num_images: int = 50, seed: int = 0) -> NullStudy:
    """Repeats that can be told apart: validation accuracy i / 1000 belongs to the repeat that got i images right."""
    rng = np.random.default_rng(seed)
    counts = np.arange(num_repeats) % num_images
    correct = np.stack([rng.permutation(np.arange(num_images) < count) for count in counts]).astype(np.uint8)
    return NullStudy(
        name="made up",
        correct=correct,
        val_accuracy=np.arange(num_repeats) / 1000,
        ratio=3 / 7,
        meta={"num_val": 300, "num_train": 700, "num_test": num_images},
    )


def row(title: str, claims: object, **settings: object) -> Row:
    return Row(title=title, offered_for="", claims=claims, **settings)  # type: ignore[arg-type]


def test_share_knows_its_interval_and_when_it_is_too_much() -> None:
    none = Share(count=0, total=10)
    assert none.interval == pytest.approx((0, 1 - 0.025 ** (1 / 10)))  # by hand: no claim in ten has chance (1 - p)^10
    assert str(none) == ".000 (.000 to .308)"
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)  # .0638
    assert not Share(count=math.floor(1000 * limit), total=1000).exceeds
    assert Share(count=math.ceil(1000 * limit), total=1000).exceeds
    assert str(Share(count=100, total=1000)).endswith(" !")


def test_fake_configurations_share_no_repeat_and_keep_bits_beside_scores() -> None:
    null = null_of(40)
    arms = draw_arms(null, 4, 10, np.random.default_rng(1))
    assert sorted(np.rint(1000 * arms.val_scores).astype(int).ravel()) == list(range(40))
    np.testing.assert_array_equal(arms.correct.sum(axis=2), np.rint(1000 * arms.val_scores))
    pair = arms.on_test(2, 1)
    np.testing.assert_allclose(pair.per_block, arms.scores[2] - arms.scores[1])
    np.testing.assert_allclose(arms.on_validation(0, 3).per_block, arms.val_scores[0] - arms.val_scores[3])


def test_claims_are_counted_once_per_split_on_the_same_splits() -> None:
    null = null_of(40)
    seen: list[Arms] = []

    def ahead(arms: Arms) -> bool:
        seen.append(arms)
        return bool(arms.val_scores[0].mean() > arms.val_scores[1].mean())

    found = count_claims(
        null,
        [
            row("always", lambda _: True),
            row("never", lambda _: False),
            row("ahead", ahead),
            row("behind", lambda arms: bool(arms.val_scores[0].mean() < arms.val_scores[1].mean())),
            row("slow", lambda _: True, every=4),
            row("too few blocks", lambda _: True, fewest=6),
            row("too few repeats", lambda _: True, num_arms=9),
        ],
        5,
        30,
    )
    assert {
        title: (share.count, share.total) for title, share in found.items() if title not in {"ahead", "behind"}
    } == {
        "always": (30, 30),
        "never": (0, 30),
        "slow": (8, 8),
    }
    by_hand = sum(arms.val_scores[0].mean() > arms.val_scores[1].mean() for arms in seen)
    ties = sum(arms.val_scores[0].mean() == arms.val_scores[1].mean() for arms in seen)
    assert len(seen) == 30
    assert found["ahead"].count == by_hand
    assert found["behind"].count == 30 - by_hand - ties
    assert 3 < by_hand < 27  # splits differ


def test_every_method_of_the_analysis_has_its_row() -> None:
    titles = " ".join(item.title for item in single_rows())
    for name, method in METHODS.items():
        assert name in ELSEWHERE or method.title in titles
    offered = {item.title for item in single_rows() if item.offered_for}
    assert METHODS["pooled-images"].title not in offered
    assert not any("McNemar" in title for title in offered)


def test_a_difference_that_is_there_is_claimed_and_one_that_is_not_is_not() -> None:
    rng = np.random.default_rng(3)
    same = np.stack([rng.random((8, 400)) < 0.6, rng.random((8, 400)) < 0.6, rng.random((8, 400)) < 0.6])
    apart = same.copy()
    apart[0] |= rng.random((8, 400)) < 0.5
    for correct, wanted in ((same, False), (apart, True)):
        arms = Arms(correct=correct.astype(np.uint8), val_scores=correct.mean(axis=2), ratio=3 / 7)
        rows = {item.title: item for item in (*single_rows(), *family_rows(24, 8))}
        told = {
            title: item.claims(arms)
            for title, item in rows.items()
            if item.fewest <= 8 and item.num_arms <= 3 and item.offered_for
        }
        assert {title for title, claim in told.items() if claim is not wanted} == set()
        assert len(told) > 10
        assert (str(judged(arms).verdict) == "better") is wanted
        assert e_process(arms) is wanted


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.2])
def test_planted_drop_is_exact_and_falls_on_hard_images(drop: float) -> None:
    accuracy_M = np.linspace(0, 1, 101)
    chances_M = turning_chances(accuracy_M, drop)
    assert float((accuracy_M * chances_M).mean()) == pytest.approx(drop, abs=1e-9)
    assert (np.diff(chances_M) <= 1e-12).all()
    assert ((chances_M >= 0) & (chances_M <= 1)).all()


def test_planting_turns_right_answers_of_one_arm_wrong_and_nothing_else() -> None:
    null = null_of(40, 200)
    arms = draw_arms(null, 2, 20, np.random.default_rng(0))
    arms = dataclasses.replace(arms, val_scores=np.full((2, 20), 0.5))
    worse = plant(arms, np.full(200, 0.3), 300, 0.1, np.random.default_rng(1))
    np.testing.assert_array_equal(worse.correct[0], arms.correct[0])
    assert (worse.correct[1] <= arms.correct[1]).all()
    assert worse.correct[1].sum() == pytest.approx(0.7 * arms.correct[1].sum(), rel=0.1)
    np.testing.assert_array_equal(worse.val_scores[0], arms.val_scores[0])
    assert worse.val_scores[1].mean() == pytest.approx(0.4, abs=0.02)
    assert arms.val_scores[1].mean() == 0.5  # the draw itself is left alone


def test_power_counts_the_right_direction() -> None:
    null = dataclasses.replace(null_of(40, 200), correct=np.ones((40, 200), np.uint8), val_accuracy=np.full(40, 0.9))
    found = measure_power(null, 0.3, 8, 5)
    assert found["crossed"].power.rate == found["paired-t"].power.rate == 1
    assert all(item.wrong == 0 and item.total == 5 for item in found.values())


def test_detectable_difference_is_read_off_between_planted_ones() -> None:
    power = {
        (10, 0.01): {"crossed": Found(right=20, total=100)},
        (10, 0.02): {"crossed": Found(right=60, total=100)},
        (10, 0.04): {"crossed": Found(right=100, total=100)},
        (5, 0.04): {"crossed": Found(right=50, total=100)},
    }
    nulls = Nulls(singles={}, families={}, verdicts={}, power=power)
    assert observed_detectable(nulls, "crossed", 10) == pytest.approx(0.03)  # halfway from .6 to 1
    assert observed_detectable(nulls, "crossed", 5) is None


def test_refused_cells_of_the_table_stay_empty() -> None:
    rows = [row("known", lambda _: True), row("nowhere", lambda _: True)]
    text = claims_table(rows, {3: {}, 5: {"known": Share(count=1, total=4)}})
    assert "| known | *contrast only* | · | .250" in text
    assert "nowhere" not in text


def test_simulated_learners_are_equal_over_images_and_unequal_on_these() -> None:
    rng = np.random.default_rng(0)
    tastes = simulated.World(name="tastes", luck=0.0, taste=1.0)
    gaps = [np.diff(simulated.simulate(tastes, 40, rng).mean(axis=(1, 2)))[0] for _ in range(200)]
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / math.sqrt(200)
    noise_alone = math.sqrt(2 * 0.25 / (40 * simulated.NUM_IMAGES))
    assert np.std(gaps) > 2 * noise_alone


def test_five_by_two_and_data_sets_count_every_study() -> None:
    for found in (designs.five_by_two(2), designs.over_data_sets(6, 4, 3)):
        assert all(share.total in {2, 3} and share.count <= share.total for share in found.values())


@pytest.mark.parametrize("name", calibration.STUDIES)
def test_stored_null_studies_can_be_read(name: str) -> None:
    null = load_null(name)
    num_repeats, num_images = null.correct.shape
    assert num_repeats >= 60  # 30 against 30
    assert num_images == null.meta["num_test"] >= 500
    assert set(np.unique(null.correct)) == {0, 1}
    assert null.val_accuracy.shape == (num_repeats,)
    assert len(null.meta["secs"]) == num_repeats
    assert null.ratio == pytest.approx(3 / 7, rel=0.01)
    assert abs(null.correct.mean() - null.val_accuracy.mean()) < 0.02
    assert len({bits.tobytes() for bits in null.correct}) == num_repeats  # every seed reached the training
    assert null.meta["recipe"]["train"] == RECIPES[name].train
    assert {"torch", "hybrid-search"} <= set(null.meta["versions"])


def test_stored_null_studies_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2**20


def test_null_study_survives_being_stored(tmp_path: object) -> None:
    null = null_of(6, 13)  # 13 images leave padding in the last byte
    rows = list(np.packbits(null.correct, axis=1))
    save_null(tmp_path / "made up.npz", rows, null.val_accuracy.tolist(), null.meta)  # type: ignore[operator]
    back = load_null("made up", tmp_path)  # type: ignore[arg-type]
    np.testing.assert_array_equal(back.correct, null.correct)
    np.testing.assert_array_equal(back.val_accuracy, null.val_accuracy)


@pytest.mark.slow
def test_whole_page_from_a_handful_of_splits(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: dict[str, str] = {}
    monkeypatch.setattr(calibration, "write_page", pages.__setitem__)
    monkeypatch.setattr(calibration, "PICTURES", tmp_path)
    monkeypatch.setattr(calibration, "BLOCKS", (3, 5))
    monkeypatch.setattr(calibration, "POWER_BLOCKS", (5,))
    calibration.main(num_splits=4, num_power_splits=2, num_sims=20, num_judged=2, folder=tmp_path / "counted")  # type: ignore[operator]
    text = pages["calibration.md"]
    assert JUDGED in text
    assert text.count("one configuration against itself") == len(calibration.STUDIES)
    assert (tmp_path / "calibration.png").stat().st_size > 10_000  # type: ignore[operator]
