"""A paper's printed results, read from `printed/*.yaml`: cells, accuracies, and claimed differences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.errors import InputError
from spaces.presets import load_preset

ScoreName = Literal["train", "validation", "test"]
Scalar = bool | int | float | str


class Section(BaseModel):
    """Base of all parts of the file: immutable; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scored(Section):
    """The images that the paper scored, and the rounding of the printed scores."""

    images: int
    """Number of images per run."""
    runs: int
    """Number of runs that a printed number averages; 1 if the paper does not say."""
    step: float
    """Unit of the last printed digit, percentage points: at 1, a printed 80 % means 79.5 to 80.5."""


class Setting(Section):
    """One data set of the paper."""

    study: str
    """Shipped study file with the paper's protocol and recipe."""
    overrides: tuple[str, ...] = ()
    """Changes of the paper to that file, as `path.to.key=value`."""
    scores: dict[ScoreName, Scored]
    other_images: bool = False
    """Whether the paper's test images differ from ours; the interval expected for further runs then does not apply."""
    pooled: bool = False
    """Whether the paper's marks come from a test that pools the images of all runs."""


class Cell(Section):
    """One configuration of a table."""

    label: str
    """Name of the configuration in tables and figures."""
    table: str
    """The paper's tables that contain it, or `ours`."""
    preset: str
    """Name of the shipped point; <paper>/<cell> if unset."""
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Model and training settings that override the preset's."""
    printed: dict[str, dict[ScoreName, float]] = Field(default_factory=dict)
    """Data set -> score -> accuracy, per cent."""

    @property
    def point(self) -> dict[str, Scalar]:
        """The preset's settings, updated with the cell's own."""
        return {**load_preset(self.preset), **self.set}


class Pair(Section):
    """A difference, first minus second."""

    a: str
    b: str
    difference: float | None = None
    """Printed difference, percentage points; computed from the printed accuracies if unset."""
    stars: int | None = None
    """The paper's significance mark, a number of stars; unset if the paper gives none."""


class Family(Section):
    """Comparisons that are tested together, with one correction for multiple testing."""

    title: str
    score: ScoreName
    pairs: tuple[Pair, ...]


class Axis(Section):
    """One axis of a grid."""

    label: str
    values: tuple[int, ...]


class HeatMap(Section):
    """A grid of cells, drawn as a heat map."""

    title: str
    cell: str
    """Template of the cells' names, with {row} and {column}."""
    rows: Axis
    columns: Axis


class PrintedConfusion(Section):
    """A confusion matrix that the paper prints."""

    cell: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Counts; rows are true classes."""


class Confusion(Section):
    """Cells whose confusion matrices are drawn."""

    cells: tuple[str, ...]
    printed: dict[str, PrintedConfusion] = Field(default_factory=dict)
    """Data set -> the paper's confusion matrix."""


class Paper(Section):
    """One paper's tables."""

    name: str
    title: str
    marks: tuple[float, ...]
    """Significance levels: p below the first gives one star, below the second two, and so on."""
    data: dict[str, Setting]
    """Data sets by name; the first is the default."""
    default: tuple[str, ...]
    """Cells and groups that are trained by default."""
    groups: dict[str, tuple[str, ...]]
    """Group -> its cells and groups."""
    cells: dict[str, Cell]
    families: tuple[Family, ...]
    curves: tuple[str, ...] = ()
    """Cells whose loss curves are drawn."""
    heat_map: HeatMap | None = None
    confusion: Confusion | None = None
    saliency: tuple[str, ...] = ()
    """Cells whose saliency maps are drawn."""

    @model_validator(mode="before")
    @classmethod
    def _name_presets(cls, data: dict[str, Any]) -> dict[str, Any]:
        cells = {name: {"preset": f"{data['name']}/{name}", **cell} for name, cell in data["cells"].items()}
        return {**data, "cells": cells}

    def setting(self, name: str | None) -> tuple[str, Setting]:
        """Return the name and setting of one of the paper's data sets; the first if `name` is None.

        Raises:
            InputError: The paper has no such data set.
        """
        chosen = name or next(iter(self.data))
        if chosen not in self.data:
            raise InputError(f"--data: {_unknown(chosen, f'data set of {self.name}', self.data)}")
        return chosen, self.data[chosen]

    def choose(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the cells that some names of cells and groups select, in the paper's order, without duplicates.

        Raises:
            InputError: A name is neither a cell nor a group; one line for each.
        """
        known = ["all", *self.groups, *self.cells]
        faults = [
            f"--cells: {_unknown(name, f'cell or group of {self.name}', known)}" for name in names if name not in known
        ]
        if faults:
            raise InputError(*faults)
        wanted = set(self._expand(names))
        return tuple(name for name in self.cells if name in wanted)

    def _expand(self, names: Iterable[str]) -> Iterable[str]:
        for name in names:
            if name == "all":
                yield from self.cells
            elif name in self.groups:
                yield from self._expand(self.groups[name])
            else:
                yield name


def paper_names() -> tuple[str, ...]:
    """Return the names of the papers that can be reproduced."""
    folder = resources.files("search.reproduce") / "printed"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


@cache
def load_paper(name: str) -> Paper:
    """Read a paper's printed results.

    Raises:
        InputError: There is no paper of that name.
    """
    if name not in paper_names():
        raise InputError(_unknown(name, "paper", paper_names()))
    text = (resources.files("search.reproduce") / "printed" / f"{name}.yaml").read_text(encoding="utf-8")
    return Paper.model_validate({"name": name, **yaml.safe_load(text)})


def _unknown(name: str, what: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return f"expected a {what}, found {name!r}; {hint}"
