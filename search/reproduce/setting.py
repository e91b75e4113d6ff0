"""From a paper's shipped study file and the options of the command to the study that is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spaces
from search.compare.contenders import Contender
from search.errors import InputError
from search.reproduce.paper import Paper, Setting
from search.study.config import StudyConfig, load_study, to_dict

COMPARED = ("seed", "data", "split", "fix", "model", "train")
"""Sections that decide what a training comes to."""
UNCOMPARED = ("data.root", "data.download")
"""What within them is the machine's, not the paper's."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says; None and empty: as the paper's study file has it."""

    data: str | None = None
    root: str | None = None
    repeats: int | None = None
    epochs: int | None = None
    limit: int | None = None
    cells: tuple[str, ...] = ()
    images: tuple[int, ...] = ()
    """Positions of the test images whose saliency is drawn."""
    overrides: tuple[str, ...] = ()
    storage: str | None = None
    address: str | None = None
    seed: int | None = None

    def assignments(self) -> list[str]:
        """As `path.to.key=value`, those of --set last."""
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
    """Read whole numbers with commas between them.

    Raises:
        InputError: Something else stands there.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    faults = [
        f"{where}: expected whole numbers such as 0,1,2, found {word!r}" for word in words if not word.isdecimal()
    ]
    if faults:
        raise InputError(*faults)
    return tuple(int(word) for word in words)


def load_shipped(setting: Setting, overrides: list[str]) -> StudyConfig:
    """The study file with the paper's recipe, and its protocol where a sweep needs another one."""
    path = Path(spaces.__file__).parent / "studies" / f"{setting.study}.yaml"
    # All four papers computed in float32, whatever this machine would settle on.
    return load_study(path, ["train.precision=float32", *setting.overrides, *overrides])


def make_study(setting: Setting, options: Options) -> StudyConfig:
    """The study that is run, under a name of its own for each scale.

    Raises:
        StudyError: An option or override that no study file can have.
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
    """A run shorter than the epochs between two validations validates at its end."""
    given = [value for key, _, value in (item.partition("=") for item in assignments) if key == "train.epochs"]
    if not given or not given[-1].isdecimal() or int(given[-1]) >= shipped.train.validate_every:
        return []
    return [f"train.validate_every={given[-1]}"]


def with_cells(study: StudyConfig, paper: Paper, names: tuple[str, ...]) -> StudyConfig:
    """The study with the cells as its baselines, so that they are checked and recorded as such."""
    points = tuple(paper.cells[name].point for name in names)
    # The families of a study file speak of its own baselines; the paper's tables bring theirs.
    changes = {"baselines": points, "family": "baselines"}
    return study.model_copy(update={"compare": study.compare.model_copy(update=changes)})


def contender(study: StudyConfig, paper: Paper, name: str) -> Contender:
    """A cell as something to be trained."""
    from search.study.bind import complete_point

    return Contender(name=name, point=complete_point(study, paper.cells[name].point), trial=None, sweep_rank=None)


def changes(setting: Setting, study: StudyConfig) -> list[dict[str, Any]]:
    """What differs from the shipped study: field, its value there, its value here."""
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
