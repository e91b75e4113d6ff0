"""Checks of `plan`, `sweep` and `compare` before anything is written. All errors are reported at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search.console.messages import warn
from search.copies.hooks import hook_import_faults
from search.data.store import ImageData, open_data
from search.errors import EXIT_INPUT, HybridSearchError, InputError, NothingToDoError, ResourceError, StudyError
from search.journal.reading import read_history, read_id
from search.runners.node_check import request_faults, trials_that_fit
from search.runners.own_check import check_own_model
from search.storage.working_copy import JOURNAL
from search.study.bind import (
    DataFacts,
    check_baselines,
    check_keep,
    check_points,
    check_splits,
    check_sweep,
    facts_of,
)
from search.study.claims import too_few_repeats
from search.study.config import StudyConfig
from search.study.draws import check_possible
from search.study.folder import check_data, check_folder
from search.study.learning import take_earlier
from search.study.load import gpu_faults
from search.study.oddities import odd_in_compare, odd_in_sweep
from search.study.tracking_place import tracking_place
from search.text.counted import counted
from search.uris import Uri

Command = Literal["plan", "sweep", "compare", "reproduce"]
IGNORED = {
    "MLFLOW_TRACKING_URI": "tracking.uri",
    "MLFLOW_REGISTRY_URI": "tracking.uri",
    "MLFLOW_EXPERIMENT_NAME": "tracking.experiment",
    "MLFLOW_EXPERIMENT_ID": "tracking.experiment",
    "RAY_ADDRESS": "resources.address",
}
"""Environment variables that MLflow and Ray normally follow -> the study's field that decides here instead."""
LITTLE_ROOM_BYTES = 2**30
_GOES_ON = "the study was already started and continues without this copy"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The study to check and the command that checks it."""

    study: StudyConfig
    command: Command
    num_confirm: int
    """Number of fresh repeats that confirm the survivor of a race; 0 without a race."""
    allow_other: bool = False
    """Whether `search.learn_from` may name studies with other data or another recipe."""

    @property
    def sweeps(self) -> bool:
        """Whether the command is `sweep`, or `plan`, which plans a sweep."""
        return self.command in {"plan", "sweep"}

    @property
    def has_started(self) -> bool:
        """Whether the study was started before, that is, has a journal."""
        return (self.study.folder / JOURNAL).is_file()


Check = Callable[[Subject], Iterable[str]]
"""A check: yields one line per warning, raises HybridSearchError for an error."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Result of checking a study without errors."""

    data: ImageData
    facts: DataFacts
    warnings: tuple[str, ...]
    earlier: tuple[str, ...] = ()
    """What the sweep takes from earlier studies, one line each."""


def check_study(
    study: StudyConfig,
    command: Command,
    *,
    num_confirm: int = 0,
    allow_other: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Check everything that can be checked before anything is written, and print the warnings.

    Args:
        study: The study.
        command: The command; `plan` checks for both sweep and comparison.
        num_confirm: Number of fresh repeats that confirm the survivor of a race; 0 without a race.
        allow_other: Whether `search.learn_from` may name studies with other data or another recipe.
        on_progress: Called with the number of images decoded so far and the total.

    Returns:
        The opened data set, facts about it, and the warnings.

    Raises:
        HybridSearchError: The only error found, or an InputError with one line per error.
    """
    subject = Subject(study=study, command=command, num_confirm=num_confirm, allow_other=allow_other)
    errors: list[HybridSearchError] = []
    warnings: list[str] = []
    opened: list[ImageData] = []
    lines: list[str] = []
    for check in CHECKS:
        _run(lambda check=check: warnings.extend(check(subject)), errors)  # type: ignore[misc]
    _run(lambda: opened.append(open_data(study.data, on_progress=on_progress)), errors)
    if opened:
        facts = facts_of(opened[0])
        num_before = len(errors)
        _run(lambda: _points(subject, opened[0], facts), errors)
        _run(lambda: check_baselines(study), errors)
        _run(lambda: _data(subject, facts), errors)
        if not errors:  # as late as possible, as it trains a batch; but a model that raises has no known counts
            _run(lambda: warnings.extend(check_own_model(study, facts)), errors)
        if len(errors) == num_before and subject.sweeps:  # else the same errors would be reported again
            _run(lambda: check_possible(study, facts), errors)
            _run(lambda: lines.extend(_earlier(subject, facts)), errors)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputError(*dict.fromkeys(fault for error in errors for fault in error.faults))
    for line in warnings:
        warn(line)
    return Checked(data=opened[0], facts=facts, warnings=tuple(warnings), earlier=tuple(lines))


def _run(check: Callable[[], None], errors: list[HybridSearchError]) -> None:
    try:
        check()
    except HybridSearchError as error:
        if error.exit_code != EXIT_INPUT:
            raise
        errors.append(error)


def _folder(subject: Subject) -> Iterator[str]:
    """Check that the storage is writable, matches a study started before, and has free disk space."""
    study = subject.study
    check_folder(study)
    there = next(path for path in (study.folder, *study.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < LITTLE_ROOM_BYTES:
        yield f"storage: only {free / 2**20:,.0f} MiB are free in {there}; the command ends when the disk is full"


def _request(subject: Subject) -> Iterator[str]:
    """Check that some node can run a trial; without a cluster address that node is this machine."""
    resources = subject.study.resources
    if faults := gpu_faults(resources.gpus):
        raise ResourceError(*faults)
    if resources.runner == "ray" and resources.address is not None:
        return
    if resources.gpus:
        from search.runners.inline import pick_device

        pick_device(resources.gpus)
    num_cpus = os.cpu_count() or 1
    if resources.runner == "inline":
        if resources.cpus > num_cpus:
            has = counted(num_cpus, "CPU")
            yield f"resources.cpus: {resources.cpus:g} threads per trial, but this machine has {has}"
        return
    machine = {"CPU": float(num_cpus), "GPU": float(_num_gpus()) if resources.gpus else 0.0}
    if faults := request_faults(resources, [machine], "this machine"):
        raise ResourceError(*faults)
    fitting = trials_that_fit(resources, machine)
    if resources.concurrency is not None and resources.concurrency > fitting:
        yield f"resources.concurrency: {resources.concurrency} requested, but this machine has room for {fitting}"
    if subject.command == "plan" and not subject.study.gives("resources.gpus") and Path("/dev/nvidia0").exists():
        yield "resources.gpus: 0, although this machine has a GPU; trials run on the CPU"


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _address(subject: Subject) -> Iterator[str]:
    """Check that the cluster's address accepts connections."""
    resources = subject.study.resources
    if resources.runner == "ray" and resources.address is not None:
        from search.runners.ray_join import check_address

        check_address(resources.address)
    yield from ()


def _tracking(subject: Subject) -> Iterator[str]:
    """Check that the tracking store answers (only a warning once the study has started) and has no foreign runs."""
    place = tracking_place(subject.study)
    if place is None:
        return
    from search.tracking.foreign import refuse_foreign_experiment
    from search.tracking.mlflow_client import check_uri

    if not subject.has_started or subject.command == "plan":
        try:
            check_uri(place.uri)
        except HybridSearchError as error:
            if not subject.has_started:
                raise
            yield from (f"{fault} ({_GOES_ON})" for fault in error.faults)
            return
    refuse_foreign_experiment(place.uri, place.experiment, read_id(subject.study.folder))


def _database(subject: Subject) -> Iterator[str]:
    """Check that Optuna's database is usable (only a warning once the study has started) and its study is ours."""
    if subject.study.search.database is None:
        return
    from search.sampling.optuna_storage import foreign_study

    try:
        fault = foreign_study(subject.study, read_id(subject.study.folder))
    except StudyError as error:
        if not subject.has_started:
            raise
        yield from (f"{fault} ({_GOES_ON})" for fault in error.faults)
        return
    if fault is not None:
        raise StudyError(fault)


def _claims(subject: Subject) -> Iterator[str]:
    """Check that the comparison can reach a conclusion."""
    study = subject.study
    if subject.command in {"plan", "sweep"}:
        yield from odd_in_compare(study)
    elif subject.command == "compare" and study.compare.finalists + len(study.compare.baselines) < 2:
        raise NothingToDoError(
            "compare: one finalist and no other configuration to compare it with; set compare.baselines, or raise "
            "compare.finalists"
        )
    if subject.command in {"plan", "compare"}:
        if subject.num_confirm:
            yield from too_few_repeats(study.compare, subject.num_confirm, where="compare.confirm")
        else:
            yield from too_few_repeats(study.compare, study.compare.repeats)


def _sampler(subject: Subject) -> Iterator[str]:
    """Check that the sampler runs and can be rebuilt from the journal."""
    if subject.sweeps:
        from search.sampling.rehearsal import check_sampler

        check_sampler(subject.study)
    yield from ()


def _hooks(subject: Subject) -> Iterator[str]:
    """Check that the classes of the hooks can be imported; this runs the user's code."""
    faults = list(hook_import_faults(subject.study))
    if faults:
        raise StudyError(*faults)
    yield from ()


def _oddities(subject: Subject) -> Iterator[str]:
    if subject.sweeps:
        yield from odd_in_sweep(subject.study)


def _environment(subject: Subject) -> Iterator[str]:
    """Warn of environment variables that other programs follow and this one ignores, in one line."""
    study = subject.study
    written = study.tracking.uri.written if isinstance(study.tracking.uri, Uri) else ""
    decided = {
        "tracking.uri": study.tracking.uri,
        "tracking.experiment": study.tracking.experiment,
        "resources.address": study.resources.address,
    }
    fields = {
        name: field
        for name, field in IGNORED.items()
        if os.environ.get(name) and decided[field] is None and f"${{{name}}}" not in written
    }
    if fields:
        is_or_are = "is" if len(fields) == 1 else "are"
        yield (
            f"{' and '.join(fields)} {is_or_are} set in the environment and ignored; use "
            f"{' and '.join(dict.fromkeys(fields.values()))}"
        )


CHECKS: tuple[Check, ...] = (
    _folder,
    _request,
    _address,
    _tracking,
    _database,
    _claims,
    _sampler,
    _hooks,
    _oddities,
    _environment,
)
"""All checks that need no data, in the order in which their errors are reported."""


def _points(subject: Subject, data: ImageData, facts: DataFacts) -> None:
    if subject.sweeps:
        check_sweep(subject.study, facts)
    check_keep(subject.study, facts)
    check_splits(subject.study, data, num_confirm=subject.num_confirm)
    check_points(subject.study, facts)


def _earlier(subject: Subject, facts: DataFacts) -> list[str]:
    """Check what the sweep takes from earlier studies, and that its sampler learns from it; return it in words."""
    study = subject.study
    history = read_history(study.folder)
    earlier, is_new = take_earlier(
        study, facts, marks=history.marks, allow_other=subject.allow_other, has_trials=bool(history.records)
    )
    if earlier.trials and is_new:
        from search.sampling.rehearsal import check_sampler

        check_sampler(study, earlier.trials)
    return earlier.lines


def _data(subject: Subject, facts: DataFacts) -> None:
    if subject.has_started:
        check_data(subject.study, facts.key)
