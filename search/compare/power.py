"""Estimate how many repeats a comparison needs, from the newest comparison's variances or from stated assumptions."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from search.errors import InputError
from search.journal.comparison_file import load_comparison
from search.significance.declared import FIRM_BLOCKS
from search.significance.planning.design import (
    POWER,
    Crossed,
    Design,
    Paired,
    blocks_needed,
    detectable,
    images_needed,
    upper_components,
)
from search.significance.records import Components
from search.significance.sequential.bounds import interim_level
from search.significance.tests import crossed, resampled
from search.study.claims import CompareSection, families_of, fewest_repeats
from search.study.config import StudyConfig
from search.text.counted import counted

SD_REPEATS = 0.01
"""Assumed standard deviation of the differences between blocks on an unlimited test set. Cautious: seeds alone change a
long CIFAR-10 training by about a quarter of a percentage point (Picard 2021, arXiv 2109.08203), and thus a difference
by a third of a point; short trainings and random splits vary more."""
DISCORDANCE = 0.4
"""Assumed share of test images on which two configurations disagree. Cautious: the shipped presets disagreed on up to
.38 of reduced CIFAR-10 and on .05 of the digits."""
AT_LIMITS = f"if the pilot's variances are at their upper {100 * POWER:g} % limits"
LASTING = 0.25
"""Assumed share of this disagreement that is the same in every repeat; the largest observed share is one sixth."""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Assumptions of the user about the planned comparison; all are fractions of 1.

    Raises:
        InputError: A value is not between 0 and 1.
    """

    difference: float | None = None
    """Target difference, which the comparison should detect; unset: the study's rope."""
    sd_repeats: float | None = None
    """Standard deviation of the differences between blocks, on the study's test images."""
    discordance: float | None = None
    """Share of test images on which two trained configurations disagree."""

    def __post_init__(self) -> None:
        faults = [
            f"--{name.replace('_', '-')}: expected a fraction above 0 and below 1, such as 0.01 for one percentage "
            f"point, found {value:g}"
            for name, value in dataclasses.asdict(self).items()
            if value is not None and not 0 < value < 1
        ]
        if faults:
            raise InputError(*faults)


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Variances of a completed comparison."""

    what: str
    components: Components
    num_blocks: int
    num_images: int


@dataclass(frozen=True, kw_only=True)
class PowerEstimate:
    """The difference that a number of repeats can detect, and the number of repeats for a target difference."""

    test: str
    power: float
    family_size: int
    """Number of comparisons in the largest declared family."""
    alpha: float
    """Level of each comparison: alpha / family size, as in the first step of the adjustment; with interim analyses,
    their level at the last one."""
    num_images: int
    """Number of test images."""
    components: Components
    """Variances that the estimate is based on."""
    sources: tuple[str, ...]
    """Sources of the variances, one sentence each."""
    repeats: int
    """Declared number of repeats."""
    detectable: float | None
    """Smallest difference that the declared repeats detect; None with a single repeat."""
    detectable_upper: float | None
    """The same with the pilot's variances at their upper confidence limits; None without a pilot."""
    smallest_ever: float
    """Smallest difference that an unlimited number of repeats detects on these test images."""
    difference: float | None
    """The target difference; None if neither it nor a rope is set."""
    is_rope: bool
    """Whether the target difference is the study's rope because none was stated."""
    num_blocks: int | None
    """Repeats that detect the target difference; None if no number does."""
    has_pilot: bool
    num_blocks_upper: int | None
    """The same with the pilot's variances at their upper confidence limits; None if no number does, or without a
    pilot."""
    images_for_repeats: int | None
    """Test images with which the declared repeats detect the target difference; None if no number does, or if the test
    does not depend on the number of images."""
    images_ever: int | None
    """Minimum number of test images, below which no number of repeats detects the target difference; None if the test
    does not depend on it."""


def estimate_power(study: StudyConfig, num_images: int, stated: Assumptions) -> PowerEstimate:
    """Estimate the power of the declared comparison.

    Args:
        study: The study; its newest comparison serves as the pilot.
        num_images: Number of test images M.
        stated: Assumptions of the user; they take precedence over the pilot.

    Returns:
        The estimate for the largest declared family.

    Raises:
        InputError: The newest comparison cannot be read.
    """
    section = study.compare
    family_size = max(len(family.pairs) for family in families_of(section)) or 1
    last = (section.interim, section.interim) if section.interim else None
    alpha = interim_level(section.alpha / family_size, last)
    pilot = _read_pilot(study, alpha)
    components, sources = _choose_components(pilot, stated, num_images)
    design = _design(components, num_images, section)
    difference = stated.difference or section.rope or None  # a rope of 0 is no target
    upper = detectable_upper = images_for_repeats = images_ever = None
    if pilot is not None:
        worst = upper_components(pilot.components, num_blocks=pilot.num_blocks, num_images=pilot.num_images)
        settled, _ = _choose_components(dataclasses.replace(pilot, components=worst), stated, num_images)
        at_limits = _design(settled, num_images, section)
        upper = _repeats_for(at_limits, difference, alpha, section) if difference is not None else None
        detectable_upper = detectable(at_limits, section.repeats, alpha=alpha) if section.repeats > 1 else None
    if isinstance(design, Crossed) and difference is not None:
        images_ever = images_needed(design, difference, math.inf, alpha=alpha).number
        if section.repeats > 1:
            images_for_repeats = images_needed(design, difference, section.repeats, alpha=alpha).number
    return PowerEstimate(
        test=crossed.NAME if isinstance(design, Crossed) else resampled.PAIRED,
        power=POWER,
        family_size=family_size,
        alpha=alpha,
        num_images=num_images,
        components=components,
        sources=sources,
        repeats=section.repeats,
        detectable=detectable(design, section.repeats, alpha=alpha) if section.repeats > 1 else None,
        detectable_upper=detectable_upper,
        smallest_ever=detectable(design, math.inf, alpha=alpha),
        difference=difference,
        is_rope=stated.difference is None and difference is not None,
        num_blocks=_repeats_for(design, difference, alpha, section) if difference is not None else None,
        has_pilot=pilot is not None,
        num_blocks_upper=upper,
        images_for_repeats=images_for_repeats,
        images_ever=images_ever,
    )


def _repeats_for(design: Design, difference: float, alpha: float, section: CompareSection) -> int | None:
    number = blocks_needed(design, difference, alpha=alpha).number
    return None if number is None else max(number, fewest_repeats(section))


def _design(components: Components, num_images: int, section: CompareSection) -> Design:
    if section.estimand == "this-data":
        return Paired(sd=math.sqrt(components.repeats + components.residual / num_images))
    return Crossed(components=components, num_images=num_images)


def _read_pilot(study: StudyConfig, alpha: float) -> Pilot | None:
    """Return the newest comparison's pair with the largest detectable difference; None if no pair has variances."""
    document = load_comparison(study.folder)
    pilots = [
        Pilot(
            what=f"{item.a} minus {item.b}",
            components=item.components,
            num_blocks=item.num_blocks,
            num_images=item.num_images,
        )
        for item in (document.comparisons if document else ())
        if item.components and item.num_images is not None
    ]
    return max(
        pilots,
        key=lambda pilot: detectable(
            _design(pilot.components, pilot.num_images, study.compare), pilot.num_blocks, alpha=alpha
        ),
        default=None,
    )


def _choose_components(pilot: Pilot | None, stated: Assumptions, num_images: int) -> tuple[Components, tuple[str, ...]]:
    """Return the variances for planning and their sources: stated values, then the pilot's, then the defaults."""
    if pilot is not None:
        components = pilot.components
        what = f"{pilot.what}, {pilot.num_blocks} repeats on {pilot.num_images:,} test images"
        sources = [f"pilot: {what}, the most variable pair of the newest `compare`"]
    else:
        components = Components(
            repeats=SD_REPEATS**2, images=LASTING * DISCORDANCE, residual=(1 - LASTING) * DISCORDANCE
        )
        sources = []
        if stated.sd_repeats is None:
            sources.append(f"assumed: {100 * SD_REPEATS:g} pp SD of the differences between repeats (--sd-repeats)")
        if stated.discordance is None:
            sources.append(
                f"assumed: the two configurations disagree on {100 * DISCORDANCE:g} % of the test images "
                "(--discordance)"
            )
        sources += [
            f"assumed: {100 * LASTING:g} % of the disagreement is the same in every repeat",
            "assumed values are cautious guesses; the study's first comparison replaces them",
        ]
    if stated.discordance is not None:
        disagreed = components.images + components.residual
        lasting = components.images / disagreed if disagreed else LASTING
        components = dataclasses.replace(
            components, images=lasting * stated.discordance, residual=(1 - lasting) * stated.discordance
        )
        sources.append(f"stated: the two configurations disagree on {100 * stated.discordance:g} % of the test images")
    if stated.sd_repeats is not None:
        # The stated variance includes the residual's share, which therefore cannot exceed it.
        residual = min(components.residual, stated.sd_repeats**2 * num_images)
        repeats = max(stated.sd_repeats**2 - residual / num_images, 0.0)
        components = dataclasses.replace(components, repeats=repeats, residual=residual)
        sources.append(f"stated: {100 * stated.sd_repeats:g} pp SD of the differences between repeats")
    return components, tuple(sources)


def to_lines(foresight: PowerEstimate) -> list[str]:
    """Return the estimate as lines of text."""
    on = f" on these {foresight.num_images:,} test images" if foresight.test == crossed.NAME else ""
    lines = _answer(foresight, foresight.difference, on) if foresight.difference is not None else []
    if foresight.detectable is not None:
        ever = f"; with unlimited repeats {_points(foresight.smallest_ever)}{on}" if foresight.smallest_ever else ""
        lines.append(
            f"{counted(foresight.repeats, 'repeat')} as declared would detect {_points(foresight.detectable)}{ever}"
        )
        if foresight.detectable_upper is not None:
            lines.append(f"{_points(foresight.detectable_upper)} {AT_LIMITS}")
    level = f"level {foresight.alpha:.2g}, the strictest step of {counted(foresight.family_size, 'comparison')}"
    return [*lines, f"{100 * foresight.power:g} % power; {foresight.test} at {level}", *foresight.sources]


def _answer(foresight: PowerEstimate, difference: float, on: str) -> list[str]:
    target = f"a difference of {_points(difference)}{' (the rope)' if foresight.is_rope else ''}"
    number, images = foresight.num_blocks, foresight.images_for_repeats
    if number is None:
        lines = [f"no number of repeats would detect {target}{on}"]
    else:
        lines = [f"{counted(number, 'repeat')} would detect {target}"]
    if number is not None and number < FIRM_BLOCKS:
        lines[0] += f", provisionally, as with any number below {FIRM_BLOCKS}"
    if number is not None and foresight.has_pilot:
        upper = f"{foresight.num_blocks_upper:,}" if foresight.num_blocks_upper else "no number"
        lines.append(f"{upper} {AT_LIMITS}")
    more = []
    if number is None and foresight.images_ever is not None:
        more.append(f"it takes about {_about(foresight.images_ever)} test images, with any number of repeats")
    if images is not None and images > foresight.num_images:
        declared = counted(foresight.repeats, "repeat")
        more.append(f"{declared} as declared would detect it on about {_about(images)} test images")
    return [*lines, *(["; ".join(more)] if more else [])]


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2g} pp"


def _about(number: int) -> str:
    """Round up to two digits, as the variances are not known more precisely."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // unit) * unit:,}"
