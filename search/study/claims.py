"""What a comparison claims: the `compare` section of a study file, and the families that it declares."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from search.study.section import PointLike, Section

Adjust = Literal["holm", "hommel", "hochberg", "shaffer", "bergmann-hommel", "max-t", "bh"]
"""As in `search.significance.declared`, which a study file cannot be read with: importing it takes half a second."""
NEED_ALL_PAIRS = ("shaffer", "bergmann-hommel")
"""Adjustments that rest on which hypotheses can be true at once, so on every pair being there."""
_FAMILY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")


class CompareSection(Section):
    """What is trained again on fresh blocks, and what is claimed."""

    finalists: Annotated[int, Field(ge=1)] = 1
    """How many of the sweep's best points go on; `finalist-1` is the best of them."""
    baselines: tuple[PointLike, ...] = ()
    """Presets or points that the finalists must beat; `baseline-1` is the first of them."""
    repeats: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Blocks: every point is trained once on each. With --until-decided: at most so many."""
    confirm: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Fresh blocks on which --until-decided confirms its survivor; unset: as many as `repeats`."""
    family: Literal["baselines", "all-pairs"] | dict[str, tuple[tuple[str, ...], ...]] = "baselines"
    """The declared comparisons: each finalist with each baseline, all pairs, or families of [a, b] by name."""
    estimand: Literal["new-data", "this-data"] = "new-data"
    """Whether the claim is about new data of this kind, or about further repeats on this very data set."""
    adjust: Adjust = "holm"
    """How the p-values of each family are adjusted; all but bh hold the family-wise error rate."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Error rate of each family: family-wise, with bh of false discoveries."""
    rope: Annotated[float, Field(ge=0, lt=0.5)] = 0.005
    """Differences in accuracy up to this count as practically equivalent."""

    @property
    def num_confirm(self) -> int:
        """Blocks on which a survivor is confirmed."""
        return self.repeats if self.confirm is None else self.confirm


@dataclass(frozen=True, kw_only=True)
class Family:
    """Comparisons that share one error rate."""

    name: str
    """Empty where the study declares one family without a name."""
    pairs: tuple[tuple[str, str], ...]

    @property
    def has_all_pairs(self) -> bool:
        """Whether every pair of its configurations is there."""
        names = {name for pair in self.pairs for name in pair}
        return len(self.pairs) == len(names) * (len(names) - 1) // 2

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"name": self.name, "pairs": [list(pair) for pair in self.pairs]}


def slots(section: CompareSection) -> dict[str, str]:
    """Every name that a family may use -> the slot it stands for: `finalist-1`, ..., `baseline-1`, ..."""
    known = {f"finalist-{place}": f"finalist-{place}" for place in range(1, section.finalists + 1)}
    for place, like in enumerate(section.baselines, start=1):
        slot = f"baseline-{place}"
        if isinstance(like, str):
            known.setdefault(like, slot)
        known[slot] = slot
    return known


def families_of(section: CompareSection) -> tuple[Family, ...]:
    """The declared families, in slots; call with a section that has no faults."""
    return declare(
        section,
        finalists=[f"finalist-{place}" for place in range(1, section.finalists + 1)],
        baselines=[f"baseline-{place}" for place in range(1, len(section.baselines) + 1)],
    )


def declare(section: CompareSection, *, finalists: Sequence[str], baselines: Sequence[str]) -> tuple[Family, ...]:
    """Fill the slots of the declared families.

    Args:
        section: What is declared, without faults.
        finalists: Names of the finalists, best first. Named families need all of `section.finalists`; the others take
            those that there are.
        baselines: Names of the baselines, in the order of the file.

    Returns:
        The families, in the order of the file.
    """
    if isinstance(section.family, dict):
        filled = {f"finalist-{place}": name for place, name in enumerate(finalists, start=1)}
        filled |= {f"baseline-{place}": name for place, name in enumerate(baselines, start=1)}
        meaning = {name: filled[slot] for name, slot in slots(section).items()}
        return tuple(
            Family(name=name, pairs=tuple((meaning[a], meaning[b]) for a, b in pairs))
            for name, pairs in section.family.items()
        )
    if section.family == "all-pairs" or not baselines:
        return (Family(name="", pairs=tuple(itertools.combinations((*finalists, *baselines), 2))),)
    return (Family(name="", pairs=tuple(itertools.product(finalists, baselines))),)


def claim_faults(section: CompareSection) -> Iterator[str]:
    """Everything that is wrong with the declared families, one line each."""
    named = list(_family_faults(section)) if isinstance(section.family, dict) else []
    yield from named
    if section.adjust == "max-t" and section.estimand != "this-data":
        yield (
            "compare.adjust: max-t expects compare.estimand this-data, found new-data; it flips signs of whole "
            "repeats, which says nothing of new images: declare this-data, or take holm"
        )
    if section.adjust in NEED_ALL_PAIRS and not named:
        yield from _all_pairs_faults(section)


def _family_faults(section: CompareSection) -> Iterator[str]:
    assert isinstance(section.family, dict)
    if not section.family:
        yield "compare.family: expected baselines, all-pairs or families by name, found none; declare one"
    known = slots(section)
    seen: dict[frozenset[str], str] = {}
    for name, pairs in section.family.items():
        where = f"compare.family.{name}"
        if not _FAMILY_NAME.fullmatch(name):
            yield f"{where}: expected a name of letters, digits, spaces and ._+-, found {name!r}; rename it"
        if not pairs:
            yield f"{where}: expected at least one pair [a, b], found none; add one, or remove the family"
        for position, pair in enumerate(pairs):
            yield from _pair_faults(f"{where}.{position}", pair, known, seen)


def _pair_faults(
    where: str, pair: tuple[str, ...], known: dict[str, str], seen: dict[frozenset[str], str]
) -> Iterator[str]:
    if len(pair) != 2:
        yield f"{where}: expected two names [a, b], found {len(pair)}: {list(pair)}"
        return
    unknown = [name for name in dict.fromkeys(pair) if name not in known]
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        if re.fullmatch(r"finalist-[1-9]\d*", name):
            hint = "raise compare.finalists? "
        yield f"{where}: expected a finalist or baseline, found {name!r}; {hint}known: {', '.join(known)}"
    if unknown:
        return
    if known[pair[0]] == known[pair[1]]:
        yield f"{where}: expected two configurations, found {pair[0]} with itself; name another"
        return
    key = frozenset(known[name] for name in pair)
    if key in seen:
        yield f"{where}: expected every pair once, found {pair[0]} and {pair[1]} in {seen[key]} already; remove one"
    seen.setdefault(key, where)


def _all_pairs_faults(section: CompareSection) -> Iterator[str]:
    from search.significance.adjust.shaffer import MAX_BERGMANN

    for family in families_of(section):
        where = f"compare.family.{family.name}" if family.name else "compare.family"
        names = {name for pair in family.pairs for name in pair}
        if not family.has_all_pairs:
            count = len(names) * (len(names) - 1) // 2
            yield (
                f"{where}: {section.adjust} expects all {count} pairs of its {len(names)} configurations, found "
                f"{len(family.pairs)}; declare them all, or take compare.adjust holm"
            )
        elif section.adjust == "bergmann-hommel" and len(names) > MAX_BERGMANN:
            yield (
                f"{where}: bergmann-hommel expects at most {MAX_BERGMANN} configurations, found {len(names)}; take "
                "compare.adjust shaffer"
            )


def tell_claims(section: CompareSection) -> str:
    """What is declared, in a line."""
    families = families_of(section)
    sizes = [len(family.pairs) for family in families]
    each = f" in {len(families)} families ({', '.join(map(str, sizes))})" if len(families) > 1 else ""
    about = "new data of this kind" if section.estimand == "new-data" else "this data set"
    many = "comparison" if sum(sizes) == 1 else "comparisons"
    rate = f"{error_rate_of(section.adjust)} {section.alpha:g}"
    return f"{sum(sizes)} {many}{each}, about {about}; {section.adjust}, {rate}{' each' if len(families) > 1 else ''}"


def adjust_for(section: CompareSection, family: Family) -> Adjust:
    """How a family is adjusted: as declared, or by Holm where that needs pairs that a survivor's family lacks."""
    return "holm" if section.adjust in NEED_ALL_PAIRS and not family.has_all_pairs else section.adjust


def error_rate_of(adjust: Adjust) -> str:
    """What alpha bounds."""
    return "false discovery rate" if adjust == "bh" else "family-wise error rate"


def fewest_repeats(section: CompareSection) -> int:
    """Blocks below which the declared analysis can come to no verdict in its largest family, whatever the results."""
    from search.significance.declared import Declared
    from search.significance.methods import METHODS, choose

    declared = Declared(estimand=section.estimand, adjust=section.adjust, alpha=section.alpha)
    test = choose(declared, has_bits=True, has_scores=True)
    assert test is not None, "repeats leave the correctness of every test image"
    return METHODS[test].blocks_needed(declared, max(1, *(len(family.pairs) for family in families_of(section))))


def too_few_repeats(section: CompareSection, num_blocks: int, *, where: str = "compare.repeats") -> list[str]:
    """Why so many blocks can lead to no verdict, if they cannot: a line, said before anything is trained."""
    fewest = fewest_repeats(section)
    if num_blocks >= fewest:
        return []
    return [
        f"{where}: {num_blocks} can lead to no verdict, whatever the results; with compare.estimand {section.estimand} "
        f"and compare.adjust {section.adjust} take at least {fewest}"
    ]
