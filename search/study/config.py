"""The study file: its schema, and which fields may change after the sweep has started."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from search.data.datasets import DataConfig
from search.data.splits import SplitConfig
from search.journal.budgets import GPU_HOURS, WITHOUT_GAIN
from search.journal.measures import Direction
from search.storage.location import Location
from search.study.claims import CompareSection
from search.study.section import PointLike, Scalar, Section, UriText, top_of
from search.training.config import TrainConfig
from search.uris import without_secrets
from spaces.presets import load_space
from spaces.space import Space

MAX_OBJECTIVES = 4
"""With more, nearly every trial is on the Pareto front."""


def _number(value: object) -> object:
    """Read 1.0e6, which YAML reads as text, as a number."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+(\.\d*)?[eE]\d{1,3}", value) else value


def _accuracy_only() -> dict[str, Direction]:
    return {"val_accuracy": "max"}


def _as_study(value: object) -> object:
    """Read the folder or URI of a study as a mapping with this study."""
    return {"study": value} if isinstance(value, str) else value


def _as_list(value: object) -> object:
    """Read a text as a list of one; a list as a tuple, which strict mode expects after a validator."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _as_points(value: object) -> object:
    """Read `top-5 of STUDY`, which stands for several points, as a list of one."""
    return value if isinstance(value, str) and top_of(value) is None else _as_list(value)


class EarlierStudy(Section):
    """A study whose trials the sampler learns from."""

    study: UriText
    """Folder or URI of the study."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Settings that have another name in that study: its name -> the name here."""


EarlierStudyLike = Annotated[EarlierStudy, BeforeValidator(_as_study, json_schema_input_type=UriText | EarlierStudy)]


class StopWhen(Section):
    """When a sweep begins no new trial, before all planned ones."""

    trials_without_gain: Annotated[int, Field(ge=1)]
    """Number of trials in a row, failed ones not counted, of which none beats the best completed one."""


class SearchSection(Section):
    """How points are proposed, and when trials are stopped early."""

    trials: Annotated[int, Field(ge=1)]
    """Number of trials in the sweep, including stopped and failed ones."""
    sampler: Annotated[str, Field(max_length=200)] = "tpe"
    """Sampler: tpe (multivariate, constant liar), gp, cmaes, qmc, nsga2, nsga3, random, grid (every point of a finite
    space, in order), or any other Optuna sampler as package.module:Class."""
    sampler_args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the sampler's class, such as population_size of nsga2."""
    startup_trials: Annotated[int, Field(ge=1)] = 10
    """Number of random points before tpe, gp or cmaes uses earlier results."""
    enqueue: Annotated[
        tuple[PointLike, ...], BeforeValidator(_as_points, json_schema_input_type=str | tuple[PointLike, ...])
    ] = ()
    """Presets or points to evaluate first; `top-5 of STUDY` stands for the five best points of an earlier study."""
    learn_from: Annotated[
        tuple[EarlierStudyLike, ...],
        BeforeValidator(_as_list, json_schema_input_type=UriText | tuple[EarlierStudyLike, ...]),
    ] = ()
    """Earlier studies whose trials the sampler learns from, as folders or URIs, or as {study: ..., rename: {...}}."""
    blocks: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of blocks (seeds and splits) that each point is trained on, epoch by epoch; its scores are the means."""
    scheduler: Literal["asha", "asha-promote", "hyperband", "median", "plateau", "none"] = "asha"
    """Scheduler that stops trials early: asha, asha-promote (pauses them, and resumes the best), hyperband, median,
    plateau or none."""
    grace_epochs: Annotated[int, Field(ge=1)] = 1
    """Minimum number of epochs of every trial."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """Reduction factor of asha, asha-promote and hyperband: one of this many trials continues beyond each rung."""
    patience_epochs: Annotated[int, Field(ge=1)] = 5
    """Number of epochs without a new best validation accuracy after which plateau stops a trial."""
    objectives: Annotated[dict[str, Direction], Field(min_length=1, max_length=MAX_OBJECTIVES)] = Field(
        default_factory=_accuracy_only
    )
    """Goals: measures (val_accuracy, num_parameters, latency_ms, ...) with max or min; val_accuracy is one of them."""
    limits: dict[str, Annotated[float, BeforeValidator(_number), Field(gt=0)]] = Field(default_factory=dict)
    """Largest allowed values of counts and costs: {num_parameters: 1.0e6}. A point whose counts exceed them is never
    drawn; a trial whose measured costs do ends as infeasible after that epoch."""
    time_budget_mins: Annotated[float, Field(gt=0)] | None = None
    """Time in minutes after which no more points are proposed and the state is saved; unset: no limit."""
    trial_budget_mins: Annotated[float, Field(gt=0)] | None = None
    """Longest training of a trial in minutes; it is stopped after the epoch after which another one would exceed it.
    Unset: no limit."""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """GPU hours (training time of all trials x resources.gpus) after which no new trial begins; unset: no limit."""
    stop_when: StopWhen | None = None
    """When no new trial begins although more are planned: {trials_without_gain: 30}; unset: never."""
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Fraction of failed trials above which the study ends with exit code 3."""
    keep_checkpoints: Literal["none", "finalists", "all"] = "finalists"
    """Completed trials whose weights are kept after the sweep: none, finalists (the highest-ranked ones: three, or
    compare.finalists if that is more) or all."""
    database: UriText | None = None
    """Optuna storage URL (postgresql://...) for a copy of the sweep as an Optuna study; unset: `optuna.log` in the
    study folder. Like tracking.uri and storage, it may refer to environment variables: ${NAME}."""

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs at which trials are compared, and the last epoch of a trial.

        Args:
            epochs: The last epoch.
        """
        found, rung = [], self.grace_epochs
        while rung < epochs:
            found.append(rung)
            rung *= self.reduction
        return (*found, epochs)

    @property
    def budgets(self) -> dict[str, float]:
        """Budgets after which no new trial begins: field -> value."""
        without_gain = self.stop_when.trials_without_gain if self.stop_when else None
        values = {GPU_HOURS: self.gpu_hours, WITHOUT_GAIN: without_gain}
        return {field: value for field, value in values.items() if value is not None}


class ResourcesSection(Section):
    """Resources of a trial, and where it runs."""

    cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPU cores per trial."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs per trial; a fraction shares one GPU between trials."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of concurrent trials; unset: as many as fit into the cluster."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Number of restarts of a trial whose process or node was lost."""
    address: str | None = None
    """Ray cluster to join, from one of its nodes: host:port of its head, or auto; unset: start a local cluster."""
    dashboard: bool = False
    """Whether to serve Ray's dashboard on the loopback interface (local cluster only; requires ray[default])."""
    runner: Literal["ray", "inline"] = "ray"
    """ray, or inline: one trial after the other in this process."""


class TrackingSection(Section):
    """Recording in MLflow."""

    enabled: bool = True
    """Whether to record in MLflow; the journal is always written."""
    uri: UriText | None = None
    """MLflow tracking URI; unset: SQLite in the storage folder."""
    experiment: Annotated[str, Field(max_length=500)] | None = None
    """Experiment name; unset: the study's name."""
    also: Annotated[tuple[Literal["tensorboard", "wandb"], ...], BeforeValidator(_as_list)] = ()
    """Other trackers that receive the trials: tensorboard, wandb; each needs the package of its name."""


class _Given(frozenset[str]):
    """Names of the fields set in a study file. All instances are equal, so that explicit defaults do not matter."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given)

    __hash__ = frozenset.__hash__


class StudyConfig(Section):
    """A validated study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the study's folder and of its MLflow experiment."""
    storage: UriText = "runs"
    """Folder or URI (s3://bucket/prefix, gs://...) that contains studies; the study is stored in <storage>/<name>/."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed from which all seeds, splits and proposals derive."""
    data: DataConfig
    split: SplitConfig = SplitConfig()
    space: str | dict[str, Any]
    """Name of a predefined space, or a mapping of parameters."""
    fix: dict[str, Scalar] = Field(default_factory=dict)
    """Parameters fixed to one value."""
    model: dict[str, Scalar] = Field(default_factory=dict)
    """Model settings that are not searched, such as init and bn_style. An own model: `factory`, `my_models.py:build` or
    `package.module:build`, and constants of the points that it receives."""
    code: dict[str, str] = Field(default_factory=dict)
    """Source of the own model, which the program fills in: path -> text of each file, or a distribution -> version."""
    train: TrainConfig
    search: SearchSection
    resources: ResourcesSection = ResourcesSection()
    compare: CompareSection = CompareSection()
    tracking: TrackingSection = TrackingSection()
    hooks: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], BeforeValidator(_as_list)] = ()
    """Classes that are called while the study runs: `my_hooks.py:Class`, relative to the study file, or
    package.module:Class."""
    _given: _Given = PrivateAttr(default=_Given())
    """Fields set in the study file, such as `train.lr`; empty for a recorded study."""

    def given(self, fields: Iterable[str]) -> StudyConfig:
        """Store which fields the study file sets, and return the study."""
        self._given = _Given(fields)
        return self

    def gives(self, field: str) -> bool:
        """Return whether the study file sets a field."""
        return field in self._given

    @property
    def is_own(self) -> bool:
        """Whether the searched model is built by a function of the user's."""
        return "factory" in self.model

    @property
    def location(self) -> Location:
        """Where the study is stored."""
        return Location(self.storage, self.name)

    @property
    def folder(self) -> Path:
        """The study's folder on this machine, which is a working copy if the storage is an object store."""
        return self.location.folder

    @property
    def space_name(self) -> str:
        """Name of the space in error messages."""
        return self.space if isinstance(self.space, str) else self.name

    def build_space(self, *, pinned: bool = True) -> Space:
        """Return the searched space; `fix` is applied unless `pinned` is false."""
        return _build_space(json.dumps([self.name, self.space, self.fix if pinned else {}]))


@lru_cache(maxsize=4)  # counting a large space takes a few hundredths of a second
def _build_space(description: str) -> Space:
    name, space, fix = json.loads(description)
    return (load_space(space) if isinstance(space, str) else Space.from_dict(name, space)).pin(fix)


EXTENDABLE = (
    "search.trials",
    "search.time_budget_mins",
    "search.max_failed_fraction",
    GPU_HOURS,
    "search.stop_when",
    WITHOUT_GAIN,
)
"""Fields that may change when a sweep is continued, as they only extend its budget."""
FREE = (
    "resources.",
    "tracking.",
    "hooks",
    "compare.",
    "data.root",
    "data.download",
    "search.database",
    "search.keep_checkpoints",
    "storage",
)
"""Fields that never change a trained trial: execution, recording, comparison, location of the data and deletion of
weights. The copy of the Optuna study is rebuilt from the journal."""


def to_dict(study: StudyConfig) -> dict[str, Any]:
    """Return the resolved study as plain data, with all defaults and without passwords."""
    plain: dict[str, Any] = without_secrets(study.model_dump(mode="json"))
    if not study.code:
        del plain["code"]
    if not study.hooks:
        del plain["hooks"]
    if not study.tracking.also:
        del plain["tracking"]["also"]
    return plain
