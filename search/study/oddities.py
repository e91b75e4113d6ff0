"""Warnings about valid studies: fields without effect, and budgets that cannot be used up. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from search.study.bind import complete_point
from search.study.config import StudyConfig
from search.study.samplers import WITH_RUNGS, method_of, odd_sampler
from search.study.section import PointLike, top_of
from search.study.settings import BINDS_TO
from search.text.counted import counted
from search.training.config import cpu_has_bfloat16
from spaces.domains import Int
from spaces.presets import load_preset


def odd_in_sweep(study: StudyConfig) -> Iterator[str]:
    """Yield one warning per line about the sweep; the study must be valid."""
    yield from _odd_domains(study)
    yield from _set_twice(study)
    yield from _odd_enqueue(study)
    yield from _odd_budget(study)
    yield from odd_sampler(study)
    yield from _odd_scheduler(study)
    yield from _without_effect(study)


def odd_in_compare(study: StudyConfig) -> Iterator[str]:
    """Yield warnings about the declared comparison, before the sweep."""
    section, trials, size = study.compare, study.search.trials, study.build_space().size
    if section.finalists > trials:
        yield (
            f"compare.finalists: {section.finalists} are declared, but search.trials {trials} can nominate {trials} "
            "at most"
        )
    elif size is not None and section.finalists > size:
        yield f"compare.finalists: {section.finalists} are declared, but the space has only {counted(size, 'point')}"
    if section.finalists + len(section.baselines) < 2:
        yield (
            "compare: one finalist and no other configuration to compare it with; set compare.baselines, or raise "
            "compare.finalists, before `compare`"
        )


def _odd_domains(study: StudyConfig) -> Iterator[str]:
    for parameter in study.build_space().parameters:
        match parameter.domain:
            case Int(low=low, high=high, step=step) as domain if domain.last != high:
                members = list(domain.members())
                drawn = members if len(members) <= 4 else [*members[:2], "...", members[-1]]
                yield (
                    f"space.{parameter.name}: {{int: [{low}, {high}], step: {step}}} has the values "
                    f"{', '.join(map(str, drawn))}; {high} is never drawn"
                )


def _set_twice(study: StudyConfig) -> Iterator[str]:
    """Yield warnings about `train` and `model` settings that a parameter of the space overrides in every trial."""
    points = [_values(like) for like in (*_enqueued(study).values(), *study.compare.baselines)]
    for parameter in study.build_space().parameters:
        setting = BINDS_TO.get(parameter.name, parameter.name)
        is_open = any(setting not in point and parameter.name not in point for point in points)
        if parameter.when or is_open:  # then the setting has an effect in some trials
            continue
        for section in ("train", "model"):
            if study.gives(f"{section}.{setting}"):
                where = f"fix.{parameter.name}" if parameter.name in study.fix else f"space.{parameter.name}"
                yield (
                    f"{section}.{setting}: has no effect, because {where} sets the value of every trial; remove one of "
                    "them"
                )


def _values(like: PointLike) -> dict[str, object]:
    return dict(load_preset(like) if isinstance(like, str) else like)


def _enqueued(study: StudyConfig) -> dict[int, PointLike]:
    """Return the presets and points of `search.enqueue` by position, without the entries `top-5 of STUDY`."""
    return {position: like for position, like in enumerate(study.search.enqueue) if not top_of(like)}


def _odd_enqueue(study: StudyConfig) -> Iterator[str]:
    positions = list(_enqueued(study))
    points = [complete_point(study, like) for like in _enqueued(study).values()]
    for place, (position, point) in enumerate(zip(positions, points, strict=True)):
        if point in points[:place]:
            first = positions[points.index(point)]
            yield f"search.enqueue.{position}: the same point as search.enqueue.{first}; it is trained once"
    different = [point for place, point in enumerate(points) if point not in points[:place]]
    if len(different) > study.search.trials:
        yield (
            f"search.enqueue: {len(different)} different points, but search.trials is {study.search.trials}; the last "
            f"{len(different) - study.search.trials} will not be trained"
        )


def _odd_budget(study: StudyConfig) -> Iterator[str]:
    search, size = study.search, study.build_space().size
    if search.stop_when is not None and search.stop_when.trials_without_gain >= search.trials:
        yield (
            f"search.stop_when.trials_without_gain: {search.stop_when.trials_without_gain} has no effect, because "
            f"search.trials is {search.trials}"
        )
    if size is not None and size < search.trials:
        what = "grid" if search.sampler == "grid" else "space"
        yield (
            f"search.trials: {search.trials}, but the {what} has {counted(size, 'point')}; the sweep ends after the "
            "last one"
        )


def _odd_scheduler(study: StudyConfig) -> Iterator[str]:
    search, epochs = study.search, study.train.epochs
    fields = ("scheduler", "grace_epochs", "reduction", "patience_epochs")
    asked = any(study.gives(f"search.{name}") for name in fields)
    if search.scheduler != "none" and search.grace_epochs >= epochs and asked:
        yield (
            f"search.scheduler: {search.scheduler} stops no trial, because search.grace_epochs {search.grace_epochs} "
            f"is not below train.epochs {epochs}"
        )
    elif search.scheduler == "plateau" and search.patience_epochs >= epochs - 1:
        yield (
            f"search.scheduler: plateau stops no trial before its last epoch, because search.patience_epochs "
            f"{search.patience_epochs} is not below train.epochs {epochs} by more than 1"
        )


def _without_effect(study: StudyConfig) -> Iterator[str]:
    """Yield warnings about fields that another field disables."""
    search, resources = study.search, study.resources
    searched = {parameter.name for parameter in study.build_space().parameters}
    is_inline = resources.runner == "inline"
    sgd = "optimizer" in searched or study.train.optimizer == "sgd"
    rules = (
        (not method_of(search.sampler).has_startup, f"search.sampler {search.sampler}", ("search.startup_trials",)),
        (
            not method_of(search.sampler).learns,
            f"search.sampler {search.sampler}, which does not learn",
            ("search.learn_from",),
        ),
        (search.scheduler not in WITH_RUNGS, f"search.scheduler {search.scheduler}", ("search.reduction",)),
        (search.scheduler != "plateau", f"search.scheduler {search.scheduler}", ("search.patience_epochs",)),
        (search.scheduler == "none", "search.scheduler none", ("search.grace_epochs",)),
        (is_inline, "resources.runner inline", ("resources.concurrency", "resources.dashboard", "resources.address")),
        (resources.address is not None and not is_inline, "resources.address", ("resources.dashboard",)),
        (not study.tracking.enabled, "tracking.enabled false", ("tracking.uri", "tracking.experiment")),
        (not sgd, f"train.optimizer {study.train.optimizer}", ("train.momentum",)),
    )
    for off, why, fields in rules:
        yield from (f"{field}: has no effect with {why}" for field in fields if off and study.gives(field))
    if study.train.keep == "best" and study.train.validate_every == study.train.epochs:
        yield (
            f"train.keep: best has no effect, because train.validate_every {study.train.validate_every} validates the "
            "last epoch only"
        )
    if study.train.precision == "bfloat16" and not resources.gpus and not cpu_has_bfloat16():
        yield "train.precision: this machine's CPU only emulates bfloat16, which is slower than float32"
