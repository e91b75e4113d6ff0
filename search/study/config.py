"""The study file: its schema, how it is read, and what may change in it once its sweep began."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from search.data.datasets import DataConfig
from search.data.splits import SplitConfig
from search.errors import NothingToDoError, StudyError
from search.storage.location import Location, is_uri, locate
from search.storage.working_copy import JOURNAL, RESOLVED, read_resolved, refresh, uri_of_copy
from search.study.claims import CompareSection, claim_faults
from search.study.hints import did_you_mean
from search.study.section import PointLike, Scalar, Section, UriText
from search.study.settings import setting_faults, space_faults
from search.text.explain import explain
from search.text.yaml_text import MAX_CHARACTERS, Place, YamlError, assign, hint_at_numbers, read_yaml, to_plain
from search.training.config import PRECISIONS, TrainConfig, settled
from search.uris import Uri, fault_of, without_secrets
from spaces.presets import UnknownPreset, load_preset, load_space
from spaces.space import Space, SpaceError


class SearchSection(Section):
    """How points are proposed and when a trial is stopped."""

    trials: Annotated[int, Field(ge=1)]
    """Trials that the sweep trains, stopped and failed ones included."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """Who proposes: tpe (multivariate, constant liar), random, or grid (every point of a finite space, in order)."""
    startup_trials: Annotated[int, Field(ge=1)] = 10
    """Random points before tpe begins to learn."""
    enqueue: tuple[PointLike, ...] = ()
    """Presets or points that are trained first."""
    scheduler: Literal["asha", "median", "none"] = "asha"
    """Who stops a trial early."""
    grace_epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs that every trial is given."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """asha: one trial in this many passes each rung."""
    time_budget_mins: Annotated[float, Field(gt=0)] | None = None
    """Stop proposing and save after this long; unset: no limit."""
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """More failed trials than this share end the study with exit code 3."""
    database: UriText | None = None
    """Optuna storage URL (postgresql://...) for the sweep's copy as an Optuna study; unset: `optuna.log` in the study
    folder. Like tracking.uri and storage it may name variables of the environment: ${NAME}."""


class ResourcesSection(Section):
    """What a trial gets, and where it runs."""

    cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPU cores per trial."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs per trial; fractions share one GPU."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Trials at the same time; unset: as many as the cluster fits."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """How often a trial is started again after its process or node was lost."""
    address: str | None = None
    """Ray cluster to join, from one of its nodes: host:port of its head, or auto; unset: a local one."""
    dashboard: bool = False
    """Serve Ray's dashboard on loopback (local cluster only; needs ray[default])."""
    runner: Literal["ray", "inline"] = "ray"
    """ray, or inline: one trial after another in this process."""


class TrackingSection(Section):
    """Where MLflow records."""

    enabled: bool = True
    """Record in MLflow; the journal is written in any case."""
    uri: UriText | None = None
    """MLflow tracking URI; unset: SQLite in the storage folder."""
    experiment: Annotated[str, Field(max_length=500)] | None = None
    """Experiment name; unset: the study's name."""


class _Given(frozenset[str]):
    """Fields that a study file writes out; two studies are equal whether or not they write their defaults out."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given)

    __hash__ = frozenset.__hash__


class StudyConfig(Section):
    """One study file, checked."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Names the study's folder and its MLflow experiment."""
    storage: UriText = "runs"
    """Folder or URI (s3://bucket/prefix, gs://...) that holds studies; the study lies in <storage>/<name>/."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every block and every proposal derives from it."""
    data: DataConfig
    split: SplitConfig = SplitConfig()
    space: str | dict[str, Any]
    """A shipped space by name, or parameters written out."""
    fix: dict[str, Scalar] = Field(default_factory=dict)
    """Parameters pinned to one value."""
    model: dict[str, Scalar] = Field(default_factory=dict)
    """Model settings that the space leaves alone, such as init and bn_style."""
    train: TrainConfig
    search: SearchSection
    resources: ResourcesSection = ResourcesSection()
    compare: CompareSection = CompareSection()
    tracking: TrackingSection = TrackingSection()
    _given: _Given = PrivateAttr(default=_Given())
    """Fields that the study file writes out, such as `train.lr`; empty for a study as it was recorded."""

    def given(self, fields: Iterable[str]) -> StudyConfig:
        """Note which fields the study file writes out; returns the study."""
        self._given = _Given(fields)
        return self

    def gives(self, field: str) -> bool:
        """Whether the study file writes a field out."""
        return field in self._given

    @property
    def location(self) -> Location:
        """Where everything of this study lies."""
        return Location(self.storage, self.name)

    @property
    def folder(self) -> Path:
        """The same on this machine: the folder itself, or the working copy of what lies on an object store."""
        return self.location.folder

    @property
    def space_name(self) -> str:
        """What the space is called in its faults."""
        return self.space if isinstance(self.space, str) else self.name

    def build_space(self, *, pinned: bool = True) -> Space:
        """Make the space that is searched: the named or inline one, with `fix` applied unless told otherwise."""
        return _build_space(json.dumps([self.name, self.space, self.fix if pinned else {}]))


@lru_cache(maxsize=4)  # counting a large space takes a quarter of a second
def _build_space(description: str) -> Space:
    name, space, fix = json.loads(description)
    return (load_space(space) if isinstance(space, str) else Space.from_dict(name, space)).pin(fix)


MAX_PARAMETERS = 200
"""Of a space: there are some 50 settings."""
EXTENDABLE = ("search.trials", "search.time_budget_mins", "search.max_failed_fraction")
"""Fields of the sweep that may change between two runs of the command: they only extend the budget."""
FREE = ("resources.", "tracking.", "compare.", "data.root", "data.download", "search.database", "storage")
"""What never changes a trained trial: how it is run, recorded and afterwards compared, and where the data lie; Optuna's
study is written again, from the journal, wherever it is to be."""


def to_dict(study: StudyConfig) -> dict[str, Any]:
    """The resolved study as plain data, every default written out, without passwords."""
    plain: dict[str, Any] = without_secrets(study.model_dump(mode="json"))
    return plain


def _check_points(study: StudyConfig) -> Iterator[str]:
    for section, points in (("search.enqueue", study.search.enqueue), ("compare.baselines", study.compare.baselines)):
        for position, point in enumerate(points):
            if not isinstance(point, str):
                yield from setting_faults(f"{section}.{position}", point)
                continue
            try:
                load_preset(point)
            except UnknownPreset as error:
                yield f"{section}.{position}: {error}"


def _check_space(study: StudyConfig) -> Iterator[str]:
    if isinstance(study.space, dict) and len(study.space) > MAX_PARAMETERS:
        yield f"space: expected at most {MAX_PARAMETERS} parameters, found {len(study.space)}"
        return
    try:
        base = study.build_space(pinned=False)
    except UnknownPreset as error:
        yield f"space: {error}"
        return
    except SpaceError as error:
        yield from (_rename(line, study.space_name, "space") for line in error.faults)
        return
    yield from space_faults(base, study.model)
    try:
        space = base.pin(study.fix)
    except SpaceError as error:
        yield from (_rename(line, study.space_name, "fix") for line in error.faults)
        return
    if study.search.sampler == "grid" and space.continuous:
        yield (
            f"search.sampler: grid expects parameters that can be listed, found {', '.join(space.continuous)} without "
            "end; list or fix their values, or take tpe or random"
        )


def _rename(line: str, name: str, section: str) -> str:
    """Name the place in the study file instead of the space."""
    return section + line.removeprefix(name) if line.startswith((f"{name}.", f"{name}:")) else f"{section}: {line}"


def gpu_faults(gpus: float) -> list[str]:
    """Why a trial cannot have so many GPUs, if it cannot."""
    if gpus <= 1:
        return []
    return [
        f"resources.gpus: expected at most 1, as one trial uses one GPU, found {gpus:g}; set it to 1, and as many "
        "trials as there are GPUs run at the same time"
    ]


def _check_addresses(study: StudyConfig) -> Iterator[str]:
    places = {
        "search.database": study.search.database,
        "tracking.uri": study.tracking.uri,
        "storage": study.storage,
    }
    for path, uri in places.items():
        if uri is not None and "://" in uri and (fault := fault_of(uri)):
            yield f"{path}: {fault}"
        for name in uri.unset if isinstance(uri, Uri) and uri.filled else ():
            yield f"{path}: names ${{{name}}}, and the environment has no such variable; set {name}"


RESERVED_NAMES = ("mlflow.db", "mlartifacts", "mlruns", "default")
"""In any case of letters: MLflow's own files beside the studies, and its own experiment."""


def _check_names(study: StudyConfig, *, recorded: bool) -> Iterator[str]:
    """Names that would lead out of the storage folder, or that MLflow uses itself."""
    experiment = study.tracking.experiment
    if experiment is not None:
        if experiment.strip() in {"", ".", ".."} or experiment != experiment.strip() or not experiment.isprintable():
            yield (
                "tracking.experiment: expected a name of printable characters, other than . and .. and without spaces "
                f"around it, found {experiment!r}; rename it"
            )
        elif experiment.casefold() == "default" and not recorded:
            yield f"tracking.experiment: {experiment} is MLflow's own experiment; choose another name"
    if recorded:  # a study that has begun keeps its name
        return
    if study.name.casefold() in RESERVED_NAMES or study.name.casefold().startswith("mlflow.db-"):
        yield f"name: {study.name} is a name that MLflow uses itself in the storage folder; choose another one"
    if study.name.endswith("."):
        yield f"name: expected a name that does not end with a dot, found {study.name!r}; choose another one"


def _leaves(data: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield path + key
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")


def parse_study(
    data: object, source: str, overrides: Iterable[str] = (), *, fill: bool = True, recorded: bool = False
) -> StudyConfig:
    """Check a study given as plain data.

    Args:
        data: What the YAML holds.
        source: Named in each fault.
        overrides: `path.to.key=value` assignments, applied first.
        fill: Whether `${NAME}` in addresses is filled in from the environment, which then must have it.
        recorded: It is a study as its sweep recorded it: rules that were added later do not refuse it.

    Raises:
        StudyError: With one line per fault, all faults at once.
    """
    if not isinstance(data, dict):
        raise StudyError(f"{source}: expected a mapping of sections, got {type(data).__name__}")
    odd: dict[Place, str] = {}
    plain = to_plain(data, odd)
    wrong = [fault for assignment in overrides if (fault := assign(plain, assignment))]
    if wrong:
        raise StudyError(*wrong)
    plain = to_plain(plain, odd)  # what was assigned may be odd as well
    faults = [f"{'.'.join(map(str, path))}: {fault}" for path, fault in odd.items()]
    try:
        # As JSON, because that is where pydantic's strict mode takes lists for tuples and mappings for sections.
        study = StudyConfig.model_validate_json(json.dumps(plain), strict=True, context={"fill": fill})
    except ValidationError as error:
        faults += explain(error, plain, StudyConfig, odd)
    else:
        faults += (*_check_names(study, recorded=recorded), *_check_points(study), *claim_faults(study.compare))
        faults += (*_check_addresses(study), *([] if recorded else gpu_faults(study.resources.gpus)))
        faults += (*setting_faults("model", study.model, recipe=False), *_check_space(study))
    if faults:
        raise StudyError(*(f"{source}: {hint_at_numbers(fault, plain)}" for fault in faults))
    study = study.model_copy(update={"train": _settle(study)})
    return study if recorded else study.given(_leaves(plain))


def _settle(study: StudyConfig) -> TrainConfig:
    """Write `auto` out: as the study began, else as this machine computes best."""
    resolved = read_resolved(study.location) if study.train.precision == "auto" else None
    if resolved is not None:
        with contextlib.suppress(yaml.YAMLError, AttributeError):  # damaged: named where it is read whole
            began = yaml.safe_load(resolved).get("train").get("precision")
            if began in PRECISIONS:
                return dataclasses.replace(study.train, precision=began)
    return settled(study.train, gpus=study.resources.gpus)


def load_study(path: Path, overrides: Iterable[str] = (), *, fill: bool = True, recorded: bool = False) -> StudyConfig:
    """Read and check a study file; see `parse_study`.

    Raises:
        StudyError: With one line per fault, all faults at once.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            data = read_yaml(stream.read(MAX_CHARACTERS + 1))
    except FileNotFoundError:
        hint = did_you_mean(path) or f"shipped ones: {', '.join(shipped_studies())}"
        raise StudyError(f"{path}: no such study file; {hint}") from None
    except IsADirectoryError:
        raise StudyError(
            f"{path}: expected a study file, found a folder; a study that began has {path}/study.yaml"
        ) from None
    except YamlError as error:
        raise StudyError(*(f"{path}{f':{line}' if line else ''}: {words}" for line, words in error.faults)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not readable as a study file ({error})") from None
    return parse_study(data, str(path), overrides, fill=fill, recorded=recorded)


def shipped_studies() -> list[str]:
    """Paths of the study files that come with the project."""
    import spaces

    folder = Path(spaces.__file__).parent / "studies"
    return sorted(os.path.relpath(path) for path in folder.glob("*.yaml"))


def find_study(path: str | Path, overrides: Iterable[str] = (), *, fill: bool = False) -> StudyConfig:
    """Read the study as it was run: from where it lies, or through the file that began it.

    Args:
        path: A study file, a study's folder or its URI.
        overrides: Needed only if the sweep was given another name, storage or budget with them.
        fill: Whether `${NAME}` in the addresses of a recorded study is filled in from the environment, as is always
            done for a study file. Only for commands that train: a folder that is looked at may be anybody's.

    Raises:
        NothingToDoError: No sweep of this study has begun here.
        StudyError: Its journal is gone, or its resolved study file.
        StoreError: The store refuses.
        StoreAwayError: It cannot be reached.
    """
    path = _folder_of(Path(path)) if not is_uri(str(path)) else path
    uri = str(path) if is_uri(str(path)) else _uri_of_copy(Path(path))
    given = None if uri or Path(path).is_dir() else load_study(Path(path), overrides)
    location = given.location if given is not None else locate(uri) if uri else _place_of(Path(path))
    refresh(location)
    check_memory(location.folder)
    resolved = location.folder / RESOLVED
    if not resolved.is_file():
        hint = did_you_mean(Path(path)) if given is None else None
        raise NothingToDoError(
            f"{location}: no study here yet; {hint or 'run `hybrid-search sweep` first (or give its folder)'}"
        )
    study = load_study(resolved, overrides, fill=fill and given is None, recorded=True)
    # A folder that was moved is still the study it was.
    if given is None:
        return study.model_copy(update={"storage": location.storage, "name": location.name})
    # How it is run, recorded and compared is the file's to say, today as much as when the sweep began; so are the
    # passwords, which the resolved file does not hold.
    own: dict[str, Any] = {name: getattr(given, name) for name in ("compare", "resources", "tracking", "storage")}
    own["search"] = study.search.model_copy(update={"database": given.search.database})
    return study.model_copy(update=own)


def _place_of(folder: Path) -> Location:
    """Where a study lies, by its folder: through a link, or as `.`, it is the same study under the same name."""
    folder = folder.resolve()
    return Location(str(folder.parent), folder.name)


def _folder_of(path: Path) -> Path:
    """The study's folder where a path leads to the resolved file in it: that file is the folder's, not the user's."""
    is_recorded = path.name == RESOLVED and path.is_file() and (path.parent / JOURNAL).is_file()
    return path.absolute().parent if is_recorded else path


def _uri_of_copy(folder: Path) -> str | None:
    """The URI whose working copy a folder is; a file in the folder says so, and the folder must lie where it would."""
    uri = uri_of_copy(folder)
    return uri if uri is not None and locate(uri).folder == folder.absolute() else None


def check_memory(folder: Path) -> None:
    """Refuse a study's folder that has lost its memory, or what its trials were trained with.

    Raises:
        StudyError: There are trials and no journal, or no resolved study file.
    """
    lost = [name for name in (JOURNAL, RESOLVED) if not (folder / name).is_file()]
    if lost and any(folder.glob("trials/*")):
        raise StudyError(
            f"{folder}: {' and '.join(lost)} is gone, and the trials there mean nothing without it; put it back from a "
            "copy, or give the study another name"
        )
