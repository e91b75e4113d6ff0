"""Read an earlier study, and express its trials in the parameters of the present one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from search.data.errors import DataError
from search.data.splits import SplitConfig
from search.errors import StudyError
from search.journal.measures import MEASURES
from search.journal.reading import read_history, read_id
from search.records import TrialRecord, digest_of
from search.storage.lease import is_driven_anywhere
from search.storage.location import is_uri, shown
from search.storage.working_copy import JOURNAL, RESOLVED, refresh
from search.study.config import EarlierStudy, StudyConfig
from search.study.hints import did_you_mean
from search.study.load import check_memory, locate_study
from search.study.settings import BINDS_TO, MODEL_DEFAULTS
from search.text.explain import explain
from search.text.yaml_text import YamlError, read_yaml
from search.training.config import TRAIN_FIELDS, TrainConfig
from spaces.conditions import holds
from spaces.domains import show
from spaces.space import Point, SpaceError

_TRAIN = TypeAdapter(TrainConfig)
NOT_COMPARED = ("precision",)
"""Training settings that change the speed, and the scores by less than a seed does."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An earlier study, with the names of this one."""

    where: str
    """Field of the study file that names it, for error messages."""
    name: str
    """The study, for display."""
    journal: str
    """Id of its journal."""
    data: Mapping[str, Any]
    """The data of its last start: name and digest."""
    device: str | None
    """`cuda` or `cpu`, of its last start; None if that did not record it."""
    split: SplitConfig
    settings: Mapping[str, Any]
    """Settings of `model` and `train` that hold for all of its trials, unless their points say otherwise."""
    records: tuple[TrialRecord, ...]
    """Its trials, in the order in which they started, with renamed points."""

    @property
    def varied(self) -> set[str]:
        """Names of the settings that its points contain."""
        return {BINDS_TO.get(name, name) for record in self.records for name in record.point}


def open_earlier(study: StudyConfig, entry: EarlierStudy, where: str) -> Opened:
    """Read an earlier study.

    Args:
        study: The present study.
        entry: The earlier study.
        where: Field of the study file that names it.

    Raises:
        StudyError: There is no such study, a command drives it, or its files are damaged.
        InputError: Its journal is damaged.
        StoreError: The store refuses access.
        StoreAwayError: The store cannot be reached.
    """
    is_remote = is_uri(entry.study)
    name = shown(entry.study) if is_remote else str(entry.study)
    path = Path(entry.study).expanduser()
    if not is_remote and path.is_file():
        raise StudyError(f"{where}: expected the folder or URI of a study, found the file {name}")
    location = locate_study(entry.study if is_remote else path)
    if not is_remote and location.folder.absolute() == study.folder.absolute().resolve():
        raise StudyError(f"{where}: a study cannot learn from itself, found {name}; remove it")
    if is_remote and location.uri == study.location.uri:
        raise StudyError(f"{where}: a study cannot learn from itself, found {name}; remove it")
    refresh(location)
    folder = location.folder
    if not (folder / RESOLVED).is_file() or not (folder / JOURNAL).is_file():
        check_memory(folder)
        hint = None if is_remote else did_you_mean(path)
        raise StudyError(
            f"{where}: expected a study that was swept, found none in {name}; {hint or 'correct the path'}"
        )
    if is_driven_anywhere(location):
        raise StudyError(f"{where}: {name} is running; wait for its end, or pause it with `hybrid-search pause {name}`")
    history = read_history(folder)
    sessions = [event for event in history.marks if event["event"] == "session" and event.get("data")]
    resolved = _read_resolved(folder / RESOLVED, f"{where}: {name}", entry.rename)
    trials = [record for record in history.records.values() if record.kind == "trial"]
    if not trials:
        raise StudyError(f"{where}: {name} has no trials; sweep it first, or remove it here")
    if not sessions:
        raise StudyError(f"{where}: the journal of {name} does not say which data it had; remove it here")
    return Opened(
        where=where,
        name=name,
        journal=read_id(folder),
        data=sessions[-1]["data"],
        device=sessions[-1].get("device"),
        split=resolved.split,
        settings=resolved.settings,
        records=tuple(dataclasses.replace(record, point=_renamed(record.point, entry.rename)) for record in trials),
    )


@dataclass(frozen=True, kw_only=True)
class _Resolved:
    split: SplitConfig
    settings: Mapping[str, Any]


def _read_resolved(path: Path, where: str, rename: Mapping[str, str]) -> _Resolved:
    """Read the sections of a resolved study file that matter here; its space may have names that are unknown here."""
    damaged = f"{where}: study.yaml is damaged"
    mend = "restore it from a copy"
    train: dict[str, Any] = {}
    try:
        plain = read_yaml(path.read_text(encoding="utf-8"))
        train, model = _renamed(plain["train"], rename), _renamed(plain.get("model", {}), rename)
        unknown = [name for name in train if name not in TRAIN_FIELDS]
        if unknown:
            raise StudyError(f"{where}: train.{unknown[0]}: unknown here; say with `rename` what its name is here")
        recipe = dataclasses.asdict(_TRAIN.validate_json(json.dumps(train), strict=True))
        settings = {**_defaults(model), **model, **recipe, **_source(plain.get("code"))}
        return _Resolved(split=SplitConfig(**plain.get("split", {})), settings=settings)
    except ValidationError as error:
        raise StudyError(f"{damaged} (train.{next(explain(error, train, object, ()))}); {mend}") from None
    except (YamlError, DataError) as error:
        raise StudyError(f"{damaged} ({str(error).splitlines()[0]}); {mend}") from None
    except (OSError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
        raise StudyError(f"{damaged}; {mend}") from None


def _renamed(settings: Mapping[str, Any], rename: Mapping[str, str]) -> dict[str, Any]:
    return {rename.get(name, name): value for name, value in settings.items()}


def settings_of(study: StudyConfig) -> dict[str, Any]:
    """Return the settings of a study that hold for all of its trials, unless their points say otherwise."""
    return {**_defaults(study.model), **study.model, **dataclasses.asdict(study.train), **_source(study.code)}


def _defaults(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the built-in family; those of an own model are in its code."""
    return {} if "factory" in model else dict(MODEL_DEFAULTS)


def _source(code: Mapping[str, str] | None) -> dict[str, str]:
    """Return the source of an own model as one more setting; nothing without an own model."""
    return {"source": digest_of(dict(code))[:8]} if code else {}


def other_recipe(study: StudyConfig, earlier: Opened, digest: str) -> Iterator[str]:
    """Yield in which respects the scores of an earlier study are not comparable with those of this one.

    Settings that vary in one of the two studies are left out; `to_point` compares them trial by trial.

    Args:
        study: The present study.
        earlier: The earlier one.
        digest: Digest of the present study's data.
    """
    if earlier.data["digest"] != digest:
        names = f"{earlier.data['name']} there and {study.data.name} here"
        yield f"data ({names}{', with other images' if earlier.data['name'] == study.data.name else ''})"
    if earlier.split != study.split:
        yield f"split ({_show_split(earlier.split)} there and {_show_split(study.split)} here)"
    yield from _other_costs(study, earlier)
    here = settings_of(study)
    varied = earlier.varied | {BINDS_TO.get(item.name, item.name) for item in study.build_space().parameters}
    for name in dict.fromkeys((*here, *earlier.settings)):
        before, now = earlier.settings.get(name), here.get(name)
        if name not in varied and name not in NOT_COMPARED and before != now:
            yield f"{name} ({_show(before)} there and {_show(now)} here)"


def _other_costs(study: StudyConfig, earlier: Opened) -> Iterator[str]:
    """Yield why measured costs, if they are objectives or have limits, are not those that this study would measure."""
    if not any(MEASURES[name].kind == "cost" for name in (*study.search.objectives, *study.search.limits)):
        return
    device = "cuda" if study.resources.gpus else "cpu"
    if earlier.device not in {None, device}:
        yield f"device ({earlier.device} there and {device} here)"
    blocks = {len(record.blocks) for record in earlier.records}
    if blocks != {study.search.blocks}:
        yield f"search.blocks ({' or '.join(map(str, sorted(blocks)))} there and {study.search.blocks} here)"


def _show_split(split: SplitConfig) -> str:
    return split.method if split.method == "none" else f"{split.method} {split.fraction:g}"


def _show(value: object) -> str:
    return "not set" if value is None else show(value)


def to_point(study: StudyConfig, earlier: Opened, record: TrialRecord) -> Point:
    """Express the training of an earlier trial as a point of this study's space.

    A parameter that the earlier study did not vary has the value with which that study trained.

    Args:
        study: The present study.
        earlier: The earlier study.
        record: One of its trials.

    Raises:
        SpaceError: The point lies outside the space, or has a setting that differs from the one of this study.
    """
    space, here = study.build_space(), settings_of(study)
    own = {BINDS_TO.get(name, name): value for name, value in record.point.items()}
    there = {**earlier.settings, **own}
    values: dict[str, Any] = {}
    taken = set()
    for parameter in space.parameters:
        setting = BINDS_TO.get(parameter.name, parameter.name)
        if not holds(parameter.when, values):
            continue
        taken.add(setting)
        if there.get(setting) is None:
            raise SpaceError(f"{parameter.name}: not set there")
        value = parameter.domain.match(there[setting])
        if value is None:
            raise SpaceError(f"{parameter.name}: outside {parameter.domain.describe()}")
        values[parameter.name] = value
    for name, value in own.items():
        if name not in taken and here.get(name) != value:
            raise SpaceError(f"{name}: other than {_show(here.get(name))}, as in such trials here")
    return space.point(values)
