"""Which comparison it is, and how often somebody has looked at what a study's repeats came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from search.compare.repeats import Repeats
from search.journal.journal import Journal, read_events
from search.records import digest_of
from search.significance.records import Comparison
from search.study.config import StudyConfig


def key_of(study: StudyConfig, repeats: Repeats, raced: Sequence[str] = ()) -> str:
    """Name a comparison by its contenders, blocks and settings; names, order and outcomes are no part of it.

    Args:
        study: The study.
        repeats: What was judged.
        raced: Keys of the repeats that decided who was judged, if a race did.
    """
    contenders = sorted(
        [str(contender.is_finalist), *(repeats.keys[contender.name, block.name] for block in repeats.blocks)]
        for contender in repeats.contenders
    )
    settings = study.compare.model_dump(mode="json", include={"family", "alpha", "rope"})
    # What is as it always was leaves the keys of earlier comparisons alone.
    later = study.compare.model_dump(mode="json", include={"estimand", "adjust"}, exclude_defaults=True)
    return digest_of({"contenders": contenders, **settings, **later, **({"raced": sorted(raced)} if raced else {})})


@dataclass(frozen=True, kw_only=True)
class Look:
    """One time that somebody saw what the repeats of a study came to."""

    number: int
    """From 1."""
    seen: str
    """Digest of what was there to be judged."""
    is_new: bool
    """Not yet in the journal: these outcomes were not seen before."""


def take_look(journal: Journal, key: str, repeats: Repeats) -> Look:
    """Count the looks at a study: the same comparison of the same outcomes again is no new one.

    A race looks at the blocks of a comparison, as one look; blocks that confirm its survivor it has not seen.
    """
    seen = _digest_outcomes(repeats)
    known = [
        (event.get("key"), event.get("seen"))
        for event in read_events(journal.path)
        if (event["event"] == "comparison" and event.get("purpose", "compare") == repeats.purpose)
        or (event["event"] == "race" and repeats.purpose == "compare")
    ]
    is_new = (key, seen) not in known
    number = len(known) + 1 if is_new else known.index((key, seen)) + 1
    return Look(number=number, seen=seen, is_new=is_new)


def _digest_outcomes(repeats: Repeats) -> str:
    """What was there to be judged: a repeat that is tried again and ends otherwise makes it something new."""
    records = {record.key: record for record in repeats.wanted_records}
    return digest_of({key: record.outcome.word if record.outcome else None for key, record in records.items()})


def mention_looks(comparison: Comparison, num_looks: int) -> Comparison:
    """Say in the sentence that the blocks were looked at before, where there is a p-value that suffers from it."""
    if num_looks == 1 or comparison.adjusted_p is None:
        return comparison
    clause = f"This is look number {num_looks} at this study: p-values are no longer exact."
    return dataclasses.replace(comparison, sentence=f"{comparison.sentence} {clause}")
