"""Makes the study of a reproduction from the paper's shipped study file and the options of the command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spaces
from search.compare.contenders import Contender
from search.errors import InputError
from search.reproduce.paper import Paper, Setting
from search.study.config import StudyConfig, to_dict
from search.study.load import load_study

COMPARED = ("seed", "data", "split", "fix", "model", "train")
"""Sections of a study file that determine the result of a training run."""
UNCOMPARED = ("data.root", "data.download")
"""Fields of these sections that depend on the machine, not on the paper."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command; None and empty values keep those of the paper's study file."""

    data: str | None = None
    root: str | None = None
    repeats: int | None = None
    epochs: int | None = None
    limit: int | None = None
    cells: tuple[str, ...] = ()
    images: tuple[int, ...] = ()
    """Positions of the test images whose saliency maps are drawn."""
    overrides: tuple[str, ...] = ()
    storage: str | None = None
    address: str | None = None
    seed: int | None = None

    def assignments(self) -> list[str]:
        """Return the options as `path.to.key=value`, those of --set last."""
        named = {
            "data.root": self.root,
            "compare.repeats": self.repeats,
            "train.epochs": self.epochs,
            "data.limit": self.limit,
            "storage": self.storage,
            "resources.address": self.address,
            "seed": self.seed,
        }
        return [*(f"{key}={value}" for key, value in named.items() if value is not None), *self.overrides]


def parse_numbers(where: str, text: str) -> tuple[int, ...]:
    """Parse integers separated by commas.

    Raises:
        InputError: The text contains anything else.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    faults = [
        f"{where}: expected whole numbers such as 0,1,2, found {word!r}" for word in words if not word.isdecimal()
    ]
    if faults:
        raise InputError(*faults)
    return tuple(int(word) for word in words)


def load_shipped(setting: Setting, overrides: list[str]) -> StudyConfig:
    """Load the study file with the paper's recipe and protocol."""
    path = Path(spaces.__file__).parent / "studies" / f"{setting.study}.yaml"
    # All four papers trained in float32, whatever the default precision of this machine.
    return load_study(path, ["train.precision=float32", *setting.overrides, *overrides])


def make_study(setting: Setting, options: Options) -> StudyConfig:
    """Return the study to run, with a name for each scale (limit, epochs, seed) unless the user named it.

    Raises:
        StudyError: An option or override is invalid.
    """
    shipped = load_shipped(setting, [])
    assignments = options.assignments()
    study = load_shipped(setting, [*_shortened(shipped, assignments), *assignments])
    if study.name != shipped.name:  # the user named it
        return study
    scale = {
        "limit": (study.data.limit, shipped.data.limit),
        "epochs": (study.train.epochs, shipped.train.epochs),
        "seed": (study.seed, shipped.seed),
    }
    marks = [f"-{name}{here}" for name, (here, there) in scale.items() if here != there]
    return study.model_copy(update={"name": f"reproduce-{study.name}{''.join(marks)}"})


def _shortened(shipped: StudyConfig, assignments: list[str]) -> list[str]:
    """Lower the validation interval of a run with fewer epochs than the interval, so that it validates at its end."""
    given = [value for key, _, value in (item.partition("=") for item in assignments) if key == "train.epochs"]
    if not given or not given[-1].isdecimal() or int(given[-1]) >= shipped.train.validate_every:
        return []
    return [f"train.validate_every={given[-1]}"]


def with_cells(study: StudyConfig, paper: Paper, names: tuple[str, ...]) -> StudyConfig:
    """Return the study with the cells as its baselines, which are checked and recorded like any others."""
    points = tuple(paper.cells[name].point for name in names)
    # A study file's families name its own baselines; here the paper's tables define the families.
    changes = {"baselines": points, "family": "baselines"}
    return study.model_copy(update={"compare": study.compare.model_copy(update=changes)})


def contender(study: StudyConfig, paper: Paper, name: str) -> Contender:
    """Return a cell as a contender of the comparison."""
    from search.study.bind import complete_point

    return Contender(name=name, point=complete_point(study, paper.cells[name].point), trial=None, sweep_rank=None)


def changes(setting: Setting, study: StudyConfig) -> list[dict[str, Any]]:
    """Return the fields that differ from the shipped study, with the value there and the value here."""
    shipped, here = (
        dict(_flat({name: to_dict(item)[name] for name in COMPARED})) for item in (load_shipped(setting, []), study)
    )
    return [
        {"field": name, "shipped": shipped.get(name), "here": here.get(name)}
        for name in dict.fromkeys((*shipped, *here))
        if shipped.get(name) != here.get(name) and name not in UNCOMPARED
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, value
