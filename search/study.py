"""The study file: its schema, how it is read, and what may change in it once its sweep began."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search.data.datasets import DataConfig
from search.data.splits import SplitConfig
from search.errors import NothingToDoError, StudyChangedError, StudyError
from search.training.config import TrainConfig
from spaces.presets import UnknownPreset, load_preset, load_space
from spaces.space import Space, SpaceError

Scalar = bool | int | float | str
PointLike = str | dict[str, Scalar]
"""A preset's name, or a point written out."""


class Section(BaseModel):
    """A part of the study file: immutable, and no key is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    database: str | None = None
    """Optuna storage URL (postgresql://...); unset: a journal file in the study folder."""


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
    """Ray cluster to join (host:port, auto or ray://host:port); unset: a local one."""
    dashboard: bool = False
    """Serve Ray's dashboard on loopback (local cluster only; needs ray[default])."""
    runner: Literal["ray", "inline"] = "ray"
    """ray, or inline: one trial after another in this process."""


class CompareSection(Section):
    """What is trained again on fresh blocks, and what is claimed."""

    finalists: Annotated[int, Field(ge=1)] = 1
    """How many of the sweep's best points go on."""
    baselines: tuple[PointLike, ...] = ()
    """Presets or points that the finalists must beat."""
    repeats: Annotated[int, Field(ge=1)] = 10
    """Blocks: every point is trained once on each."""
    family: Literal["baselines", "all-pairs"] = "baselines"
    """The declared comparisons: each finalist with each baseline, or all pairs."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Family-wise error rate."""
    rope: Annotated[float, Field(ge=0, lt=0.5)] = 0.005
    """Differences in accuracy up to this count as practically equivalent."""


class TrackingSection(Section):
    """Where MLflow records."""

    enabled: bool = True
    """Record in MLflow; the journal is written in any case."""
    uri: str | None = None
    """MLflow tracking URI; unset: SQLite in the storage folder."""
    experiment: str | None = None
    """Experiment name; unset: the study's name."""


class StudyConfig(Section):
    """One study file, checked."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names the study's folder and its MLflow experiment."""
    storage: str = "runs"
    """Folder that holds studies; the study lies in <storage>/<name>/."""
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

    @property
    def folder(self) -> Path:
        """Where everything of this study lies."""
        return Path(self.storage).expanduser() / self.name

    def build_space(self) -> Space:
        """Make the space that is searched: the named or inline one with `fix` applied."""
        base = load_space(self.space) if isinstance(self.space, str) else Space.from_dict(self.name, self.space)
        return base.pin(self.fix)


EXTENDABLE = ("search.trials", "search.time_budget_mins", "search.max_failed_fraction")
"""Fields of the sweep that may change between two runs of the command: they only extend the budget."""
FREE = ("resources.", "tracking.", "compare.", "data.root", "data.download", "storage")
"""What never changes a trained trial: how it is run, recorded and afterwards compared, and where the data lie."""


def _flatten(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, Mapping) and value:
        flat: dict[str, object] = {}
        for key, item in value.items():
            flat.update(_flatten(item, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    return {prefix: value}


def to_dict(study: StudyConfig) -> dict[str, Any]:
    """The resolved study as plain data, every default written out."""
    return study.model_dump(mode="json")


def _set(data: dict[str, Any], assignment: str) -> None:
    path, separator, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise StudyError(f"--set {assignment}: expected path.to.key=value, such as train.epochs=3")
    node = data
    for key in keys[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise StudyError(f"--set {assignment}: {key} is not a section, it holds {child!r}")
        node = child
    try:
        node[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise StudyError(f"--set {assignment}: the value is not YAML") from None


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema knows at the place of an unknown one."""
    node: Any = StudyConfig
    for step in path:
        annotation = node.model_fields[step].annotation if _is_model(node) and step in node.model_fields else None
        if annotation is None:
            return []
        node = annotation
    if _is_model(node):
        return list(node.model_fields)
    return [item.name for item in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []


def _is_model(node: object) -> bool:
    return isinstance(node, type) and issubclass(node, BaseModel)


def _explain(source: str, error: ValidationError) -> Iterable[str]:
    """Turn pydantic's findings into one line each: where, expected, found, mend."""
    for item in error.errors():
        path = item["loc"]
        where = ".".join(str(step) for step in path)
        if item["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            known = _known_keys(path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            yield f"{source}: {where}: unknown key; {hint}"
        elif item["type"] == "missing":
            yield f"{source}: {where}: missing; add it"
        elif item["type"] == "value_error":
            for line in str(item["ctx"]["error"]).splitlines():
                yield f"{source}: {where}.{line}" if where else f"{source}: {line}"
        else:
            message = item["msg"][:1].lower() + item["msg"][1:]
            yield f"{source}: {where}: {message}, got {item['input']!r}"


def _check_points(source: str, study: StudyConfig) -> Iterable[str]:
    for section, points in (("search.enqueue", study.search.enqueue), ("compare.baselines", study.compare.baselines)):
        for position, point in enumerate(points):
            if isinstance(point, str):
                try:
                    load_preset(point)
                except UnknownPreset as error:
                    yield f"{source}: {section}.{position}: {error}"


def parse_study(data: object, source: str, overrides: Iterable[str] = ()) -> StudyConfig:
    """Check a study given as plain data.

    Args:
        data: What the YAML holds.
        source: Named in each fault.
        overrides: `path.to.key=value` assignments, applied first.

    Raises:
        StudyError: With one line per fault, all faults at once.
    """
    if not isinstance(data, dict):
        raise StudyError(f"{source}: expected a mapping of sections, got {type(data).__name__}")
    for assignment in overrides:
        _set(data, assignment)
    try:
        study = StudyConfig.model_validate(data)
    except ValidationError as error:
        raise StudyError(*_explain(source, error)) from None
    faults = list(_check_points(source, study))
    try:
        space = study.build_space()
        if space.size == 0:
            faults.append(f"{source}: space: no point is possible; loosen fix or forbidden")
    except UnknownPreset as error:
        faults.append(f"{source}: space: {error}")
    except SpaceError as error:
        faults.extend(f"{source}: space: {line}" for line in error.faults)
    if faults:
        raise StudyError(*faults)
    return study


def load_study(path: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read and check a study file.

    Raises:
        StudyError: With one line per fault, all faults at once.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file; shipped ones: {', '.join(shipped_studies())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not readable as a study file ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise StudyError(f"{place}: not YAML: {getattr(error, 'problem', error)}") from None
    return parse_study(data, str(path), overrides)


def shipped_studies() -> list[str]:
    """Paths of the study files that come with the project."""
    import spaces

    folder = Path(spaces.__file__).parent / "studies"
    return sorted(os.path.relpath(path) for path in folder.glob("*.yaml"))


def find_study(path: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read the study as it was run: from its folder, or through the file that began it.

    Args:
        path: A study file or a study folder.
        overrides: Needed only if the sweep was given another name, storage or budget with them.

    Raises:
        NothingToDoError: No sweep of this study has begun here.
    """
    folder = path if path.is_dir() else load_study(path, overrides).folder
    resolved = folder / "study.yaml"
    if not resolved.is_file():
        raise NothingToDoError(f"{folder}: no study here yet; run `hybrid-search sweep` first (or give its folder)")
    study = load_study(resolved, overrides)
    # A folder that was moved is still the study it was.
    return study.model_copy(update={"storage": str(folder.parent), "name": folder.name}) if path.is_dir() else study


def check_folder(study: StudyConfig) -> None:
    """Check that a study that began earlier still says the same; writes nothing.

    Raises:
        StudyChangedError: Fields changed that would make old and new trials incomparable.
    """
    resolved = study.folder / "study.yaml"
    if resolved.is_file():
        _refuse_changes(load_study(resolved), study)


def claim_folder(study: StudyConfig) -> Path:
    """Make the study's folder and write the resolved file there.

    Raises:
        StudyChangedError: Fields changed that would make old and new trials incomparable.
        StudyError: The storage cannot be written.
    """
    check_folder(study)
    folder = study.folder
    resolved = folder / "study.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(resolved, yaml.safe_dump(to_dict(study), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise StudyError(f"storage: {folder} cannot be written ({error.strerror}); choose another storage") from None
    return folder


def _refuse_changes(before: StudyConfig, after: StudyConfig) -> None:
    old, new = _flatten(to_dict(before)), _flatten(to_dict(after))
    faults = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was == now or path.startswith(FREE):
            continue
        if path == "search.trials" and isinstance(was, int) and isinstance(now, int) and now >= was:
            continue
        if path in EXTENDABLE[1:]:
            continue
        faults.append(
            f"{after.folder}: {path} was {was!r} when the sweep began and is {now!r} now; "
            "put it back, or give the study another name"
        )
    if faults:
        raise StudyChangedError(*faults)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
