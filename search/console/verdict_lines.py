"""Verdicts as text: all sentences of a few comparisons, or a summary of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.significance.records import Comparison, Verdict

MANY = 4
"""Number of comparisons from which only a summary is given."""
NUM_NAMED = 4
"""Maximum number of pairs named per reason."""
SHORT = (
    (Verdict.BETTER, "better"),
    (Verdict.WORSE, "worse"),
    (Verdict.EQUIVALENT, "equivalent"),
    (Verdict.INCONCLUSIVE, "open"),
    (Verdict.REFUSED, "refused"),
)
"""Verdict -> its word in a count."""


def verdict_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the verdicts of comparisons as lines.

    Returns:
        The sentence of each comparison if there are few; otherwise the counts, the sentences of decided comparisons,
        and the reasons of the others.
    """
    if len(comparisons) < MANY:
        return [item.sentence for item in comparisons]
    decided = [item.sentence for item in comparisons if is_decided(item.verdict)]
    return [f"Of {len(comparisons)} comparisons: {counts(comparisons)}.", *decided, *reasons(comparisons)]


def counts(comparisons: Sequence[Comparison]) -> str:
    """Count the verdicts: `3 better, 1 equivalent, 24 open`."""
    verdicts = [item.verdict for item in comparisons]
    return ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in SHORT if verdict in verdicts)


def is_decided(verdict: Verdict) -> bool:
    """Return whether a verdict is better, worse or equivalent."""
    return verdict not in {Verdict.INCONCLUSIVE, Verdict.REFUSED}


def reasons(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield one line per reason why comparisons are refused or inconclusive."""
    pairs: dict[tuple[Verdict, str], list[str]] = {}
    for item in comparisons:
        if not is_decided(item.verdict) and item.reason:
            where = f"{item.dataset}: " if item.dataset else ""
            pairs.setdefault((item.verdict, item.reason), []).append(f"{where}{item.a} against {item.b}")
    for (verdict, reason), named in pairs.items():
        more = f" and {len(named) - NUM_NAMED} more" if len(named) > NUM_NAMED else ""
        yield f"{verdict.capitalize()}, because {reason}: {', '.join(named[:NUM_NAMED])}{more}."
