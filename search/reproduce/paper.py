"""What a paper prints, read from `printed/*.yaml`: its cells, their numbers, the differences it claims."""

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
    """A part of the file: immutable, and no key is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scored(Section):
    """What the paper scored, and how finely it printed that."""

    images: int
    """Images per run."""
    runs: int
    """Runs that a printed number is the mean of; 1 where the paper does not say."""
    step: float
    """Last printed digit, percentage points: 80 % may be anything from 79.5 to 80.5."""


class Setting(Section):
    """One data set of the paper."""

    study: str
    """Shipped study file with the paper's protocol and recipe."""
    overrides: tuple[str, ...] = ()
    """Where the paper differs from that file, as `path.to.key=value`."""
    scores: dict[ScoreName, Scored]
    other_images: bool = False
    """Its test images are another draw than ours, so that its numbers are no further runs of ours."""
    pooled: bool = False
    """The paper's marks come from a test that pools the images of all runs."""


class Cell(Section):
    """One configuration of a table."""

    label: str
    """What a reader calls it."""
    table: str
    """The paper's tables that it stands in, or `ours`."""
    preset: str
    """The shipped point; unset: <paper>/<cell>."""
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Model and training settings beside the preset's."""
    printed: dict[str, dict[ScoreName, float]] = Field(default_factory=dict)
    """Data set -> score -> accuracy, per cent."""

    @property
    def point(self) -> dict[str, Scalar]:
        """The preset with the cell's own settings."""
        return {**load_preset(self.preset), **self.set}


class Pair(Section):
    """A difference, first minus second."""

    a: str
    b: str
    difference: float | None = None
    """As printed, percentage points; unset: follows from the printed accuracies."""
    stars: int | None = None
    """The paper's mark; unset: it gives none."""


class Family(Section):
    """Comparisons that are judged together."""

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
    """Name of a cell with {row} and {column} in it."""
    rows: Axis
    columns: Axis


class PrintedConfusion(Section):
    """A confusion matrix that the paper prints."""

    cell: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Rows true."""


class Confusion(Section):
    """Cells whose confusion matrices are drawn."""

    cells: tuple[str, ...]
    printed: dict[str, PrintedConfusion] = Field(default_factory=dict)
    """Data set -> the paper's own."""


class Paper(Section):
    """One paper's tables."""

    name: str
    title: str
    marks: tuple[float, ...]
    """p below the first is one star, below the second two, and so on."""
    data: dict[str, Setting]
    """The first is the default."""
    default: tuple[str, ...]
    """Cells and groups that are trained unless told otherwise."""
    groups: dict[str, tuple[str, ...]]
    """Names for several cells and groups."""
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
        """One of the paper's data sets; the first unless named.

        Raises:
            InputError: The paper has no such data set.
        """
        chosen = name or next(iter(self.data))
        if chosen not in self.data:
            raise InputError(f"--data: {_unknown(chosen, f'data set of {self.name}', self.data)}")
        return chosen, self.data[chosen]

    def choose(self, names: Sequence[str]) -> tuple[str, ...]:
        """Cells by their names and groups, in the paper's order, each once.

        Raises:
            InputError: With one line per name that is neither.
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
    """The papers whose tables can be reproduced."""
    folder = resources.files("search.reproduce") / "printed"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


@cache
def load_paper(name: str) -> Paper:
    """Read what a paper prints.

    Raises:
        InputError: No such paper.
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
