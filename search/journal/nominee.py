"""Who is nominated and which configuration is exported: the one rule that every command asks.

Status, comparison, report, export, MLflow and the model card all call `choose`. Nothing is called confirmed before
every declared comparison with it found it better, nor without what that confirmation lacks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.journal.summary import nominees
from search.records import TrialRecord
from search.significance.declared import THIS_DATA
from search.significance.records import Verdict

CONFIRMED = "confirmed"
"""Every declared comparison with it found it better, on fresh blocks."""
PROVISIONAL = "confirmed, provisionally"
"""So, but on few repeats."""
ON_THESE_IMAGES = "confirmed on these images"
"""So, but of further repeats on this very data set, not of new data of this kind."""
OF_SEVERAL = "confirmed, but for false discoveries"
"""So, but of several comparisons of which a share alpha may be false: the family-wise error rate was not held."""
LOOKED = "confirmed, at look {}"
"""So, but the repeats were looked at before: p-values are no longer exact."""
NOMINATED = "nominated, not confirmed"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The configuration that `export` writes by default, and that every command names."""

    name: str
    """As in the comparison; the trial's label where no comparison holds it."""
    point: Mapping[str, Any]
    trial: int | None
    """Number of the sweep's trial of this point; None for a baseline that the sweep did not find."""
    is_compared: bool
    """Whether the newest comparison holds it."""
    state: str
    """As of `state_of`."""
    notes: tuple[str, ...]
    """Warnings, one line each: another configuration has a higher mean, or the nominee was never compared."""

    @property
    def is_confirmed(self) -> bool:
        """Whether it beat every configuration that it had to beat."""
        return self.state != NOMINATED

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"name": self.name, "trial": self.trial, "state": self.state, "notes": list(self.notes)}


def choose(trials: Sequence[TrialRecord], document: Mapping[str, Any] | None) -> Choice | None:
    """Choose a study's configuration: a confirmed winner of the newest comparison, else the nominee.

    A configuration wins if every declared comparison that it is part of found it better. A baseline that the sweep did
    not nominate must also have beaten a finalist: a comparison among baselines says nothing about the sweep. Of several
    winners the one with the highest mean test accuracy is chosen, of equals the one with the lowest trial number.

    Args:
        trials: All trials of the sweep.
        document: What comparison.json holds; None before a comparison.

    Returns:
        The choice, or None where the sweep has nominated nothing.
    """
    ranked = nominees(trials)
    nominated = nominee_point(ranked, document)
    if nominated is None:
        return None
    contenders = _contenders(document)
    winners = [item for item in contenders if document and _is_winner(document, item, nominated)]
    point = min(winners, key=lambda item: _rank(document, item, ranked))["point"] if winners else nominated
    contender, trial = find_contender(document, point), find_trial(ranked, point)
    name = contender["name"] if contender else trial.label if trial else ""
    return Choice(
        name=name,
        point=dict(point),
        trial=trial.number if trial else None,
        is_compared=contender is not None,
        state=state_in(document, name) if contender else NOMINATED,
        notes=tuple(_notes(ranked, document, contender)),
    )


def nominee_point(ranked: Sequence[TrialRecord], document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The point that the sweep nominates; after a race that it took part in, the point that survived the race.

    Args:
        ranked: The sweep's trials in the order of `status.nominees`.
        document: What comparison.json holds; None before a comparison.
    """
    if not ranked:
        return None
    race = document.get("race") if document else None
    raced = {item["name"]: item["point"] for item in race["contenders"]} if race else {}
    nominated = dict(ranked[0].point)
    return dict(raced[race["survivor"]]) if race and nominated in raced.values() else nominated


def find_trial(ranked: Sequence[TrialRecord], point: Mapping[str, Any]) -> TrialRecord | None:
    """The sweep's trial of a point."""
    return next((record for record in ranked if dict(record.point) == dict(point)), None)


def find_contender(document: Mapping[str, Any] | None, point: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The configuration of the newest comparison that is a point, finalist or baseline."""
    return next((item for item in _contenders(document) if item["point"] == dict(point)), None)


def comparisons_of(document: Mapping[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """The declared comparisons that a configuration is part of."""
    return [item for item in document["comparisons"] if name in {item["a"], item["b"]}] if document else []


def _contenders(document: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = document["contenders"] if document else ()
    return found


def _is_winner(document: Mapping[str, Any], contender: Mapping[str, Any], nominated: Mapping[str, Any]) -> bool:
    name = contender["name"]
    if state_in(document, name) == NOMINATED:
        return False
    finalists = {item["name"] for item in document["contenders"] if item["finalist"]}
    faced = {item[side] for item in comparisons_of(document, name) for side in ("a", "b")}
    return bool(faced & finalists) or contender["point"] == nominated


def state_of(comparisons: Sequence[Mapping[str, Any]], name: str, *, num_looks: int) -> str:
    """Say what the declared comparisons make of a configuration.

    Args:
        comparisons: All of a comparison document; those without it are passed over.
        name: The configuration.
        num_looks: How often somebody has looked at what was judged, this time included.

    Returns:
        NOMINATED or CONFIRMED; or CONFIRMED with all that it lacks, in the words of ON_THESE_IMAGES, PROVISIONAL,
        OF_SEVERAL and LOOKED, in this order: "confirmed on these images, provisionally, at look 2".
    """
    own = [item for item in comparisons if name in {item["a"], item["b"]}]
    if not own or not all(has_won(item, name) for item in own):
        return NOMINATED
    lacks = (
        (ON_THESE_IMAGES, any(item["estimand"] == THIS_DATA for item in own)),
        (PROVISIONAL, any(item["provisional"] for item in own)),
        (OF_SEVERAL, any(item["adjust_method"] == "bh" and item["family_size"] > 1 for item in own)),
        (LOOKED.format(num_looks), num_looks > 1),
    )
    return CONFIRMED + "".join(words.removeprefix(CONFIRMED) for words, holds in lacks if holds)


def has_won(comparison: Mapping[str, Any], name: str) -> bool:
    """Whether a comparison found the configuration better."""
    return bool(comparison["verdict"] == (Verdict.BETTER if comparison["a"] == name else Verdict.WORSE))


def state_in(document: Mapping[str, Any] | None, name: str) -> str:
    """What the newest comparison makes of a configuration; see `state_of`."""
    return state_of(document["comparisons"], name, num_looks=document.get("num_looks", 1)) if document else NOMINATED


def fresh_scores(contender: Mapping[str, Any], *, chance: float) -> list[float]:
    """Test accuracies of a contender's repeats; one that diverged and left nothing counts as chance."""
    return [
        chance if run["test_accuracy"] is None else run["test_accuracy"]
        for run in contender["repeats"]
        if run["test_accuracy"] is not None or run["diverged_in_epoch"] is not None
    ]


def _mean(document: Mapping[str, Any] | None, contender: Mapping[str, Any]) -> float:
    """Mean test accuracy; minus infinity without a scored repeat."""
    num_classes = document.get("data", {}).get("num_classes") if document else None
    scores = fresh_scores(contender, chance=1 / num_classes if num_classes else 0.0)
    return sum(scores) / len(scores) if scores else -math.inf


def _rank(
    document: Mapping[str, Any] | None, contender: Mapping[str, Any], ranked: Sequence[TrialRecord]
) -> tuple[float, float]:
    trial = find_trial(ranked, contender["point"])
    return -_mean(document, contender), trial.number if trial else math.inf


def _notes(
    ranked: Sequence[TrialRecord], document: Mapping[str, Any] | None, chosen: Mapping[str, Any] | None
) -> list[str]:
    """Configurations that beat the chosen one or have a higher mean, and a nominee that was never compared."""
    if document is None:
        return []
    notes = []
    if chosen is not None:
        name, mean = chosen["name"], _mean(document, chosen)
        others = [item for item in document["contenders"] if item is not chosen and _mean(document, item) > mean]
        if others:
            other = min(others, key=lambda item: _rank(document, item, ranked))
            notes.append(
                f"{other['name']} has a higher mean test accuracy ({100 * _mean(document, other):.2f} % against "
                f"{100 * mean:.2f} %); the declared comparisons do not make it the winner"
            )
        for item in comparisons_of(document, name):
            rival = item["b"] if item["a"] == name else item["a"]
            if has_won(item, rival):
                notes.append(f"{rival} was found better than {name}, but not than all that it was compared with")
    raced = document["race"]["contenders"] if "race" in document else ()
    known = [item["point"] for item in (*document["contenders"], *raced)]
    if dict(ranked[0].point) not in known:
        notes.append(
            f"the sweep now nominates {ranked[0].label}, which the newest comparison does not hold; run "
            "`hybrid-search compare` again"
        )
    return notes
