"""`status --check`: compares Optuna's and MLflow's copies with the journal, trial by trial. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from search.errors import HybridSearchError, NotFoundError, StudyError
from search.journal.mlflow_run import JOURNAL_TAG, MlflowRun
from search.journal.reading import read_draws, read_id, read_records
from search.journal.reconcile import Difference, Repair, mlflow_differences, optuna_differences
from search.records import TrialRecord
from search.sampling.optuna_storage import known_trials, place_of, read_study, to_records
from search.sampling.trials import TrialMaker
from search.storage.lease import is_renewed
from search.storage.store import Store
from search.storage.working_copy import is_driven
from search.study.config import StudyConfig
from search.study.tracking_place import tracking_place
from search.text.counted import counted
from search.tracking.mlflow_runs import fetch_runs
from search.uris import withheld_fault

EXIT_AGREE, EXIT_DIFFER, EXIT_UNREADABLE = 0, 1, 2
"""Exit codes, the same as those of `diff`."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of comparing Optuna and MLflow with the journal."""

    study: str
    num_trials: int
    num_repeats: int
    stores: tuple[str, ...]
    """Stores that were compared with the journal."""
    differences: tuple[Difference, ...]
    unreadable: tuple[str, ...]
    """One line for each store that is unreachable or cannot be read."""
    driven: bool
    """Whether a driver is running; its latest changes may not have reached every store."""

    @property
    def exit_code(self) -> int:
        """0 if all stores agree, 1 if they differ, 2 if one could not be read."""
        if self.differences:
            return EXIT_DIFFER
        return EXIT_UNREADABLE if self.unreadable else EXIT_AGREE


def check(study: StudyConfig) -> Check:
    """Compare Optuna's and MLflow's copies of a study with its journal.

    Raises:
        InputError: The journal is damaged.
        StoreAwayError: The study's object store is unreachable.
    """
    uri = study.location.uri
    driven = is_driven(study.folder) or (uri is not None and is_renewed(Store(uri)))
    records = read_records(study.folder)
    trials = {key: record for key, record in records.items() if record.kind == "trial"}
    differences: list[Difference] = []
    unreadable, stores = [], []
    looks = {"Optuna": partial(_check_optuna, study, trials, driven=driven)}
    if study.tracking.enabled:
        looks["MLflow"] = partial(_check_mlflow, study, records.values(), driven=driven)
    for store, look in looks.items():
        try:
            differences += look()
            stores.append(store)
        except HybridSearchError as error:
            unreadable.append(f"{store}: {error.faults[0]}")
    return Check(
        study=study.name,
        num_trials=len(trials),
        num_repeats=len(records) - len(trials),
        stores=tuple(stores),
        differences=tuple(differences),
        unreadable=tuple(unreadable),
        driven=driven,
    )


def _check_optuna(study: StudyConfig, trials: dict[str, TrialRecord], *, driven: bool) -> list[Difference]:
    if fault := withheld_fault("search.database", study.search.database):
        raise StudyError(fault)
    found = read_study(place_of(study), study.name)
    if found is None and trials and study.search.database is None:
        _refuse_absent(study)
    owner = found.user_attrs.get("owner") if found is not None else None
    if owner is not None and owner["journal"] != read_id(study.folder):
        raise StudyError(f"the study {study.name} there belongs to {owner['folder']} on {owner['node']}")
    wanted = TrialMaker(study.build_space()).known(trials, read_draws(study.folder))
    held = known_trials(found) if found is not None else []
    differences = optuna_differences(to_records(wanted.values()), held, trials.values())
    # Optuna's copy is updated after the journal, so it lacks the latest changes of a running driver.
    is_behind = driven and found is not None
    return [item for item in differences if not (is_behind and item.repair in {Repair.TELL, Repair.ADD})]


def _check_mlflow(study: StudyConfig, records: Iterable[TrialRecord], *, driven: bool) -> list[Difference]:
    place = tracking_place(study)
    assert place is not None
    journal_id = read_id(study.folder)
    held: dict[str, list[MlflowRun]] = {}
    try:
        runs = fetch_runs(place.uri, place.experiment)
    except NotFoundError:
        if study.tracking.uri is None:
            _refuse_absent(study)
        runs = ()
    running_comparisons = []
    for run in runs:
        if run.tags.get(JOURNAL_TAG) != journal_id:
            continue
        if not run.is_comparison:
            held.setdefault(run.key, []).append(run)
        elif run.status == "RUNNING":
            running_comparisons.append(run.key)
    return mlflow_differences(records, held, running_comparisons=running_comparisons, driven=driven)


def _refuse_absent(study: StudyConfig) -> None:
    """Raise if the study is on an object store: its local copies exist on the driver's machine only."""
    if study.location.uri is not None:
        raise NotFoundError("its data about this study is on the driver's machine; run this command there")


def to_dict(found: Check) -> dict[str, Any]:
    """Return the result as plain data for `--json`."""
    rows = [
        {name: value for name, value in asdict(item).items() if name != "repair"} | {"repair": item.repair.value}
        for item in found.differences
    ]
    return asdict(found) | {"differences": rows, "agree": found.exit_code == EXIT_AGREE}


def to_lines(found: Check) -> list[str]:
    """Return the result as lines of text."""
    lines = [
        f"{item.store:8}{item.trial}: {item.journal} in the journal, but {item.found} in {item.store}"
        for item in found.differences
    ]
    lines += [f"not read: {line}" for line in found.unreadable]
    if found.stores and not found.differences:
        *first, last = "journal", *found.stores
        lines.append(f"{', '.join(first)} and {last} agree on {_count(found)}")
    if found.differences:
        lines.append(
            f"{counted(len(found.differences), 'difference')} over {_count(found)}; the next start of the study "
            "repairs the copies"
        )
    if found.driven and found.differences:
        lines.append("a driver is running: its latest changes may not have reached every store yet")
    return lines


def _count(found: Check) -> str:
    repeats = f" and {counted(found.num_repeats, 'repeat')}" if found.num_repeats else ""
    return f"{counted(found.num_trials, 'trial')}{repeats}"
