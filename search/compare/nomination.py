"""Compute the three scores of a nominated configuration: selection, corrected and confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.compare.selection_bias import Unknown, correct
from search.data.splits import second_size
from search.journal.comparison import ComparedContender, ComparisonDocument
from search.journal.nominee import NOMINATED, find_contender, find_trial, fresh_scores, nominee_point, state_in
from search.journal.selection import ConfirmedScore, Correction, Expected, Selection
from search.journal.summary import nominees
from search.records import Completed, TrialRecord
from search.significance.means import mean_of_repeats
from search.significance.selection import expected_best_of
from search.study.bind import DataFacts
from search.study.config import SearchSection, StudyConfig

_BUDGETS = (1, 2, 5)
"""The curve is reported at these numbers of trials times each power of ten, and at the number of all trials."""


def select(
    study: StudyConfig,
    records: Sequence[TrialRecord],
    document: ComparisonDocument | None,
    *,
    num_val: int,
    num_classes: int,
    point: Mapping[str, Any] | None = None,
    is_val_fixed: bool = False,
) -> Selection | None:
    """Return the selection, corrected and confirmed score of a configuration.

    The confirmed score is the mean over the repeats of the newest comparison. If there are several finalists and one is
    picked by this mean, the mean is again slightly biased upward; base the claim on the comparisons instead.

    Args:
        study: The study.
        records: All records of the study; repeats are ignored.
        document: The newest comparison; None before a comparison.
        num_val: Number of validation images.
        num_classes: Number of classes; a diverged repeat without a finite checkpoint counts with accuracy 1 /
            num_classes.
        point: The configuration; by default the nominee, see `search.journal.nominee.nominee_point`.
        is_val_fixed: Whether all blocks have the same validation images.

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
    name = contender.name if contender else trial.label if trial else ""
    score = trial.val_accuracy if trial else None
    correction, confirmed = (
        _correct(study, trials, rank, num_val, is_val_fixed),
        _confirm(document, contender, num_classes),
    )
    known = correction if isinstance(correction, Correction) else None
    return Selection(
        name=name,
        trial=trial.number if trial else None,
        sweep_rank=rank,
        state=state_in(document, name) if contender else NOMINATED,
        selection_score=score,
        num_blocks=len(trial.blocks) if trial else 1,
        kept_epoch=trial.kept.epoch if trial and trial.keep == "best" and trial.kept else None,
        corrected_score=score - known.bias if score is not None and known else None,
        correction=known,
        correction_unknown=correction.reason if isinstance(correction, Unknown) else None,
        confirmed_score=confirmed if isinstance(confirmed, ConfirmedScore) else None,
        confirmed_unknown=confirmed.reason if isinstance(confirmed, Unknown) else None,
        expected_highest=_expect(study.search, trials),
    )


def selection_of(
    study: StudyConfig,
    facts: DataFacts,
    records: Sequence[TrialRecord],
    document: ComparisonDocument | None,
    point: Mapping[str, Any] | None = None,
) -> Selection | None:
    """Return the scores of a configuration on a data set, see `select`.

    Args:
        study: The study.
        facts: Properties of the data set.
        records: All records of the study; repeats are ignored.
        document: The newest comparison; None before a comparison.
        point: The configuration; by default the nominee.

    Returns:
        The scores, or None if the sweep has no nominee and no point is given.
    """
    num_val = second_size(facts.num_train, study.split, facts.num_val)
    return select(
        study,
        records,
        document,
        num_val=num_val,
        num_classes=len(facts.classes),
        point=point,
        is_val_fixed=bool(facts.num_val),
    )


def _correct(
    study: StudyConfig, trials: Sequence[TrialRecord], rank: int | None, num_val: int, is_val_fixed: bool
) -> Correction | Unknown:
    if rank is None:
        return Unknown(reason="the sweep did not choose it")
    if rank > 1:
        return Unknown(reason=f"the correction applies to the sweep's first nominee, and this is nominee {rank}")
    return correct(study.folder, trials, num_images=num_val, seed=study.seed, is_val_fixed=is_val_fixed)


def _confirm(
    document: ComparisonDocument | None, contender: ComparedContender | None, num_classes: int
) -> ConfirmedScore | Unknown:
    if contender is None:
        missing = "it is not in the newest comparison" if document else "no comparison yet"
        return Unknown(reason=f"{missing}, run `hybrid-search compare`")
    scores = fresh_scores(contender, chance=1 / num_classes)
    if not scores:
        return Unknown(reason="no repeat has a score, run `hybrid-search compare`")
    mean = mean_of_repeats(np.array(scores))
    return ConfirmedScore(mean=mean.mean, num_repeats=mean.num_repeats, interval=mean.interval)


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
