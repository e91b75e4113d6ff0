"""Put what a comparison decides into words: which configuration to use now, and what would settle an open question.

`decision_of` is the only such rule. It adds no judgement of its own: whether a configuration is confirmed is decided by
`search.journal.nominee`, and every number is one that the judge stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.journal.comparison import Choice, ComparisonDocument
from search.journal.nominee import CONFIRMED, comparisons_of, has_won
from search.significance.records import Comparison, Verdict
from search.significance.settling import can_be_planned, what_settles


def decision_of(choice: Choice | None, document: ComparisonDocument | None) -> str | None:
    """Return what a comparison decides.

    A confirmed configuration is used. Otherwise the baselines that beat it are kept, else those that it did not beat;
    never one that another of them beat.

    Args:
        choice: The configuration that the study reports, as `choose_reported` returns it.
        document: The newest comparison.

    Returns:
        One clause without a full stop, such as `keep ecrnn/cnn; 55 repeats would settle 0.5 points`; None if the
        choice was not compared.
    """
    own = comparisons_of(document, choice.name) if choice else ()
    if choice is None or document is None or not own:
        return None
    if choice.state.startswith(CONFIRMED):
        return f"use {choice.name}: {choice.state}"
    finalists = {item.name for item in document.contenders if item.finalist}
    unbeaten = [item for item in own if not has_won(item, choice.name)]
    names = list(dict.fromkeys([choice.name, *(name for item in unbeaten for name in (item.a, item.b))]))
    better = [name for name in names if any(has_won(item, name) for item in unbeaten)]
    # Other finalists are as unconfirmed as the choice, so that only baselines are kept, and of these the unbeaten.
    baselines = [name for name in names if name not in finalists]
    beaten = {name for name in baselines if any(_is_beaten(name, item, baselines) for item in document.comparisons)}
    kept = [name for name in better if name in baselines and name not in beaten]
    if kept:
        return f"keep {_listed(kept, 'or')}, better than {choice.name}"
    kept = [name for name in baselines if name not in beaten]
    if {item.verdict for item in unbeaten} == {Verdict.EQUIVALENT}:
        return f"{_listed(names, 'and')} are practically equivalent; take the smaller or faster"
    if better and not kept:
        return f"no confirmed choice; {_listed(better, 'and')} better than {choice.name}"
    why = _why(unbeaten)
    return f"keep {_listed(kept, 'or')}{why}" if kept else f"no choice between {_listed(names, 'and')}{why}"


def _is_beaten(name: str, item: Comparison, by: Sequence[str]) -> bool:
    """Return whether a comparison found one of some configurations better than another."""
    return name in (item.a, item.b) and any(rival != name and has_won(item, rival) for rival in by)


def _why(unbeaten: Sequence[Comparison]) -> str:
    """Return why no configuration won, as the end of a decision."""
    undecided = [item for item in unbeaten if item.verdict in {Verdict.INCONCLUSIVE, Verdict.REFUSED}]
    # Else the number would be that of a part, or of repeats that are not what keeps the verdict open.
    if undecided and all(can_be_planned(item) and item.reason is None for item in undecided):
        return f"; {what_settles(undecided)}"
    reason = next((item.reason for item in unbeaten if item.reason), None)
    return f"; no verdict, because {reason}" if reason else "; the difference is not significant"


def _listed(names: Sequence[str], word: str) -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last
