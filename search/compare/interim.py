"""Identify a comparison, count the analyses of a study's repeats, and end it at a declared interim analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from search.compare.repeats import Repeats
from search.journal.journal import Journal
from search.records import digest_of
from search.significance.records import Comparison
from search.significance.sequential.bounds import group_sequential_bounds
from search.study.claims import CompareSection
from search.study.config import StudyConfig
from search.text.counted import counted


def key_of(study: StudyConfig, repeats: Repeats, raced: Sequence[str] = ()) -> str:
    """Return a digest that identifies a comparison by its contenders, blocks and settings.

    Names, order and outcomes do not change the digest.

    Args:
        study: The study.
        repeats: The repeats that are compared.
        raced: Keys of the race's repeats, if a race selected the contenders.
    """
    contenders = sorted(
        [str(contender.is_finalist), *(repeats.keys[contender.name, block.name] for block in repeats.blocks)]
        for contender in repeats.contenders
    )
    settings = study.compare.model_dump(mode="json", include={"family", "alpha", "rope"})
    # Later settings enter the digest only when they differ from their defaults, so that earlier digests stay valid.
    later = study.compare.model_dump(mode="json", include={"estimand", "adjust"}, exclude_defaults=True)
    if study.compare.interim is not None:
        later |= {"interim": study.compare.interim, "repeats": study.compare.repeats}
    return digest_of({"contenders": contenders, **settings, **later, **({"raced": sorted(raced)} if raced else {})})


@dataclass(frozen=True, kw_only=True)
class InterimAnalysis:
    """One interim analysis: a point at which the outcomes of a study's repeats were analysed."""

    number: int
    """Number of this analysis, from 1."""
    seen: str
    """Digest of the analysed outcomes."""
    is_new: bool
    """Whether the journal has no analysis of the same outcomes yet."""


def count_analysis(journal: Journal, key: str, repeats: Repeats) -> InterimAnalysis:
    """Return the number of this analysis; the same comparison of the same outcomes is counted once.

    A race counts as one interim analysis of the blocks that it used. The blocks that confirm its survivor are fresh and
    start from one.

    Args:
        journal: The study's journal; it is only read.
        key: As returned by `key_of`.
        repeats: The repeats that are compared.
    """
    seen = _digest_outcomes(repeats)
    known = [
        (event.get("key"), event.get("seen"))
        for event in journal.marks
        if (event["event"] == "comparison" and event.get("purpose", "compare") == repeats.purpose)
        or (event["event"] == "race" and repeats.purpose == "compare")
    ]
    is_new = (key, seen) not in known
    number = len(known) + 1 if is_new else known.index((key, seen)) + 1
    return InterimAnalysis(number=number, seen=seen, is_new=is_new)


def undecided(section: CompareSection, num_blocks: int, comparisons: Sequence[Comparison]) -> str | None:
    """Return a line on an interim analysis that does not end the comparison; None if it does.

    It ends when every comparison has an adjusted p-value of at most alpha, and after the last analysis.
    """
    interim = section.interim_after(num_blocks)
    if interim is None or interim[0] == interim[1]:
        return None
    look, num_looks = interim
    num_open = sum(item.adjusted_p is None or item.adjusted_p > item.alpha for item in comparisons)
    if not num_open:
        return None
    bounds = group_sequential_bounds(num_looks, alpha=section.alpha)
    return (
        f"analysis {look} of {num_looks}, after {num_blocks} repeats (p at or below {bounds.nominal[look - 1]:.2g} "
        f"decides, before any adjustment; {bounds.spent[look - 1]:.2g} of alpha {section.alpha:g} is spent): "
        f"{num_open} of {counted(len(comparisons), 'comparison')} undecided, so training continues"
    )


def _digest_outcomes(repeats: Repeats) -> str:
    """Return a digest of all outcomes; it changes when a retried repeat ends differently."""
    records = {record.key: record for record in repeats.wanted_records}
    return digest_of({key: record.outcome.word if record.outcome else None for key, record in records.items()})


def mention_analyses(comparison: Comparison, num_looks: int) -> Comparison:
    """Add the number of the interim analysis to the sentence of a comparison with a p-value, from the second one on."""
    if num_looks == 1 or comparison.adjusted_p is None:
        return comparison
    clause = f"This is interim analysis {num_looks} of this study: p-values are no longer exact."
    return dataclasses.replace(comparison, sentence=f"{comparison.sentence} {clause}")
