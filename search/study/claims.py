"""The declared comparisons: the `compare` section of a study file and its families."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from search.study.section import PointLike, Section
from search.text.counted import counted

Adjust = Literal["holm", "hommel", "hochberg", "shaffer", "bergmann-hommel", "max-t", "bh"]
"""The same as in `search.significance.declared`, whose import takes half a second."""
NEED_ALL_PAIRS = ("shaffer", "bergmann-hommel")
"""Adjustments that use logical relations between hypotheses and therefore need all pairs."""
_FAMILY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")


class CompareSection(Section):
    """Which configurations are compared on new repeats, and how."""

    finalists: Annotated[int, Field(ge=1)] = 1
    """Number of the sweep's best points to compare; `finalist-1` is the best one."""
    choose: Literal["accuracy", "knee", "front"] = "accuracy"
    """Finalists of a sweep with several objectives: the trials of highest accuracy, or the Pareto front from its knee
    on (knee), or spread over it (front)."""
    baselines: tuple[PointLike, ...] = ()
    """Presets or points to compare the finalists with; `baseline-1` is the first one."""
    repeats: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Number of repeats (seeds and splits), the same for all configurations. With --until-decided: the maximum."""
    interim: Annotated[int, Field(ge=2, le=20)] | None = None
    """Number of analyses, each after the same number of further repeats; the comparison ends at the first one that
    decides all pairs (O'Brien-Fleming bounds, this-data only). Unset: one analysis, after all repeats."""
    confirm: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Number of new repeats on which --until-decided confirms its survivor; unset: `repeats`."""
    family: Literal["baselines", "all-pairs"] | dict[str, tuple[tuple[str, ...], ...]] = "baselines"
    """Comparisons: baselines (each finalist with each baseline), all-pairs, or named families of pairs [a, b]."""
    estimand: Literal["new-data", "this-data"] = "new-data"
    """Whether claims refer to new data of the same kind (new-data), or to further repeats on this data set
    (this-data)."""
    adjust: Adjust = "holm"
    """Adjustment of the p-values in each family; all except bh control the family-wise error rate."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Error rate of each family: family-wise, or false discovery rate with bh."""
    rope: Annotated[float, Field(ge=0, lt=0.5)] = 0.005
    """Largest difference in accuracy that is considered practically equivalent."""

    @property
    def analysed_after(self) -> tuple[int, ...]:
        """Numbers of repeats after which the comparison is analysed; the last one is `repeats`."""
        num = self.interim or 1
        return tuple(self.repeats * look // num for look in range(1, num + 1))

    def interim_after(self, num_blocks: int) -> tuple[int, int] | None:
        """Return the number of the analysis after some repeats, and of all of them; None if there is only one."""
        return None if self.interim is None else (self.analysed_after.index(num_blocks) + 1, self.interim)

    @property
    def num_confirm(self) -> int:
        """Number of blocks on which a race's survivor is confirmed."""
        return self.repeats if self.confirm is None else self.confirm


@dataclass(frozen=True, kw_only=True)
class Family:
    """A set of comparisons with a common error rate."""

    name: str
    """Empty if the study declares a single unnamed family."""
    pairs: tuple[tuple[str, str], ...]

    @property
    def has_all_pairs(self) -> bool:
        """Whether the family contains every pair of its configurations."""
        names = {name for pair in self.pairs for name in pair}
        return len(self.pairs) == len(names) * (len(names) - 1) // 2

    def to_dict(self) -> dict[str, Any]:
        """Return the family as plain data."""
        return {"name": self.name, "pairs": [list(pair) for pair in self.pairs]}


def slots(section: CompareSection) -> dict[str, str]:
    """Map every name that a family may use to its slot: `finalist-1`, ..., `baseline-1`, ..."""
    known = {f"finalist-{place}": f"finalist-{place}" for place in range(1, section.finalists + 1)}
    for place, like in enumerate(section.baselines, start=1):
        slot = f"baseline-{place}"
        if isinstance(like, str):
            known.setdefault(like, slot)
        known[slot] = slot
    return known


def families_of(section: CompareSection) -> tuple[Family, ...]:
    """Return the declared families in terms of slots; the section must be valid."""
    return declare(
        section,
        finalists=[f"finalist-{place}" for place in range(1, section.finalists + 1)],
        baselines=[f"baseline-{place}" for place in range(1, len(section.baselines) + 1)],
    )


def declare(section: CompareSection, *, finalists: Sequence[str], baselines: Sequence[str]) -> tuple[Family, ...]:
    """Return the declared families with the names of actual configurations.

    Args:
        section: The valid section.
        finalists: Names of the finalists, best first. Named families require all of `section.finalists`; others use the
            given ones.
        baselines: Names of the baselines, in file order.

    Returns:
        The families, in file order.
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
    """Yield one line per fault of the declared families."""
    named = list(_family_faults(section)) if isinstance(section.family, dict) else []
    yield from named
    if section.adjust == "max-t" and section.estimand != "this-data":
        yield (
            "compare.adjust: max-t expects compare.estimand this-data, found new-data; it flips the signs of whole "
            "repeats, which allows no claim about new images: set compare.estimand to this-data, or compare.adjust "
            "to holm"
        )
    if section.adjust in NEED_ALL_PAIRS and not named:
        yield from _all_pairs_faults(section)
    if section.interim is not None:
        yield from _interim_faults(section, section.interim)


def _interim_faults(section: CompareSection, num_looks: int) -> Iterator[str]:
    from search.significance.declared import BONFERRONI_BASED, FIRM_BLOCKS

    if section.estimand != "this-data":
        yield (
            "compare.interim: expects compare.estimand this-data, found new-data; all repeats are scored on the same "
            "test images, so that analyses of claims on new data do not add up: declare this-data, or one analysis"
        )
    if section.adjust not in BONFERRONI_BASED:
        yield (
            f"compare.interim: expects compare.adjust {' or '.join(BONFERRONI_BASED)}, found {section.adjust}, which "
            "does not hold at several analyses; use holm, or declare one analysis"
        )
    if section.repeats % num_looks or section.repeats < FIRM_BLOCKS * num_looks:
        yield (
            f"compare.interim: {num_looks} analyses, each after the same number of further repeats and at least "
            f"{FIRM_BLOCKS}, found compare.repeats {section.repeats}; use "
            f"{num_looks * max(FIRM_BLOCKS, -(-section.repeats // num_looks))}"
        )


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
        yield f"{where}: expected two different configurations, found {pair[0]} twice; replace one"
        return
    key = frozenset(known[name] for name in pair)
    if key in seen:
        yield f"{where}: expected every pair once, found {pair[0]} and {pair[1]} in {seen[key]} as well; remove one"
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
                f"{len(family.pairs)}; declare them all, or set compare.adjust to holm"
            )
        elif section.adjust == "bergmann-hommel" and len(names) > MAX_BERGMANN:
            yield (
                f"{where}: bergmann-hommel expects at most {MAX_BERGMANN} configurations, found {len(names)}; set "
                "compare.adjust to shaffer"
            )


def describe_claims(section: CompareSection) -> str:
    """Describe the declared comparisons in one line."""
    families = families_of(section)
    sizes = [len(family.pairs) for family in families]
    each = f" in {len(families)} families ({', '.join(map(str, sizes))})" if len(families) > 1 else ""
    about = "new data of this kind" if section.estimand == "new-data" else "this data set"
    rate = f"{error_rate_of(section.adjust)} {section.alpha:g}"
    per_family = " each" if len(families) > 1 else ""
    claims = f"{counted(sum(sizes), 'comparison')}{each}, about {about}; {section.adjust}, {rate}{per_family}"
    if section.interim is None:
        return claims
    return f"{claims}; analysed after {', '.join(map(str, section.analysed_after))} repeats (O'Brien-Fleming)"


def adjust_for(section: CompareSection, family: Family) -> Adjust:
    """Return the adjustment of a family: Holm if the declared one needs all pairs and the family lacks some."""
    return "holm" if section.adjust in NEED_ALL_PAIRS and not family.has_all_pairs else section.adjust


def error_rate_of(adjust: Adjust) -> str:
    """Return the name of the error rate that alpha limits."""
    return "false discovery rate" if adjust == "bh" else "family-wise error rate"


def fewest_repeats(section: CompareSection) -> int:
    """Return the smallest number of repeats with which the largest family can reach a verdict, whatever the results."""
    from search.significance.declared import Declared
    from search.significance.methods import METHODS, choose_test

    declared = Declared(estimand=section.estimand, adjust=section.adjust, alpha=section.alpha)
    test = choose_test(declared, has_bits=True, has_scores=True)
    assert test is not None, "the repeats of a study record the correctness of every test image"
    return METHODS[test].blocks_needed(declared, max(1, *(len(family.pairs) for family in families_of(section))))


def too_few_repeats(section: CompareSection, num_blocks: int, *, where: str = "compare.repeats") -> list[str]:
    """Return one line if this number of repeats can never lead to a verdict, else an empty list."""
    fewest = fewest_repeats(section)
    if num_blocks >= fewest:
        return []
    return [
        f"{where}: {num_blocks} cannot lead to a verdict, whatever the results; with compare.estimand "
        f"{section.estimand} and compare.adjust {section.adjust} use at least {fewest}"
    ]
