"""Decide which configuration a study nominates and exports, and whether it is confirmed.

`choose_reported` is the only such rule; status, comparison, report, export, MLflow and the model card call it. A
configuration is confirmed only if every declared comparison found it better; its state names each limitation of the
confirmation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.journal.comparison import Choice, ComparedContender, ComparisonDocument
from search.journal.summary import nominees
from search.records import TrialRecord
from search.significance.declared import THIS_DATA
from search.significance.records import Comparison, Verdict

CONFIRMED = "confirmed"
"""Every declared comparison of the configuration found it better, on fresh blocks."""
PROVISIONAL = "confirmed, provisionally"
"""Confirmed, but on few repeats."""
ON_THESE_IMAGES = "confirmed on these images"
"""Confirmed for further repeats on this data set, not for new data of the same kind."""
OF_SEVERAL = "confirmed, but for false discoveries"
"""Confirmed under false discovery rate control: a share alpha of the comparisons may be false positives."""
LOOKED = "confirmed, at undeclared analysis {}"
"""Confirmed after earlier, undeclared analyses of the same repeats, so the p-values are not exact."""
NOMINATED = "nominated, not confirmed"


def choose_reported(trials: Sequence[TrialRecord], document: ComparisonDocument | None) -> Choice | None:
    """Return the configuration that a study reports, with its state and notes.

    Args:
        trials: All trials of the sweep.
        document: The newest comparison; None before a comparison.

    Returns:
        The choice; None if the sweep has nominated nothing.
    """
    point = chosen_point(trials, document)
    if point is None:
        return None
    ranked = nominees(trials)
    contender, trial = find_contender(document, point), find_trial(ranked, point)
    name = contender.name if contender else trial.label if trial else ""
    return Choice(
        name=name,
        trial=trial.number if trial else None,
        state=state_in(document, name) if contender else NOMINATED,
        notes=tuple(_notes(ranked, document, contender)),
    )


def chosen_point(trials: Sequence[TrialRecord], document: ComparisonDocument | None) -> dict[str, Any] | None:
    """Return the point that a study reports: of a confirmed winner of the newest comparison, else of the nominee.

    A configuration wins if every declared comparison that it is part of found it better. A baseline that the sweep did
    not nominate must also have beaten a finalist, because a comparison of baselines says nothing about the sweep. Among
    several winners the highest mean test accuracy decides, then the lowest trial number.

    Args:
        trials: All trials of the sweep.
        document: The newest comparison; None before a comparison.

    Returns:
        The point; None if the sweep has nominated nothing.
    """
    ranked = nominees(trials)
    nominated = nominee_point(ranked, document)
    if nominated is None or document is None:
        return nominated
    winners = [item for item in document.contenders if _is_winner(document, item, nominated)]
    return dict(min(winners, key=lambda item: _rank(document, item, ranked)).point) if winners else nominated


def nominee_point(ranked: Sequence[TrialRecord], document: ComparisonDocument | None) -> dict[str, Any] | None:
    """Return the point that the sweep nominates, or the survivor of a race that it took part in.

    Args:
        ranked: The sweep's trials in the order of `summary.nominees`.
        document: The newest comparison; None before a comparison.

    Returns:
        The point; None if there are no trials.
    """
    if not ranked:
        return None
    race = document.race if document else None
    raced = {item.name: dict(item.point) for item in race.contenders} if race else {}
    nominated = dict(ranked[0].point)
    return raced[race.survivor] if race and nominated in raced.values() else nominated


def find_trial(ranked: Sequence[TrialRecord], point: Mapping[str, Any]) -> TrialRecord | None:
    """Return the first ranked trial with a point; None if there is none."""
    return next((record for record in ranked if dict(record.point) == dict(point)), None)


def find_contender(document: ComparisonDocument | None, point: Mapping[str, Any]) -> ComparedContender | None:
    """Return the finalist or baseline of the newest comparison with a point; None if there is none."""
    contenders = document.contenders if document else ()
    return next((item for item in contenders if dict(item.point) == dict(point)), None)


def comparisons_of(document: ComparisonDocument | None, name: str) -> tuple[Comparison, ...]:
    """Return the declared comparisons that a configuration is part of."""
    return tuple(item for item in document.comparisons if name in {item.a, item.b}) if document else ()


def _is_winner(document: ComparisonDocument, contender: ComparedContender, nominated: Mapping[str, Any]) -> bool:
    if state_in(document, contender.name) == NOMINATED:
        return False
    finalists = {item.name for item in document.contenders if item.finalist}
    faced = {name for item in comparisons_of(document, contender.name) for name in (item.a, item.b)}
    return bool(faced & finalists) or dict(contender.point) == nominated


def state_of(comparisons: Sequence[Comparison], name: str, *, num_looks: int) -> str:
    """Return what the declared comparisons conclude about a configuration.

    Args:
        comparisons: All comparisons of a document; those without the configuration are ignored.
        name: Name of the configuration.
        num_looks: Number of analyses of these repeats so far, including this one.

    Returns:
        NOMINATED or CONFIRMED. CONFIRMED is followed by each limitation that applies, in the order ON_THESE_IMAGES,
        PROVISIONAL, OF_SEVERAL, LOOKED: "confirmed on these images, provisionally, at undeclared analysis 2".
    """
    own = [item for item in comparisons if name in {item.a, item.b}]
    if not own or not all(has_won(item, name) for item in own):
        return NOMINATED
    lacks = (
        (ON_THESE_IMAGES, any(item.estimand == THIS_DATA for item in own)),
        (PROVISIONAL, any(item.provisional for item in own)),
        (OF_SEVERAL, any(item.adjust_method == "bh" and item.family_size > 1 for item in own)),
        (LOOKED.format(num_looks), num_looks > 1),
    )
    return CONFIRMED + "".join(words.removeprefix(CONFIRMED) for words, holds in lacks if holds)


def has_won(comparison: Comparison, name: str) -> bool:
    """Return whether a comparison found the configuration better; False if it is not one of the two."""
    if name not in (comparison.a, comparison.b):
        return False
    return comparison.verdict is (Verdict.BETTER if comparison.a == name else Verdict.WORSE)


def state_in(document: ComparisonDocument | None, name: str) -> str:
    """Return what the newest comparison concludes about a configuration; see `state_of`."""
    return state_of(document.comparisons, name, num_looks=document.num_looks) if document else NOMINATED


def fresh_scores(contender: ComparedContender, *, chance: float) -> list[float]:
    """Return the test accuracies of a contender's repeats; a diverged repeat without one scores `chance`."""
    return [
        chance if run.test_accuracy is None else run.test_accuracy
        for run in contender.repeats
        if run.test_accuracy is not None or run.diverged_in_epoch is not None
    ]


def _mean(document: ComparisonDocument | None, contender: ComparedContender) -> float:
    """Return the mean test accuracy; minus infinity without a scored repeat."""
    num_classes = document.data.num_classes if document else None
    scores = fresh_scores(contender, chance=1 / num_classes if num_classes else 0.0)
    return sum(scores) / len(scores) if scores else -math.inf


def _rank(
    document: ComparisonDocument | None, contender: ComparedContender, ranked: Sequence[TrialRecord]
) -> tuple[float, float]:
    trial = find_trial(ranked, contender.point)
    return -_mean(document, contender), trial.number if trial else math.inf


def _notes(
    ranked: Sequence[TrialRecord], document: ComparisonDocument | None, chosen: ComparedContender | None
) -> list[str]:
    """Return warnings: rivals that are better or have a higher mean, and a nominee that was never compared."""
    if document is None:
        return []
    notes = []
    if chosen is not None:
        mean = _mean(document, chosen)
        others = [item for item in document.contenders if item is not chosen and _mean(document, item) > mean]
        if others:
            other = min(others, key=lambda item: _rank(document, item, ranked))
            notes.append(
                f"{other.name} has a higher mean test accuracy ({100 * _mean(document, other):.2f} % against "
                f"{100 * mean:.2f} %), but it did not win its declared comparisons"
            )
        for item in comparisons_of(document, chosen.name):
            rival = item.b if item.a == chosen.name else item.a
            if has_won(item, rival):
                notes.append(
                    f"{rival} was better than {chosen.name}, but not than every configuration it was compared with"
                )
    raced = document.race.contenders if document.race else ()
    known = [dict(item.point) for item in document.contenders] + [dict(item.point) for item in raced]
    if dict(ranked[0].point) not in known:
        choose = document.declared.choose if document.declared else None
        notes.append(
            f"the sweep now nominates {ranked[0].label}, which the newest comparison does not contain; run "
            "`hybrid-search compare` again"
            if choose is None
            else f"the sweep nominates {ranked[0].label}, but compare.choose {choose} chose other "
            "finalists; if the sweep has gone on since, run `hybrid-search compare` again"
        )
    return notes
