"""Brings Optuna's study to the state of the journal: outcomes told, lost trials put back, wrong ones written again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import ProposalsError
from search.proposals import known_trials, rewrite
from search.reconcile import Cure, Difference, curve_in_optuna, optuna_differences, state_in_optuna
from search.records import Completed, EpochMetrics, Failed, Outcome, Stopped, TrialRecord
from spaces.domains import Choice, Domain, Fixed, Float, Int
from spaces.space import Space

if TYPE_CHECKING:
    import optuna

NUM_MENDS = 3
"""Attempts to bring the study to the state of the journal: a connection may break in the middle of one."""
MANY = 20
NOT_KNOWN = ("rejected", "not in the journal")
"""Marks a lost proposal that was no trial: it keeps its place, so that the next ones are drawn as before."""


def tell_outcome(
    study: optuna.Study,
    trial: optuna.Trial | int,
    curve: Iterable[EpochMetrics],
    outcome: Outcome,
    *,
    twin: str | None = None,
) -> None:
    """Tell Optuna what became of a trial; nothing changes if it knows.

    Args:
        study: The study.
        trial: As it was asked for, or the number of one of an earlier process.
        curve: Its epochs.
        outcome: How it ended.
        twin: Key of the record that this is the training of, where another point began it.
    """
    import optuna

    state = optuna.trial.TrialState
    known: Mapping[int, float] = {}
    if isinstance(trial, int):
        frozen = study.get_trials(deepcopy=False)[trial]
        if frozen.state.is_finished():
            return
        # Reports need the object (optuna has no public way back to it).
        trial, known = optuna.Trial(study, frozen._trial_id), frozen.intermediate_values  # noqa: SLF001
    metrics = tuple(curve)
    for epoch in metrics:
        if epoch.val_accuracy is not None and epoch.epoch not in known:
            trial.report(epoch.val_accuracy, epoch.epoch)
    if twin is not None:
        trial.set_user_attr("twin", twin)
    match outcome:
        case Completed() if metrics and metrics[-1].val_accuracy is not None:
            study.tell(trial, metrics[-1].val_accuracy)
        case Stopped():
            study.tell(trial, state=state.PRUNED)
        case Failed(reason=reason):
            trial.set_user_attr("reason", reason)
            study.tell(trial, state=state.FAIL)
        case _:
            study.tell(trial, state=state.FAIL)


def mend_study(
    study: optuna.Study,
    storage: Path | str,
    space: Space,
    records: Mapping[str, TrialRecord],
    *,
    say: Callable[[str], None],
    check: Callable[[], None],
) -> tuple[optuna.Study, list[Difference]]:
    """Mend whatever differs from the journal.

    Args:
        study: Optuna's study.
        storage: Where it lies.
        space: Its points.
        records: The sweep's trials, by key.
        say: Told of a database that is away for a while.
        check: Called while it is waited for; what it raises ends that.

    Returns:
        The study, opened again if it had to be written again, and what differed.

    Raises:
        ProposalsError: It does not take what the journal says.
    """
    found = differences = optuna_differences(records, known_trials(study))
    for _ in range(NUM_MENDS):
        if not differences:
            return study, found
        cures = Counter(item.cure for item in differences)
        # One trial after the other into a file takes milliseconds each, all at once as well.
        if cures[Cure.REWRITE] or (isinstance(storage, Path) and cures[Cure.ADD] > MANY):
            study = rewrite(study, storage, _all_restored(study, space, records, differences), say=say, check=check)
        else:
            _mend_in_place(study, space, records, differences)
        differences = optuna_differences(records, known_trials(study))
    if not differences:
        return study, found
    first = differences[0]
    raise ProposalsError(
        f"Optuna's study {study.study_name}: {first.trial} is {first.journal} in the journal and {first.found} there, "
        "and cannot be mended; move the study's data away, then run the same command again"
    )


def _mend_in_place(
    study: optuna.Study, space: Space, records: Mapping[str, TrialRecord], differences: Sequence[Difference]
) -> None:
    import optuna

    state = optuna.trial.TrialState
    trials = study.get_trials(deepcopy=False)
    wanted = {record.number: record for record in records.values()}
    end = max(wanted, default=-1) + 1
    while study.get_trials(deepcopy=False, states=(state.WAITING,)):
        study.tell(study.ask(), state=state.FAIL)  # enqueued, never proposed
    for item in differences:
        assert item.number is not None
        if item.cure is Cure.TELL:
            record = wanted.get(item.number) or records[trials[item.number].user_attrs["twin"]]
            assert record.outcome is not None
            tell_outcome(study, item.number, record.curve, record.outcome)
        elif item.cure is Cure.DROP and trials[item.number].state is state.RUNNING:
            if item.number < end:
                optuna.Trial(study, trials[item.number]._trial_id).set_user_attr(*NOT_KNOWN)  # noqa: SLF001
            study.tell(item.number, state=state.FAIL)
    for number in range(len(trials), end):
        study.add_trial(_make_trial(wanted[number], space) if number in wanted else _unknown())


def _all_restored(
    study: optuna.Study, space: Space, records: Mapping[str, TrialRecord], differences: Sequence[Difference]
) -> list[optuna.trial.FrozenTrial]:
    """Every trial as it should be, by number: the wrong ones of the journal, the others as they are."""
    wanted = {record.number: record for record in records.values()}
    held = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    faulty = {item.number for item in differences}
    # A lost answer makes a trial twice: the second one is no proposal.
    known = {space.point(record.point).digest for record in records.values()}
    trials = []
    for number in range(max((*wanted, *held)) + 1):
        trial, record = held.get(number), wanted.get(number)
        if trial is not None and number not in faulty:
            trials.append(trial)
        elif record is not None:
            trials.append(_make_trial(record, space))
        elif trial is not None and trial.user_attrs.get("digest", "") not in {"", *known}:
            trials.append(_begun_again(trial, space, records.get(trial.user_attrs.get("twin", ""))))
        elif number < max(wanted, default=-1):
            trials.append(_unknown())
        else:
            trials.append(_frozen("FAIL"))
    return trials


def _make_trial(record: TrialRecord, space: Space) -> optuna.trial.FrozenTrial:
    point = space.point(record.point)
    return _frozen(*state_in_optuna(record), space, point, {"digest": point.digest}, record)


def _begun_again(trial: optuna.trial.FrozenTrial, space: Space, record: TrialRecord | None) -> optuna.trial.FrozenTrial:
    """A point of which the journal knows no trial of its own: the twin of a record, or about to begin."""
    attrs: dict[str, Any] = {name: trial.user_attrs[name] for name in ("digest", "twin") if name in trial.user_attrs}
    if record is None:
        return _frozen("RUNNING", None, space, trial.params, {"digest": attrs["digest"]})
    return _frozen(*state_in_optuna(record), space, trial.params, attrs, record)


def _unknown() -> optuna.trial.FrozenTrial:
    """A proposal of which nothing is known but that others came after it: it was rejected."""
    return _frozen("FAIL", attrs=dict([NOT_KNOWN]))


def _frozen(
    state: str,
    value: float | None = None,
    space: Space | None = None,
    point: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    record: TrialRecord | None = None,
) -> optuna.trial.FrozenTrial:
    import optuna

    domains = {parameter.name: parameter.domain for parameter in space.parameters} if space else {}
    distributions = {
        name: made for name in domains if name in (point or {}) and (made := distribution(domains[name])) is not None
    }
    outcome = record.outcome if record is not None else None
    reason = {"reason": outcome.reason} if isinstance(outcome, Failed) else {}
    ended_at = record.finished_at if record is not None else None
    return optuna.trial.FrozenTrial(
        number=0,
        trial_id=0,
        state=optuna.trial.TrialState[state],
        value=value,
        datetime_start=_local(record.started_at if record is not None else time.time()),
        datetime_complete=None if state == "RUNNING" else _local(ended_at or time.time()),
        params={name: (point or {})[name] for name in distributions},
        distributions=distributions,
        user_attrs={**(attrs or {}), **reason},
        system_attrs={},
        intermediate_values=curve_in_optuna(record) if record is not None and outcome is not None else {},
    )


def _local(at: float) -> datetime:
    # Optuna wants local times without a zone.
    return datetime.fromtimestamp(at, tz=UTC).astimezone().replace(tzinfo=None)


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution | None:
    """What asking for a value of a domain makes Optuna record; None where nothing is asked."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match domain:
        case Float(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case Int(low=low, last=last, step=step, log=log):
            return IntDistribution(low, last, log=log, step=step)
        case Choice(values=values):
            return CategoricalDistribution(values)
        case Fixed():
            return None
