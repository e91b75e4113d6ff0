"""Decide which configuration a study nominates and exports, and whether it is confirmed.

`choose` is the only such rule; status, comparison, report, export, MLflow and the model card call it. A configuration
is confirmed only if every declared comparison found it better; its state names each limitation of the confirmation.
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
"""Every declared comparison of the configuration found it better, on fresh blocks."""
PROVISIONAL = "confirmed, provisionally"
"""Confirmed, but on few repeats."""
ON_THESE_IMAGES = "confirmed on these images"
"""Confirmed for further repeats on this data set, not for new data of the same kind."""
OF_SEVERAL = "confirmed, but for false discoveries"
"""Confirmed under false discovery rate control: a share alpha of the comparisons may be false positives."""
LOOKED = "confirmed, at interim analysis {}"
"""Confirmed after earlier interim analyses of the same repeats, so the p-values are not exact."""
NOMINATED = "nominated, not confirmed"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The configuration that every command reports and that `export` writes by default."""

    name: str
    """Name in the comparison, or the trial's label if no comparison contains the configuration."""
    point: Mapping[str, Any]
    trial: int | None
    """Number of the sweep's trial with this point; None for a baseline that is not a trial of the sweep."""
    state: str
    """State as returned by `state_of`."""
    notes: tuple[str, ...]
    """Warnings, one line each, for example that another configuration has a higher mean."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the configuration won all of its declared comparisons."""
        return self.state != NOMINATED

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON-compatible data, without its point."""
        return {"name": self.name, "trial": self.trial, "state": self.state, "notes": list(self.notes)}


def choose(trials: Sequence[TrialRecord], document: Mapping[str, Any] | None) -> Choice | None:
    """Return the configuration that a study reports: a confirmed winner of the newest comparison, else the nominee.

    A configuration wins if every declared comparison that it is part of found it better. A baseline that the sweep did
    not nominate must also have beaten a finalist, because a comparison of baselines says nothing about the sweep. Among
    several winners the highest mean test accuracy decides, then the lowest trial number.

    Args:
        trials: All trials of the sweep.
        document: Content of comparison.json; None before a comparison.

    Returns:
        The choice; None if the sweep has nominated nothing.
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
        state=state_in(document, name) if contender else NOMINATED,
        notes=tuple(_notes(ranked, document, contender)),
    )


def nominee_point(ranked: Sequence[TrialRecord], document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the point that the sweep nominates, or the survivor of a race that it took part in.

    Args:
        ranked: The sweep's trials in the order of `summary.nominees`.
        document: Content of comparison.json; None before a comparison.

    Returns:
        The point; None if there are no trials.
    """
    if not ranked:
        return None
    race = document.get("race") if document else None
    raced = {item["name"]: item["point"] for item in race["contenders"]} if race else {}
    nominated = dict(ranked[0].point)
    return dict(raced[race["survivor"]]) if race and nominated in raced.values() else nominated


def find_trial(ranked: Sequence[TrialRecord], point: Mapping[str, Any]) -> TrialRecord | None:
    """Return the first ranked trial with a point; None if there is none."""
    return next((record for record in ranked if dict(record.point) == dict(point)), None)


def find_contender(document: Mapping[str, Any] | None, point: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the finalist or baseline of the newest comparison with a point; None if there is none."""
    return next((item for item in _contenders(document) if item["point"] == dict(point)), None)


def comparisons_of(document: Mapping[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Return the declared comparisons that a configuration is part of."""
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
    """Return what the declared comparisons conclude about a configuration.

    Args:
        comparisons: All comparisons of a document; those without the configuration are ignored.
        name: Name of the configuration.
        num_looks: Number of analyses of these repeats so far, including this one.

    Returns:
        NOMINATED or CONFIRMED. CONFIRMED is followed by each limitation that applies, in the order ON_THESE_IMAGES,
        PROVISIONAL, OF_SEVERAL, LOOKED: "confirmed on these images, provisionally, at interim analysis 2".
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
    """Return whether a comparison found the configuration better."""
    return bool(comparison["verdict"] == (Verdict.BETTER if comparison["a"] == name else Verdict.WORSE))


def state_in(document: Mapping[str, Any] | None, name: str) -> str:
    """Return what the newest comparison concludes about a configuration; see `state_of`."""
    return state_of(document["comparisons"], name, num_looks=document.get("num_looks", 1)) if document else NOMINATED


def fresh_scores(contender: Mapping[str, Any], *, chance: float) -> list[float]:
    """Return the test accuracies of a contender's repeats; a diverged repeat without one scores `chance`."""
    return [
        chance if run["test_accuracy"] is None else run["test_accuracy"]
        for run in contender["repeats"]
        if run["test_accuracy"] is not None or run["diverged_in_epoch"] is not None
    ]


def _mean(document: Mapping[str, Any] | None, contender: Mapping[str, Any]) -> float:
    """Return the mean test accuracy; minus infinity without a scored repeat."""
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
    """Return warnings: rivals that are better or have a higher mean, and a nominee that was never compared."""
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
                f"{100 * mean:.2f} %), but it did not win its declared comparisons"
            )
        for item in comparisons_of(document, name):
            rival = item["b"] if item["a"] == name else item["a"]
            if has_won(item, rival):
                notes.append(f"{rival} was better than {name}, but not than every configuration it was compared with")
    raced = document["race"]["contenders"] if "race" in document else ()
    known = [item["point"] for item in (*document["contenders"], *raced)]
    if dict(ranked[0].point) not in known:
        notes.append(
            f"the sweep now nominates {ranked[0].label}, which the newest comparison does not contain; run "
            "`hybrid-search compare` again"
        )
    return notes
