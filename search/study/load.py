"""Read, check and find study files, and the recorded copy in a study's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from search.errors import NothingToDoError, StudyError
from search.storage.location import Location, is_uri, locate
from search.storage.working_copy import JOURNAL, RESOLVED, read_resolved, refresh, uri_of_copy
from search.study.claims import claim_faults
from search.study.config import StudyConfig
from search.study.goals import goal_faults
from search.study.hints import did_you_mean
from search.study.hooks import hook_faults, with_places
from search.study.own_model import BUILT_IN, own_faults, own_point_faults, own_space_faults, with_source
from search.study.samplers import sampler_faults
from search.study.section import top_of
from search.study.settings import name_fault, setting_faults, space_faults
from search.study.shipped import shipped_studies
from search.text.explain import explain
from search.text.yaml_text import MAX_CHARACTERS, Place, YamlError, assign, hint_at_numbers, read_yaml, to_plain
from search.training.config import PRECISIONS, TrainConfig, resolve_precision
from search.uris import Uri, fault_of
from spaces.presets import UnknownPreset, load_preset
from spaces.space import SpaceError

MAX_PARAMETERS = 200
"""Limit of the parameters of a space; there are about 50 settings."""


def _check_points(study: StudyConfig) -> Iterator[str]:
    for section, points in (("search.enqueue", study.search.enqueue), ("compare.baselines", study.compare.baselines)):
        for position, point in enumerate(points):
            if section == "search.enqueue" and top_of(point):
                continue
            if not isinstance(point, str):
                if not study.is_own or BUILT_IN in point:
                    yield from setting_faults(f"{section}.{position}", point)
                continue
            if study.is_own and section == "search.enqueue":
                yield (
                    f"{section}.{position}: expected a point of the space, found the built-in model {point}; put it "
                    "into compare.baselines"
                )
                continue
            try:
                load_preset(point)
            except UnknownPreset as error:
                if section == "search.enqueue" and " of " in point:
                    yield f"{section}.{position}: expected a preset, a point or `top-5 of STUDY`, found {point!r}"
                else:
                    yield f"{section}.{position}: {error}"


def _check_earlier(study: StudyConfig) -> Iterator[str]:
    entries = study.search.learn_from
    for position, entry in enumerate(entries):
        where = f"search.learn_from.{position}"
        if entry.study in (item.study for item in entries[:position]):
            yield f"{where}: the same study as an entry before it; remove one of them"
        for old, new in entry.rename.items():
            is_own = isinstance(study.space, dict) and new in study.space  # also of a model of one's own
            if not is_own and (fault := name_fault(new)):
                yield f"{where}.rename.{old}: {new}: {fault}"


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
    if study.is_own:
        yield from own_space_faults(base, study.model)
        for section, points in (
            ("search.enqueue", study.search.enqueue),
            ("compare.baselines", study.compare.baselines),
        ):
            for position, point in enumerate(points):
                if not isinstance(point, str) and BUILT_IN not in point:
                    yield from own_point_faults(f"{section}.{position}", point, base, study.fix)
    else:
        yield from space_faults(base, study.model)
    try:
        space = base.pin(study.fix)
    except SpaceError as error:
        yield from (_rename(line, study.space_name, "fix") for line in error.faults)
        return
    yield from sampler_faults(study, space)


def _rename(line: str, name: str, section: str) -> str:
    """Replace the name of the space by the field of the study file."""
    return section + line.removeprefix(name) if line.startswith((f"{name}.", f"{name}:")) else f"{section}: {line}"


def gpu_faults(gpus: float) -> list[str]:
    """Return one line if a trial cannot use this number of GPUs, else an empty list."""
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
        **{f"search.learn_from.{place}.study": item.study for place, item in enumerate(study.search.learn_from)},
    }
    for path, uri in places.items():
        if uri is not None and "://" in uri and (fault := fault_of(uri)):
            yield f"{path}: {fault}"
        for name in uri.unset if isinstance(uri, Uri) and uri.filled else ():
            yield f"{path}: refers to ${{{name}}}, but this environment variable is not set; set {name}"


RESERVED_NAMES = ("mlflow.db", "mlartifacts", "mlruns", "default")
"""Names used by MLflow in the storage folder or as an experiment, in any case."""


def _check_names(study: StudyConfig, *, recorded: bool) -> Iterator[str]:
    """Yield faults of names that lead out of the storage folder or are used by MLflow."""
    experiment = study.tracking.experiment
    if experiment is not None:
        if experiment.strip() in {"", ".", ".."} or experiment != experiment.strip() or not experiment.isprintable():
            yield (
                "tracking.experiment: expected a name of printable characters, other than . and .., without spaces "
                f"at either end, found {experiment!r}; rename it"
            )
        elif experiment.casefold() == "default" and not recorded:
            yield f"tracking.experiment: {experiment} is MLflow's own experiment; choose another name"
    if recorded:  # the name of an existing study cannot change
        return
    if study.name.casefold() in RESERVED_NAMES or study.name.casefold().startswith("mlflow.db-"):
        yield f"name: MLflow uses the name {study.name} itself in the storage folder; choose another one"
    if study.name.endswith("."):
        yield f"name: expected a name that does not end with a dot, found {study.name!r}; choose another one"


def _leaves(data: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield path + key
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")


def parse_study(
    data: object,
    source: str,
    overrides: Iterable[str] = (),
    *,
    folder: Path | None = None,
    fill: bool = True,
    recorded: bool = False,
) -> StudyConfig:
    """Validate a study given as plain data.

    Args:
        data: Content of the YAML file.
        source: Name of the source in error messages.
        overrides: Assignments `path.to.key=value`, applied first.
        folder: Folder in which the file of an own model is found; None: the working folder.
        fill: Whether `${NAME}` in addresses is replaced by the environment variable, which must be set.
        recorded: Whether the study was recorded by its sweep; rules added in later versions are then not applied.

    Returns:
        The study, with `train.precision` resolved.

    Raises:
        StudyError: Contains one line per fault, for all faults.
    """
    if not isinstance(data, dict):
        raise StudyError(f"{source}: expected a mapping of sections, got {type(data).__name__}")
    odd: dict[Place, str] = {}
    plain = to_plain(data, odd)
    wrong = [fault for assignment in overrides if (fault := assign(plain, assignment))]
    if wrong:
        raise StudyError(*wrong)
    plain = to_plain(plain, odd)  # overrides may be invalid as well
    faults = [f"{'.'.join(map(str, path))}: {fault}" for path, fault in odd.items()]
    try:
        # Validated as JSON: only there does pydantic's strict mode accept lists as tuples and mappings as sections.
        study = StudyConfig.model_validate_json(json.dumps(plain), strict=True, context={"fill": fill})
    except ValidationError as error:
        faults += explain(error, plain, StudyConfig, odd)
    else:
        faults += (*_check_names(study, recorded=recorded), *_check_points(study), *claim_faults(study.compare))
        faults += (*goal_faults(study), *_check_earlier(study))
        faults += (*_check_addresses(study), *([] if recorded else gpu_faults(study.resources.gpus)))
        if study.search.gpu_hours is not None and not study.resources.gpus and not recorded:
            faults.append(
                "search.gpu_hours: expected resources.gpus above 0, found 0, so that no GPU hour is ever used; set "
                "search.time_budget_mins, or remove it"
            )
        faults += own_faults(study) if study.is_own else setting_faults("model", study.model, recipe=False)
        faults += () if study.is_own and isinstance(study.space, str) else _check_space(study)
        faults += () if recorded else hook_faults(study, folder or Path())
        try:
            study = with_places(with_source(study, folder or Path()), folder or Path())
        except StudyError as error:
            faults += error.faults
    if faults:
        raise StudyError(*(f"{source}: {hint_at_numbers(fault, plain)}" for fault in faults))
    study = study.model_copy(update={"train": _resolve_precision(study)})
    return study if recorded else study.given(_leaves(plain))


def _resolve_precision(study: StudyConfig) -> TrainConfig:
    """Resolve `precision: auto`: as recorded when the study started, else the best choice for this machine."""
    resolved = read_resolved(study.location) if study.train.precision == "auto" else None
    if resolved is not None:
        with contextlib.suppress(yaml.YAMLError, AttributeError):  # damaged: reported when the whole file is read
            began = yaml.safe_load(resolved).get("train").get("precision")
            if began in PRECISIONS:
                return dataclasses.replace(study.train, precision=began)
    return resolve_precision(study.train, gpus=study.resources.gpus)


def load_study(path: Path, overrides: Iterable[str] = (), *, fill: bool = True, recorded: bool = False) -> StudyConfig:
    """Read and validate a study file; see `parse_study`.

    Raises:
        StudyError: Contains one line per fault, for all faults.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            data = read_yaml(stream.read(MAX_CHARACTERS + 1))
    except FileNotFoundError:
        hint = did_you_mean(path) or f"shipped ones: {', '.join(shipped_studies())}"
        raise StudyError(f"{path}: no such study file; {hint}") from None
    except IsADirectoryError:
        raise StudyError(
            f"{path}: expected a study file, found a folder; a study that was started has {path}/study.yaml"
        ) from None
    except YamlError as error:
        raise StudyError(*(f"{path}{f':{line}' if line else ''}: {words}" for line, words in error.faults)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as a study file ({error})") from None
    return parse_study(data, str(path), overrides, folder=path.parent, fill=fill, recorded=recorded)


def read_recorded(folder: Path) -> StudyConfig | None:
    """Read the study as its folder records it; None if there is none. The result is cached until the file changes.

    Raises:
        StudyError: The resolved study file is damaged.
    """
    path = folder / RESOLVED
    if not path.is_file():
        return None
    found = path.stat()
    return _read_recorded(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=1)
def _read_recorded(path: Path, _: tuple[int, ...]) -> StudyConfig:
    return load_study(path, fill=False, recorded=True)


def find_study(path: str | Path, overrides: Iterable[str] = (), *, fill: bool = False) -> StudyConfig:
    """Read a study as it was run; see `find_with_file`."""
    return find_with_file(path, overrides, fill=fill)[0]


def find_with_file(
    path: str | Path, overrides: Iterable[str] = (), *, fill: bool = False
) -> tuple[StudyConfig, StudyConfig | None]:
    """Read a study as it was run, from its folder or via its study file.

    Args:
        path: A study file, or the folder or URI of a study.
        overrides: Only needed if the sweep was given another name, storage or budget this way.
        fill: Whether `${NAME}` in the addresses of a recorded study is replaced by the environment variable, as always
            for study files. For commands that train only: folders may come from others.

    Returns:
        The study, and the content of the study file; None instead if the path is a folder or URI.

    Raises:
        NothingToDoError: No sweep of the study has been started.
        StudyError: The journal or the resolved study file is missing.
        StoreError: The store refuses access.
        StoreAwayError: The store cannot be reached.
    """
    path = folder_of(Path(path)) if not is_uri(str(path)) else path
    overrides = list(overrides)
    is_file = not is_uri(str(path)) and not Path(path).is_dir() and not _uri_of_copy(Path(path))
    given = load_study(Path(path), overrides) if is_file else None
    location = given.location if given is not None else locate_study(path)
    refresh(location)
    check_memory(location.folder)
    fill = fill and given is None
    resolved = location.folder / RESOLVED
    study = read_recorded(location.folder)
    if study is None:
        hint = did_you_mean(Path(path)) if given is None else None
        raise NothingToDoError(
            f"{location}: no study here yet; {hint or 'run `hybrid-search sweep` first, or give the study folder'}"
        )
    if overrides or fill:
        study = load_study(resolved, overrides, fill=fill, recorded=True)
    # The current location counts: the folder may have been moved.
    if given is None:
        return study.model_copy(update={"storage": location.storage, "name": location.name}), None
    return _run_as(study, given), given


def as_run(given: StudyConfig) -> StudyConfig:
    """Return a study as its folder records it, run, recorded and compared as the given study says.

    Raises:
        NothingToDoError: No sweep of the study has been started.
        StudyError: The journal or the resolved study file is missing.
    """
    refresh(given.location)
    check_memory(given.folder)
    study = read_recorded(given.folder)
    if study is None:
        raise NothingToDoError(f"{given.location}: no study here yet; run its sweep first")
    return _run_as(study, given)


def _run_as(study: StudyConfig, given: StudyConfig) -> StudyConfig:
    # The study file decides where the study is and how it is run, recorded and compared, also after the start of the
    # sweep. It also holds the passwords, which the resolved file does not contain.
    fields = ("name", "compare", "resources", "tracking", "storage", "hooks")
    own: dict[str, Any] = {field: getattr(given, field) for field in fields}
    own["search"] = study.search.model_copy(update={"database": given.search.database})
    return study.model_copy(update=own)


def locate_study(path: str | Path) -> Location:
    """Return the location of a study from its folder, its working copy, or its URI."""
    uri = path if isinstance(path, str) and is_uri(path) else _uri_of_copy(Path(path))
    return locate(uri) if uri else _place_of(Path(path))


def _place_of(folder: Path) -> Location:
    """Return the location of a study's folder with links and `.` resolved, so that it has one name only."""
    folder = folder.resolve()
    return Location(str(folder.parent), folder.name)


def folder_of(path: Path) -> Path:
    """Return the study's folder if the path is the resolved study file in it, else the path."""
    is_recorded = path.name == RESOLVED and path.is_file() and (path.parent / JOURNAL).is_file()
    return path.absolute().parent if is_recorded else path


def _uri_of_copy(folder: Path) -> str | None:
    """Return the URI of the study whose working copy a folder is, if the folder is also in the expected place."""
    uri = uri_of_copy(folder)
    return uri if uri is not None and locate(uri).folder == folder.absolute() else None


def check_memory(folder: Path) -> None:
    """Check that a folder with trials contains the journal and the resolved study file.

    Raises:
        StudyError: One of them is missing.
    """
    lost = [name for name in (JOURNAL, RESOLVED) if not (folder / name).is_file()]
    if lost and any(folder.glob("trials/*")):
        raise StudyError(
            f"{folder}: {' and '.join(lost)} missing, so the trials cannot be used; restore it from a copy, or give "
            "the study another name"
        )
