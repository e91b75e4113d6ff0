"""Identify a comparison, count the analyses of a study's repeats, and end it at a declared interim analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from search.compare.repeats import Repeats
from search.journal.journal import Journal
from search.records import digest_of
from search.significance.records import Comparison, Verdict
from search.study.claims import CompareSection
from search.study.config import StudyConfig
from search.text.counted import counted

INTERIM = "interim"
"""Event of the journal: a declared interim analysis that did not end its comparison."""


def key_of(study: StudyConfig, repeats: Repeats, raced: Sequence[str] = ()) -> str:
    """Return a digest that identifies a comparison by its contenders, blocks and settings.

    Names, order and outcomes do not change the digest.

    Args:
        study: The study.
        repeats: The repeats that are compared.
        raced: Keys of the race's repeats, if a race selected the contenders.
    """
    # With declared analyses it is the same comparison at each of them: `repeats` of the settings stands for the blocks.
    blocks = repeats.blocks if study.compare.interim is None else repeats.blocks[:1]
    contenders = sorted(
        [str(contender.is_finalist), *(repeats.keys[contender.name, block.name] for block in blocks)]
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

    A race counts as one analysis of the blocks that it used. The blocks that confirm its survivor are fresh and start
    from one. Declared interim analyses of this comparison are not counted, as its p-values hold at all of them; those
    of another declaration are.

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
        or (event["event"] == INTERIM and repeats.purpose == "compare" and event.get("key") != key)
    ]
    is_new = (key, seen) not in known
    number = len(known) + 1 if is_new else known.index((key, seen)) + 1
    return InterimAnalysis(number=number, seen=seen, is_new=is_new)


def undecided(section: CompareSection, num_blocks: int, comparisons: Sequence[Comparison]) -> str | None:
    """Return a line on an interim analysis that does not end the comparison; None if it does.

    It ends when every comparison has found a better configuration, and after the last analysis.
    """
    interim = section.interim_after(num_blocks)
    if interim is None or interim[0] == interim[1]:
        return None
    undecided = [item for item in comparisons if item.verdict not in {Verdict.BETTER, Verdict.WORSE}]
    if not undecided:
        return None
    look, num_looks = interim
    pairs = "; ".join(f"{item.a} against {item.b}" for item in undecided)
    return (
        f"declared analysis {look} of {num_looks}, after {num_blocks} repeats: {len(undecided)} of "
        f"{counted(len(comparisons), 'comparison')} undecided ({pairs}), so training continues"
    )


def note_undecided(journal: Journal, key: str, repeats: Repeats) -> None:
    """Write a declared interim analysis that did not end its comparison to the journal, once."""
    seen = _digest_outcomes(repeats)
    if not any(
        (event["event"], event.get("key"), event.get("seen")) == (INTERIM, key, seen) for event in journal.marks
    ):
        journal.note(INTERIM, key=key, seen=seen)


def _digest_outcomes(repeats: Repeats) -> str:
    """Return a digest of all outcomes; it changes when a retried repeat ends differently."""
    records = {record.key: record for record in repeats.wanted_records}
    return digest_of({key: record.outcome.word if record.outcome else None for key, record in records.items()})


def mention_analyses(comparison: Comparison, num_looks: int) -> Comparison:
    """Add the number of an undeclared analysis to the sentence of a comparison with a p-value, from the second on."""
    if num_looks == 1 or comparison.adjusted_p is None:
        return comparison
    clause = f"This is analysis {num_looks} of these repeats, undeclared: p-values are no longer exact."
    return dataclasses.replace(comparison, sentence=f"{comparison.sentence} {clause}")
