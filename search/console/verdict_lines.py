"""What is said of several comparisons: one line for all, a sentence for each decided one, the rest in the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MANY = 4
"""Comparisons from which on not every one gets its sentence."""
NUM_NAMED = 4
"""Pairs of one reason that are named."""
SHORT = (
    ("better", "better"),
    ("worse", "worse"),
    ("practically equivalent", "equivalent"),
    ("inconclusive", "open"),
    ("refused", "refused"),
)
"""Verdict -> its word in a count."""


def verdict_lines(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put several comparisons into lines.

    Args:
        comparisons: What `Comparison.to_dict` gives.

    Returns:
        Every sentence of a few; of many the counts, the sentences of the decided ones, and why others cannot be.
    """
    if len(comparisons) < MANY:
        return [item["sentence"] for item in comparisons]
    decided = [item["sentence"] for item in comparisons if is_decided(item["verdict"])]
    return [f"Of {len(comparisons)} comparisons: {counts(comparisons)}.", *decided, *reasons(comparisons)]


def counts(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """How many of each verdict: `3 better, 1 equivalent, 24 open`."""
    verdicts = [item["verdict"] for item in comparisons]
    return ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in SHORT if verdict in verdicts)


def is_decided(verdict: str) -> bool:
    """Whether a verdict says which is better, or that neither is."""
    return verdict not in {"inconclusive", "refused"}


def reasons(comparisons: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Why comparisons are refused, or open in spite of their numbers: a line for each reason."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for item in comparisons:
        if not is_decided(item["verdict"]) and item.get("reason"):
            where = f"{item['dataset']}: " if item.get("dataset") else ""
            pairs.setdefault((item["verdict"], item["reason"]), []).append(f"{where}{item['a']} against {item['b']}")
    for (verdict, reason), named in pairs.items():
        more = f" and {len(named) - NUM_NAMED} more" if len(named) > NUM_NAMED else ""
        yield f"{verdict.capitalize()}, because {reason}: {', '.join(named[:NUM_NAMED])}{more}."
