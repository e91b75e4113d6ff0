"""The three scores of a nominated configuration, always reported together: selection, corrected and confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from search.compare.selection_bias import Correction, Unknown, correct
from search.data.splits import second_size
from search.journal.journal import read_records
from search.journal.nominee import NOMINATED, find_contender, find_trial, fresh_scores, nominee_point, state_in
from search.journal.summary import nominees
from search.records import Completed, TrialRecord
from search.significance.means import MeanOfRepeats, mean_of_repeats
from search.significance.selection import expected_best_of
from search.study.bind import DataFacts
from search.study.config import SearchSection, StudyConfig

_BUDGETS = (1, 2, 5)
"""The curve is reported at these numbers of trials times each power of ten, and at the number of all trials."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected best validation accuracy as a function of the number of trials."""

    num_trials: tuple[int, ...]
    val_accuracy: tuple[float, ...]
    """Expected maximum over as many of the completed trials (Tang et al. 2020); biased upward, like every selection
    score."""
    is_exact: bool
    """Whether all trials were independent random draws trained to the end; otherwise the curve is only indicative."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The scores of one configuration."""

    name: str
    trial: int | None
    """Trial number; None for a baseline that the sweep did not find."""
    sweep_rank: int | None
    """Rank among the sweep's nominees, from 1; None for a baseline that the sweep did not find."""
    state: str
    """One of the states that `search.journal.nominee.state_in` returns."""
    selection_score: float | None
    """Validation accuracy of the trial, biased upward because the trial was selected by it; None for a baseline that
    the sweep did not find."""
    correction: Correction | Unknown
    confirmed: MeanOfRepeats | Unknown
    """Mean test accuracy over the repeats of the newest comparison, on blocks that the sweep did not use."""
    expected: Expected | None
    """Expected best score of the sweep; None before the first completed trial."""

    @property
    def corrected_score(self) -> float | None:
        """Selection score minus the estimated selection bias."""
        if self.selection_score is None or isinstance(self.correction, Unknown):
            return None
        return self.selection_score - self.correction.bias


def select(
    study: StudyConfig,
    records: Sequence[TrialRecord],
    document: Mapping[str, Any] | None,
    *,
    num_val: int,
    num_classes: int,
    point: Mapping[str, Any] | None = None,
) -> Selection | None:
    """Return the selection, corrected and confirmed score of a configuration.

    The confirmed score is the mean over the repeats of the newest comparison. If there are several finalists and one is
    picked by this mean, the mean is again slightly biased upward; base the claim on the comparisons instead.

    Args:
        study: The study.
        records: All records of the study; repeats are ignored.
        document: Content of comparison.json; None before a comparison.
        num_val: Number of validation images.
        num_classes: Number of classes; a diverged repeat without a finite checkpoint counts with accuracy 1 /
            num_classes.
        point: The configuration; by default the nominee, see `search.journal.nominee.nominee_point`.

    Returns:
        The scores, or None if the sweep has no nominee and no point is given.
    """
    trials = [record for record in records if record.kind == "trial"]
    ranked = nominees(trials)
    wanted = nominee_point(ranked, document) if point is None else dict(point)
    if wanted is None:
        return None
    trial, contender = find_trial(ranked, wanted), find_contender(document, wanted)
    rank = ranked.index(trial) + 1 if trial else None
    name = contender["name"] if contender else trial.label if trial else ""
    return Selection(
        name=name,
        trial=trial.number if trial else None,
        sweep_rank=rank,
        state=state_in(document, name) if contender else NOMINATED,
        selection_score=trial.val_accuracy if trial else None,
        correction=_correct(study, trials, rank, num_val),
        confirmed=_confirm(document, contender, num_classes),
        expected=_expect(study.search, trials),
    )


def selection_of(
    study: StudyConfig,
    facts: DataFacts,
    document: Mapping[str, Any] | None,
    point: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Read a study's records and return the scores of a configuration as plain data.

    Args:
        study: The study.
        facts: Properties of the data set.
        document: Content of comparison.json; None before a comparison.
        point: The configuration; by default the nominee.

    Returns:
        The scores, or None if the sweep has no nominee and no point is given.
    """
    records = list(read_records(study.folder).values())
    num_val = second_size(facts.num_train, study.split, facts.num_val)
    num_classes = len(facts.classes)
    found = select(study, records, document, num_val=num_val, num_classes=num_classes, point=point)
    return to_dict(found) if found else None


def _correct(study: StudyConfig, trials: Sequence[TrialRecord], rank: int | None, num_val: int) -> Correction | Unknown:
    if rank is None:
        return Unknown(reason="the sweep did not choose it")
    if rank > 1:
        return Unknown(reason=f"the correction applies to the sweep's first nominee, and this is nominee {rank}")
    return correct(study.folder, trials, num_images=num_val, seed=study.seed)


def _confirm(
    document: Mapping[str, Any] | None, contender: Mapping[str, Any] | None, num_classes: int
) -> MeanOfRepeats | Unknown:
    if contender is None:
        missing = "it is not in the newest comparison" if document else "no comparison yet"
        return Unknown(reason=f"{missing}, run `hybrid-search compare`")
    scores = fresh_scores(contender, chance=1 / num_classes)
    if not scores:
        return Unknown(reason="no repeat has a score, run `hybrid-search compare`")
    return mean_of_repeats(np.array(scores))


def _expect(search: SearchSection, trials: Sequence[TrialRecord]) -> Expected | None:
    completed = [record for record in trials if isinstance(record.outcome, Completed)]
    values = [record.val_accuracy for record in completed if record.val_accuracy is not None]
    if not values:
        return None
    highest_K = expected_best_of(np.array(values), replace=False)
    powers = [10**power for power in range(len(str(len(values))))]
    budgets = {factor * power for power in powers for factor in _BUDGETS if factor * power < len(values)}
    num_trials = (*sorted(budgets), len(values))
    return Expected(
        num_trials=num_trials,
        val_accuracy=tuple(float(highest_K[count - 1]) for count in num_trials),
        is_exact=search.sampler == "random" and not search.enqueue and len(values) == len(trials),
    )


def to_dict(selection: Selection) -> dict[str, Any]:
    """Return the scores as a JSON-safe dictionary."""
    correction, mean = selection.correction, selection.confirmed
    return {
        "name": selection.name,
        "trial": selection.trial,
        "sweep_rank": selection.sweep_rank,
        "state": selection.state,
        "selection_score": selection.selection_score,
        "corrected_score": selection.corrected_score,
        "correction": None if isinstance(correction, Unknown) else asdict(correction),
        "correction_unknown": correction.reason if isinstance(correction, Unknown) else None,
        "confirmed_score": None if isinstance(mean, Unknown) else _mean(mean),
        "confirmed_unknown": mean.reason if isinstance(mean, Unknown) else None,
        "expected_highest": asdict(selection.expected) if selection.expected else None,
    }


def _mean(mean: MeanOfRepeats) -> dict[str, Any]:
    interval = asdict(mean.interval) if mean.interval else None
    return {"mean": mean.mean, "num_repeats": mean.num_repeats, "interval": interval}
