"""The text and tables of bench/calibration.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from textwrap import fill
from typing import Any

import numpy as np

from bench.claims import Row, Share
from bench.designs import CONTRAST_ONLY
from bench.families_page import Families, families_section, family_shares
from bench.nulls import NullStudy
from bench.offered import JUDGED, MAX_CONTROLLED, SLOW, family_rows, single_rows
from bench.planted import Found
from bench.report import machine
from bench.simulated import NUM_IMAGES
from bench.simulated import ROWS as SIMULATED
from bench.tables import NOTHING, table
from search.significance.declared import NEW_DATA
from search.significance.methods import METHODS

TITLES = {"digits": "scikit-learn's digits, full size", "cifar10": "CIFAR-10, reduced"}


@dataclass(frozen=True, kw_only=True)
class Nulls:
    """Counts of one null study."""

    singles: dict[int, dict[str, Share]]
    """R -> test -> share of splits with a claim."""
    families: dict[int, dict[str, Share]]
    verdicts: dict[int, dict[str, int]]
    """R -> verdict -> number of splits in which the whole analysis gave it."""
    power: dict[tuple[int, float], dict[str, Found]]
    """(R, planted drop) -> test -> its findings."""


def claims_table(rows: list[Row], counted: Mapping[int, Mapping[str, Share]]) -> str:
    """Return a table of tests by number of blocks, offered tests first, in their given order."""
    blocks = sorted(counted)
    ordered = sorted(((row.title, row.offered_for) for row in rows), key=lambda row: not row[1])
    return table(
        ("test", "offered for", *(f"R = {number}" for number in blocks)),
        (
            (title, use or "*contrast only*", *(str(counted[number].get(title, NOTHING)) for number in blocks))
            for title, use in ((JUDGED, NEW_DATA), *ordered)
            if any(title in counted[number] for number in blocks)
        ),
    )


def offered_on(nulls: Nulls, num_blocks: int) -> dict[str, Share]:
    """Return the shares of the offered tests at one number of blocks, by title."""
    counted = nulls.singles[num_blocks] | nulls.families[num_blocks]
    rows = [*single_rows(), *family_rows(10_000, num_blocks)]
    titles = (JUDGED, *(row.title for row in rows if row.offered_for))
    return {title: counted[title] for title in titles if title in counted}


def cell_name(title: str, study: str, num_blocks: int) -> str:
    """Return the name of a table cell for use in the text."""
    return f"{title} ({study}, R = {num_blocks})"


def offered_shares(found: Mapping[str, Nulls], more: Mapping[str, Any], tasty: Families) -> dict[str, Share]:
    """Return every share that must not exceed alpha, by name."""
    cells = family_shares(tasty)
    for name, nulls in found.items():
        for number in nulls.singles:
            cells |= {cell_name(title, name, number): share for title, share in offered_on(nulls, number).items()}
    for number, worlds in more["fixed"].items():
        for world, shares in worlds.items():
            for row in SIMULATED:
                if row.offered:
                    cells[f"{row.title} (simulated, {world}, R = {number})"] = shares[row.title]
    cells |= {f"{title} (digits, 5x2)": share for title, share in more["halves"].items()}
    for number, shares in more["across"].items():
        cells |= {
            f"{title} (simulated, {number} data sets)": share
            for title, share in shares.items()
            if title not in CONTRAST_ONLY
        }
    cells |= {f"{variant} McNemar of two checkpoints": share for variant, share in more["checkpoints"].items()}
    return cells


def _verdict_on(cells: Mapping[str, Share], again: Mapping[str, Share]) -> str:
    over = {name: share for name, share in cells.items() if share.exceeds}
    first = (
        f"**{len(over)} of {len(cells)} cells of offered tests lie above .05 and two Monte-Carlo errors** (marked !); "
        f"about {0.023 * len(cells):.0f} would by luck alone if every test were exact."
    )
    lines = (
        f"- {name}: {share}" + (f"; on {again[name].total:,} fresh splits {again[name]}" if name in again else "")
        for name, share in over.items()
    )
    return "\n".join([fill(first, 120), *lines])


def _contrast(found: Mapping[str, Nulls], more: Mapping[str, Any]) -> str:
    highest: dict[str, float] = {}
    for nulls in found.values():
        for number, counted in nulls.singles.items():
            rows = [*single_rows(), *family_rows(10_000, number)]
            for row in rows:
                share = (counted | nulls.families[number]).get(row.title)
                if share and not row.offered_for:
                    highest[row.title] = max(share.rate, highest.get(row.title, 0))
    for worlds in more["fixed"].values():
        for shares in worlds.values():
            for other in SIMULATED:
                if not other.offered:
                    title = f"{other.title} taken for new data"
                    highest[title] = max(shares[other.title].rate, highest.get(title, 0))
    ranked = sorted(highest.items(), key=lambda item: -item[1])
    return fill(
        "Shown for contrast, the highest share anywhere: "
        + "; ".join(f"{title} {rate:.2f}".replace(" 0.", " .") for title, rate in ranked)
        + ".",
        120,
    )


def _describe(null: NullStudy) -> str:
    meta = null.meta
    accuracy_R = null.correct.mean(axis=1)
    recipe = meta["recipe"]["train"]
    return fill(
        f"`{meta['preset']}`, {recipe['epochs']} epoch{'s' * (recipe['epochs'] > 1)} at batch {recipe['batch']}, "
        f"{len(accuracy_R)} repeats (seed, split and order all new): {meta['num_train']:,} training, "
        f"{meta['num_val']:,} validation and {meta['num_test']:,} fixed test images. Test accuracy "
        f"{100 * accuracy_R.mean():.1f} % with a standard deviation of {100 * accuracy_R.std(ddof=1):.2f} percentage "
        f"points between repeats; validation {100 * null.val_accuracy.mean():.1f} % with "
        f"{100 * null.val_accuracy.std(ddof=1):.2f}. Trained in {sum(meta['secs']) / 60:.0f} minutes on one busy core.",
        120,
    )


def _verdicts(nulls: Nulls) -> str:
    words = list(next(iter(nulls.verdicts.values())))
    return table(
        ("R", *words),
        (
            (str(number), *(f"{counts[word] / max(1, sum(counts.values())):.3f}".lstrip("0") for word in words))
            for number, counts in sorted(nulls.verdicts.items())
        ),
    )


def _points(drop: float) -> str:
    return f"{100 * drop:g} pp"


def observed_detectable(nulls: Nulls, method: str, num_blocks: int) -> float | None:
    """Return the planted difference found in 80 % of splits, by interpolation; None if no difference reached 80 %."""
    drops = sorted(drop for number, drop in nulls.power if number == num_blocks)
    powers = [nulls.power[num_blocks, drop][method].power.rate for drop in drops]
    for (low, below), (high, above) in zip(
        zip([0.0, *drops], [0.05, *powers], strict=False), zip(drops, powers, strict=True), strict=False
    ):
        if above >= 0.8:
            return low + (high - low) * (0.8 - below) / (above - below)
    return None


def _power(nulls: Nulls) -> str:
    blocks = sorted({number for number, _ in nulls.power})
    drops = sorted({drop for _, drop in nulls.power})
    rows = []
    for method in ("crossed", "corrected-t", "paired-t", "sign-flip", "wilcoxon", "e-process"):
        for number in blocks:
            cells = [nulls.power[number, drop].get(method) for drop in drops]
            if cells[0] is None:
                continue
            stated = [value for item in cells if item for value in item.detectable]
            observed = observed_detectable(nulls, method, number)
            title = METHODS[method].title if method in METHODS else "e-process, every block"
            rows.append(
                (
                    title,
                    str(number),
                    *(f"{item.power.rate:.2f}".lstrip("0") if item else NOTHING for item in cells),
                    f"{100 * observed:.2f}" if observed else NOTHING,
                    f"{100 * median(stated):.2f}" if stated else NOTHING,
                )
            )
    return table(("test", "R", *map(_points, drops), "80 % at, pp", "states, pp"), rows)


def _errors(found: Mapping[str, Nulls]) -> str:
    wrong, equivalent = [], []
    for name, nulls in found.items():
        for (number, drop), tests in nulls.power.items():
            for method, item in tests.items():
                where = f"{method}, {name}, R = {number}, {_points(drop)}"
                wrong.append((item.wrong / item.total, where))
                if method != "e-process":
                    equivalent.append((item.equivalent / item.total, where))
    return fill(
        f"Called better the wrong way round: {max(wrong)[0]:.3f} of splits at most ({max(wrong)[1]}). "
        '"Practically equivalent" with a rope exactly as wide as the planted difference, where at most .05 '
        f"should: {max(equivalent)[0]:.3f} at most ({max(equivalent)[1]}).",
        120,
    )


def _ranges(more: Mapping[str, Any]) -> str:
    blocks = sorted(more["fixed"])

    def cell(number: int, title: str) -> str:
        shares = [shares[title] for shares in more["fixed"][number].values()]
        rates = [f"{share.rate:.2f}".lstrip("0") for share in shares]
        mark = " !" if any(share.exceeds for share in shares) else ""
        return f"{min(rates)} to {max(rates)}{mark}"

    return table(
        ("test", "offered for new data", *(f"R = {number}" for number in blocks)),
        (
            (row.title, "yes" if row.offered else "*no*", *(cell(number, row.title) for number in blocks))
            for row in SIMULATED
        ),
    )


def _worlds(more: Mapping[str, Any]) -> str:
    blocks = sorted(more["fixed"])
    title = SIMULATED[0].title
    return table(
        ("world", *(f"R = {number}" for number in blocks)),
        (
            (world, *(str(more["fixed"][number][world][title]) for number in blocks))
            for world in more["fixed"][blocks[0]]
        ),
    )


def _elsewhere(more: Mapping[str, Any]) -> str:
    rows = [(title, "digits, five random halvings", str(share)) for title, share in more["halves"].items()]
    rows += [
        (f"{variant} McNemar", "two checkpoints, equal over all images", str(share))
        for variant, share in more["checkpoints"].items()
    ]
    for number, shares in more["across"].items():
        rows += [(title, f"5 configurations, {number} data sets", str(share)) for title, share in shares.items()]
    return table(
        ("test", "null", "", "share of claims"),
        (
            (title, null, "*contrast only*" if title in CONTRAST_ONLY else "offered", share)
            for title, null, share in rows
        ),
    )


def _most(counted: Iterable[Mapping[str, Any]]) -> int:
    return max(int(item.total) for items in counted for item in items.values())


def _reading(splits: int, spread: str) -> str:
    return fill(
        f"Each cell of the next tables is the share of {splits:,} random splits of the repeats into fake "
        "configurations that ended in a claim at .05, with Clopper and Pearson's 95 % interval; what is slow runs on "
        f"one split in {SLOW}. A dot: refused, too few repeats, or not applicable. Splits of the same "
        f"repeats are not independent, and the interval takes them to be. {spread} What no interval here covers is "
        "that there is one pool of repeats, of one configuration, per data set. Fake pairs share no block, so pairing "
        "gains nothing; and a configuration is equal to itself on these very images too, so that taking the images at "
        "hand for all images does no harm *in these tables*. The simulation further down is where it does.",
        120,
    )


def _worlds_words(more: Mapping[str, Any], sims: int) -> str:
    worlds = list(more["fixed"][min(more["fixed"])])
    return fill(
        "Two simulated learners feel the same hardness of images, and each has a taste of its own in them; both are "
        "drawn from one distribution, so neither is better on new images, while on one fixed test set of "
        f"{NUM_IMAGES} images one always is. Worlds: {', '.join(worlds)}. Lowest to highest share of claims over "
        f"the {len(worlds)}, {sims:,} simulations of each (the Multi-Bootstrap a twentieth of them):",
        120,
    )


def to_page(
    nulls: Mapping[str, NullStudy],
    found: Mapping[str, Nulls],
    more: Mapping[str, Any],
    again: Mapping[str, Share],
    tasty: Families,
    *,
    spread: str,
) -> str:
    """Return the page as Markdown."""
    splits = _most(shares for item in found.values() for shares in item.singles.values())
    power_splits = _most(tests for item in found.values() for tests in item.power.values())
    sims = _most(shares for worlds in more["fixed"].values() for shares in worlds.values())
    sections = "\n".join(
        f"""## {TITLES[name]}: one configuration against itself

{_describe(nulls[name])}

{claims_table(single_rows(), item.singles)}

Families, any claim within one counted once:

{claims_table(family_rows(10_000, 1), item.families)}

Verdicts of the whole analysis, one comparison, rope ±0.5 pp:

{_verdicts(item)}
"""
        for name, item in found.items()
    )
    power = "\n\n".join(f"{TITLES[name]}:\n\n{_power(item)}" for name, item in found.items())
    return f"""# Calibration

How often does each test claim a difference between equal configurations, and how often does it find a real one? All
of it is counted by `python -m bench.calibration`, by simulation and from stored correctness bits; these come from
`bench/nulls.py`, which trains.

{_verdict_on(offered_shares(found, more, tasty), again)}

{_contrast(found, more)}

![Shares of claims, and power](pictures/calibration.png)

{_reading(splits, spread)}

{families_section(tasty)}
{sections}
## What is found of a planted difference

In one arm a share of the correct answers was turned wrong: each image has its own chance, the larger the more often the
repeats get it wrong, and the chances add up to the wished drop. Validation scores drop by as much at random. Share of
{power_splits} splits in which the better arm was called better; "80 % at" is where that share passes .8 (interpolated),
"states" the median of the smallest detectable difference that the comparisons themselves state.

{power}

{_errors(found)}

## Equal over all images, not on these

{_worlds_words(more, sims)}

{_ranges(more)}

Plain paired t and sign-flip are right about *these images* here, and wrong about new ones: that is what "this data set"
in a verdict says. The headline test in each world:

{_worlds(more)}

## Tests that want other data

5x2 cross-validation: ridge regression on random features of the digits against itself under other features. With
nearest neighbours and some 300 images its t and F told equal learners apart in .12 and .14, so `analyze` shows them and
gives no verdict by them. McNemar:
two simulated checkpoints that are equally good over all images, which is all that it speaks of; the tables above show
what happens when it is taken for the configurations. Data sets: simulated, of unequal difficulty and noise.

{_elsewhere(more)}

## What this does not show

- Two architectures, one training pool each: the pool is one draw, and its own variance is in none of these numbers.
- {MAX_CONTROLLED} configurations against a control where there are repeats enough, fewer at R = 30.
- Long trainings and high accuracies. For a null it matters that repeats are exchangeable, not that they are good.

{machine()}
"""


def spread_words(ratios: Iterable[float]) -> str:
    """Return a sentence on the effect of the dependence between splits."""
    values = np.array(list(ratios))
    return (
        "How wrong that is, simulated pools of as many repeats show (plain paired t, normal scores): from pool to pool "
        f"the share varies {values.min():.2f} to {values.max():.2f} times as much as with independent splits."
    )
