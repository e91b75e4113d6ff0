"""The section of bench/calibration.md on families of configurations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import fill

from bench.claims import Share
from bench.families import EDGE_SIZES, OWN_IMAGES, ROPE, SIZES, TRUE_ERRORS, FamilyCell, JudgedFamilies
from bench.tables import NOTHING, table

TITLES = {
    "generalized": "crossed, as decided",
    "Satterthwaite": "crossed, Satterthwaite",
}


@dataclass(frozen=True, kw_only=True)
class Families:
    """Counts of all families."""

    simulated: tuple[FamilyCell, ...]
    stored: tuple[FamilyCell, ...]
    judged: JudgedFamilies


def family_shares(found: Families) -> dict[str, Share]:
    """Return every share that must not exceed alpha, by name."""
    cells = {}
    for cell in (*found.simulated, *found.stored):
        where = f"{cell.world}, {cell.num_images} images, R = {cell.num_repeats}"
        for size, share in cell.claims["generalized"].items():
            cells[f"any claim among {size} ({where})"] = share
        for size, share in cell.equivalent.items():
            cells[f"any equivalence among {size} at the rope's edge ({where})"] = share
    return cells | {"families of 7 through the judge": found.judged.claims}


def families_section(found: Families) -> str:
    """Return the section as Markdown, with its heading."""
    total = found.simulated[0].claims["generalized"][1].total
    return f"""## Families whose configurations differ in the images that they classify correctly

{_words(found, total)}

{_claims(found.simulated)}

{_stored_words()}

{_claims(found.stored)}

{_edge_words()}

{_edge(found.simulated)}

{_power_words()}

{_power(found.simulated)}
"""


def _words(found: Families, total: int) -> str:
    judged = found.judged
    unlike = "none of them" if not judged.num_unlike else f"{judged.num_unlike:,} of them"
    return fill(
        "Any false claim in a family at .05, Holm-adjusted: one pair, all pairs of 3, 7 against a control, all pairs "
        f"of 8. {total:,} families in each cell, so that .05 and two Monte-Carlo errors are "
        f"{0.05 + 2 * (0.05 * 0.95 / total) ** 0.5:.3f}; more is marked !. Beside it the same variance with a t "
        "distribution of Satterthwaite's degrees of freedom (`--method crossed-satterthwaite`), which does not decide. "
        "Up to 200 images the variance from images is averaged over too. Through the whole analysis, 7 against a "
        f"control with 3 repeats on 500 images, {judged.claims.total:,} studies: {judged.claims} ended in better or "
        f"worse for any; {unlike} had a p unlike that of the fast functions that count the tables.",
        120,
    )


def _stored_words() -> str:
    return fill(
        "From stored trainings: fake configurations are disjoint draws from the repeats of one, and each sees images "
        f"of its own in {100 * OWN_IMAGES:g} % of the places of its test set. A dot: not repeats enough.",
        120,
    )


def _claims(cells: Iterable[FamilyCell]) -> str:
    header = ["world", "images", "R", *map(str, SIZES), *(f"{size}, Satterthwaite" for size in SIZES)]
    return table(
        header,
        (
            (
                cell.world,
                str(cell.num_images),
                str(cell.num_repeats),
                *(_short(cell.claims["generalized"].get(size)) for size in SIZES),
                *(_short(cell.claims["Satterthwaite"].get(size)) for size in SIZES),
            )
            for cell in cells
        ),
    )


def _edge_words() -> str:
    return fill(
        "False equivalence: every configuration differs from the control by the rope exactly "
        f"({100 * ROPE:g} percentage points, so wide that its far edge plays no part). Any comparison called "
        "equivalent, by Holm-adjusted two one-sided tests, which decide; and by a posterior of .95 inside the rope, "
        "which is shown and does not decide:",
        120,
    )


def _edge(cells: Iterable[FamilyCell]) -> str:
    return table(
        ["world", "images", "R", *map(str, EDGE_SIZES), *(f"{size}, posterior" for size in EDGE_SIZES)],
        (
            (
                cell.world,
                str(cell.num_images),
                str(cell.num_repeats),
                *(_short(cell.equivalent.get(size)) for size in EDGE_SIZES),
                *(_short(cell.posterior.get(size)) for size in EDGE_SIZES),
            )
            for cell in cells
        ),
    )


def _power_words() -> str:
    return fill(
        f"What this costs: share of single comparisons in which a difference of {TRUE_ERRORS:g} true standard errors "
        "was found at .05. Where Satterthwaite's finds more, it claims more of what is not there:",
        120,
    )


def _power(cells: Iterable[FamilyCell]) -> str:
    return table(
        ("world", "images", "R", *TITLES.values()),
        (
            (
                cell.world,
                str(cell.num_images),
                str(cell.num_repeats),
                *(f"{cell.power[variant].rate:.2f}".lstrip("0") for variant in cell.power),
            )
            for cell in cells
        ),
    )


def _short(share: Share | None) -> str:
    if share is None:
        return NOTHING
    return f"{share.rate:.3f}".lstrip("0") + (" !" if share.exceeds else "")
