"""How many repeats a study's comparison takes, from its newest comparison or from what is stated."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.compare.power import DISCORDANCE, LASTING, SD_REPEATS, Assumptions, PowerEstimate, estimate_power, to_lines
from search.errors import InputError
from search.significance.planning.design import (
    Crossed,
    Paired,
    blocks_needed,
    detectable,
    images_needed,
    upper_components,
)
from search.significance.records import Components
from search.study.config import StudyConfig

MakeStudy = Callable[..., StudyConfig]
IMAGES = 10_000
QUIET = {"repeats": 4e-5, "images": 0.004, "residual": 0.06}
LOUD = {"repeats": 9e-5, "images": 0.004, "residual": 0.06}
ASSUMED = Components(repeats=SD_REPEATS**2, images=LASTING * DISCORDANCE, residual=(1 - LASTING) * DISCORDANCE)


@pytest.fixture
def with_pilot(make_study: MakeStudy) -> Callable[..., StudyConfig]:
    """Make the study and lay down what its newest comparison found."""

    def make(*parts: dict[str, float] | None, overrides: tuple[str, ...] = ()) -> StudyConfig:
        study = make_study("compare.baselines=[ecrnn/cnn]", *overrides)
        numbers = dict.fromkeys(("estimate", "interval", "adjusted_p", "p_a_gt_b"))
        verdict = {"verdict": "inconclusive", "sentence": "", "estimand": "", "provisional": False}
        sizes = {"adjust_method": "holm", "family_size": len(parts), "num_blocks": 6, "num_images": 500}
        sizes |= {"alpha": 0.05, "rope": 0.005}
        items = [
            {"a": f"a{place}", "b": "cnn", "components": part, **verdict, **numbers, **sizes}
            for place, part in enumerate(parts)
        ]
        folder = study.folder / "comparison"
        folder.mkdir(parents=True)
        (folder / "comparison.json").write_text(
            json.dumps({"key": "k", "data": {"digest": "d"}, "contenders": [], "comparisons": items}), encoding="utf-8"
        )
        return study

    return make


def text_of(foresight: PowerEstimate, **changes: Any) -> str:
    return "\n".join(to_lines(dataclasses.replace(foresight, **changes)))


def test_without_a_pilot_it_says_what_is_assumed(make_study: MakeStudy) -> None:
    study = make_study("compare.baselines=[ecrnn/cnn]", "compare.repeats=12")
    found = estimate_power(study, IMAGES, Assumptions(difference=0.02))
    design = Crossed(components=ASSUMED, num_images=IMAGES)
    assert found.components == ASSUMED
    assert found.num_blocks == blocks_needed(design, 0.02).number
    assert found.detectable == detectable(design, 12)
    assert found.smallest_ever == detectable(design, math.inf)
    assert found.images_ever == images_needed(design, 0.02, math.inf).number
    assert (found.has_pilot, found.num_blocks_upper, found.is_rope) == (False, None, False)
    text = text_of(found)
    assert text.startswith(
        f"{found.num_blocks} repeats would detect a difference of 2 pp\n12 repeats as declared would detect "
    )
    assert f"with unlimited repeats {100 * found.smallest_ever:.2g} pp on these 10,000 test images" in text
    assert "80 % power; crossed repeats x images at level 0.05, the strictest step of 1 comparison" in text
    assert "assumed: 1 pp SD of the differences between repeats (--sd-repeats)" in text
    assert "assumed: the two configurations disagree on 40 % of the test images (--discordance)" in text
    assert "cautious guesses" in text


def test_the_rope_is_asked_for_unless_a_difference_is(make_study: MakeStudy) -> None:
    found = estimate_power(make_study("compare.rope=0.03"), IMAGES, Assumptions())
    assert (found.difference, found.is_rope) == (0.03, True)
    assert "would detect a difference of 3 pp (the rope)" in text_of(found)
    nothing = estimate_power(make_study("compare.rope=0"), IMAGES, Assumptions())
    assert (nothing.difference, nothing.num_blocks, nothing.images_ever, nothing.is_rope) == (None, None, None, False)
    assert text_of(nothing).startswith("10 repeats as declared would detect")


def test_below_the_floor_it_asks_for_images(make_study: MakeStudy) -> None:
    found = estimate_power(make_study("compare.repeats=400"), IMAGES, Assumptions(difference=0.005))
    assert found.num_blocks is None
    assert found.smallest_ever > 0.005
    assert found.images_ever is not None
    assert found.images_for_repeats is not None
    first, second = to_lines(found)[:2]
    assert first == "no number of repeats would detect a difference of 0.5 pp on these 10,000 test images"
    assert second == (
        "it takes about 32,000 test images, with any number of repeats; "
        "400 repeats as declared would detect it on about 35,000 test images"
    )
    assert 31_000 < found.images_ever <= 32_000
    # .005 = 2.80 SE, and SE^2 = .1 / M + (.0001 + .3 / M) / 400
    assert found.images_for_repeats == pytest.approx(34_330, rel=2e-3)
    few = estimate_power(make_study("compare.repeats=3"), IMAGES, Assumptions(difference=0.005))
    assert few.images_for_repeats is None
    assert to_lines(few)[1] == "it takes about 32,000 test images, with any number of repeats"


def test_what_is_stated_goes_before_what_is_assumed(make_study: MakeStudy) -> None:
    study = make_study()
    disagreed = estimate_power(study, IMAGES, Assumptions(discordance=0.1)).components
    assert disagreed == Components(
        repeats=SD_REPEATS**2, images=0.1 * LASTING, residual=pytest.approx(0.1 * (1 - LASTING))
    )
    varied = estimate_power(study, IMAGES, Assumptions(sd_repeats=0.02)).components
    assert varied.images == ASSUMED.images
    assert varied.repeats + varied.residual / IMAGES == pytest.approx(0.02**2)
    both = estimate_power(study, IMAGES, Assumptions(sd_repeats=0.001, discordance=0.4))
    # So little between blocks leaves no room for the images' noise: 0.3 / 10,000 would be a variance of .0055^2.
    assert both.components == Components(repeats=0.0, images=pytest.approx(0.1), residual=pytest.approx(0.01))
    assert both.sources[-2:] == (
        "stated: the two configurations disagree on 40 % of the test images",
        "stated: 0.1 pp SD of the differences between repeats",
    )
    assert not any("(--" in line for line in both.sources)


def test_the_newest_comparison_is_the_pilot(with_pilot: Callable[..., StudyConfig]) -> None:
    study = with_pilot(QUIET, None, LOUD)
    found = estimate_power(study, IMAGES, Assumptions(difference=0.01))
    design = Crossed(components=Components(**LOUD), num_images=IMAGES)
    assert found.components == Components(**LOUD)
    assert found.num_blocks == blocks_needed(design, 0.01).number
    worst = upper_components(Components(**LOUD), num_blocks=6, num_images=500)
    assert found.num_blocks_upper == blocks_needed(Crossed(components=worst, num_images=IMAGES), 0.01).number
    assert found.num_blocks is not None
    assert found.num_blocks_upper is not None
    assert found.num_blocks_upper > 1.5 * found.num_blocks
    assert found.sources == (
        "pilot: a2 minus cnn, 6 repeats on 500 test images, the most variable pair of the newest `compare`",
    )
    assert to_lines(found)[1] == f"{found.num_blocks_upper} if the pilot's variances are at their upper 80 % limits"
    assert "no number if the pilot's" in text_of(found, num_blocks_upper=None)


def test_what_is_stated_goes_before_the_pilot(with_pilot: Callable[..., StudyConfig]) -> None:
    study = with_pilot(LOUD)
    found = estimate_power(study, IMAGES, Assumptions(difference=0.01, discordance=0.128))
    assert found.components == Components(repeats=9e-5, images=pytest.approx(0.008), residual=pytest.approx(0.12))
    sure = estimate_power(study, IMAGES, Assumptions(difference=0.01, discordance=0.1, sd_repeats=0.02))
    assert sure.components.repeats + sure.components.residual / IMAGES == pytest.approx(4e-4)
    assert len(sure.sources) == 3


def test_a_comparison_without_variances_is_no_pilot(with_pilot: Callable[..., StudyConfig]) -> None:
    found = estimate_power(with_pilot(None), IMAGES, Assumptions())
    assert not found.has_pilot
    assert found.components == ASSUMED


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "[]",
        lambda _: "[" * 100_000,
        lambda text: text.replace('"residual"', '"rows"'),
        lambda text: text.replace('"num_images": 500', '"num_images": null'),
        lambda text: text.replace('"estimand"', '"about"'),
    ],
)
def test_a_damaged_comparison_is_named(with_pilot: Callable[..., StudyConfig], change: Callable[[str], str]) -> None:
    study = with_pilot(QUIET)
    path: Path = study.folder / "comparison" / "comparison.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError, match=r"comparison\.json: damaged .*`hybrid-search compare` writes it again"):
        estimate_power(study, IMAGES, Assumptions())


def test_a_claim_on_this_data_set_needs_no_images(with_pilot: Callable[..., StudyConfig]) -> None:
    study = with_pilot(LOUD, overrides=("compare.estimand=this-data",))
    found = estimate_power(study, 500, Assumptions(difference=0.01))
    design = Paired(sd=math.sqrt(LOUD["repeats"] + LOUD["residual"] / 500))
    assert found.test == "plain paired t"
    assert found.num_blocks == blocks_needed(design, 0.01).number
    assert (found.smallest_ever, found.images_ever, found.images_for_repeats) == (0.0, None, None)
    assert "test images;" not in text_of(found)
    assert "with unlimited repeats" not in text_of(found)
    assert (
        estimate_power(study, IMAGES, Assumptions(difference=0.1)).num_blocks == 5
    )  # fewer would find it, and lead to no verdict


def test_the_largest_family_sets_the_level(make_study: MakeStudy) -> None:
    baselines = "compare.baselines=[ecrnn/cnn, johnson/tsn, yilmaz/cnn]"
    against = estimate_power(make_study(baselines, "compare.finalists=2"), IMAGES, Assumptions(difference=0.015))
    assert (against.family_size, against.alpha) == (6, pytest.approx(0.05 / 6))
    pairs = estimate_power(
        make_study(baselines, "compare.finalists=2", "compare.family=all-pairs"), IMAGES, Assumptions(difference=0.015)
    )
    assert pairs.family_size == 10
    assert pairs.num_blocks is not None
    assert against.num_blocks is not None
    assert pairs.num_blocks > against.num_blocks
    named = make_study(
        baselines,
        "compare.family={paper: [[ecrnn/cnn, johnson/tsn]], "
        "ours: [[finalist-1, ecrnn/cnn], [finalist-1, johnson/tsn]]}",
    )
    assert estimate_power(named, IMAGES, Assumptions()).family_size == 2
    assert "level 0.025, the strictest step of 2 comparisons" in text_of(estimate_power(named, IMAGES, Assumptions()))
    assert (
        estimate_power(make_study(), IMAGES, Assumptions()).family_size == 1
    )  # one finalist, and nothing to compare it with


def test_a_single_repeat_finds_nothing(make_study: MakeStudy) -> None:
    found = estimate_power(make_study("compare.repeats=1"), IMAGES, Assumptions(difference=0.1))
    assert found.detectable is None
    assert found.images_for_repeats is None
    assert text_of(found).startswith(
        "3 repeats would detect a difference of 10 pp, provisionally, as with any number below 5\n80 % power"
    )


@pytest.mark.parametrize("value", [0.0, 1.0, -0.01, 1.5, math.nan, math.inf])
@pytest.mark.parametrize("name", ["difference", "sd_repeats", "discordance"])
def test_what_is_no_fraction_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')}: expected a fraction above 0 and below 1"):
        Assumptions(**{name: value})


def test_both_numbers_are_given_for_the_declared_repeats_too(with_pilot: Callable[..., StudyConfig]) -> None:
    study = with_pilot(LOUD, overrides=("compare.repeats=8",))
    found = estimate_power(study, IMAGES, Assumptions(difference=0.01))
    worst = upper_components(Components(**LOUD), num_blocks=6, num_images=500)
    assert found.detectable_upper == detectable(Crossed(components=worst, num_images=IMAGES), 8)
    assert found.detectable is not None
    assert found.detectable_upper > 1.3 * found.detectable
    lines = to_lines(found)
    place = next(number for number, line in enumerate(lines) if line.startswith("8 repeats as declared would detect"))
    assert lines[place + 1] == (
        f"{100 * found.detectable_upper:.2g} pp if the pilot's variances are at their upper 80 % limits"
    )


def test_declared_interim_analyses_cost_a_part_of_the_level(make_study: MakeStudy) -> None:
    overrides = ("compare.baselines=[ecrnn/cnn]", "compare.estimand=this-data", "compare.repeats=12")
    once, twice = (
        estimate_power(make_study(*overrides, *more), IMAGES, Assumptions(difference=0.012))
        for more in ((), ("compare.interim=2",))
    )
    # Two analyses by O'Brien and Fleming reject at |z| > 1.9774 at the last one (Jennison & Turnbull 2000, table 2.3).
    assert (once.alpha, twice.alpha) == (0.05, pytest.approx(0.04799, abs=1e-5))
    paired = Paired(sd=math.sqrt(ASSUMED.repeats + ASSUMED.residual / IMAGES))
    assert twice.num_blocks == blocks_needed(paired, 0.012, alpha=twice.alpha).number
    assert once.detectable is not None
    assert twice.detectable == detectable(paired, 12, alpha=twice.alpha) > once.detectable
