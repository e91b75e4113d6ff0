"""Identify a comparison and count the interim analyses of a study's repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from search.compare.repeats import Repeats
from search.journal.journal import Journal
from search.records import digest_of
from search.significance.records import Comparison
from search.study.config import StudyConfig


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
    return digest_of({"contenders": contenders, **settings, **later, **({"raced": sorted(raced)} if raced else {})})


@dataclass(frozen=True, kw_only=True)
class Look:
    """One interim analysis: a point at which the outcomes of a study's repeats were analysed."""

    number: int
    """Number of this analysis, from 1."""
    seen: str
    """Digest of the analysed outcomes."""
    is_new: bool
    """Whether the journal has no analysis of the same outcomes yet."""


def take_look(journal: Journal, key: str, repeats: Repeats) -> Look:
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
    return Look(number=number, seen=seen, is_new=is_new)


def _digest_outcomes(repeats: Repeats) -> str:
    """Return a digest of all outcomes; it changes when a retried repeat ends differently."""
    records = {record.key: record for record in repeats.wanted_records}
    return digest_of({key: record.outcome.word if record.outcome else None for key, record in records.items()})


def mention_looks(comparison: Comparison, num_looks: int) -> Comparison:
    """Add the number of the interim analysis to the sentence of a comparison with a p-value, from the second one on."""
    if num_looks == 1 or comparison.adjusted_p is None:
        return comparison
    clause = f"This is look number {num_looks} at this study: p-values are no longer exact."
    return dataclasses.replace(comparison, sentence=f"{comparison.sentence} {clause}")
