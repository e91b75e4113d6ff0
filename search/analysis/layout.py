"""How the columns of a file are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.analysis.columns import (
    BLOCK,
    CONFIG,
    CORRECT,
    DATASET,
    LABEL,
    SCORE,
    Headings,
    shown,
)
from search.analysis.faults import some
from search.analysis.read_options import ReadOptions

PREVIEW = 1000
"""Number of rows that are inspected before the columns are chosen."""
SEEDED = re.compile(
    r"^(?P<config>.+?)[\s_\-./:]*[\s_\-./:(\[](?P<block>(?:seed|fold|split|rep|repeat|run)[\s_\-=:]*\d+)[)\]]?$", re.I
)
"""A name with configuration and block: resnet18_seed0. A bare s does not count: vit_s16 is a model."""
NUMBERED = re.compile(r"^(?P<before>(?:[a-z]+[\s_\-]?)?)(?P<number>\d+)(?P<after>(?:[\s_\-./].*)?)$", re.I)
"""A heading that numbers a block: split0_test_score, seed1, 3."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the columns of a file are read."""

    headings: tuple[str, ...]
    roles: Mapping[str, tuple[int, ...]]
    """Meaning -> positions of its columns; several positions are joined."""
    wide_configs: tuple[int, ...] = ()
    """Positions of columns with one configuration each: scores, or predictions if there is a column of labels."""
    wide_blocks: Mapping[int, str] = field(default_factory=dict)
    """Columns with one block each: position -> block."""
    rows_are_blocks: bool = False
    words: str
    """The chosen meanings as text."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Columns to read."""
        found = [at for places in self.roles.values() for at in places]
        return tuple(dict.fromkeys([*found, *self.wide_configs, *self.wide_blocks]))

    @property
    def metric(self) -> str:
        """The name of the metric, if the headings give one."""
        if self.wide_blocks:
            return _stem(self.headings[next(iter(self.wide_blocks))])
        return self.headings[self.roles[SCORE][0]].strip() if SCORE in self.roles else ""

    def unused(self) -> list[str]:
        """Headings of the columns that are not read, except an index without a heading."""
        return [
            shown(text.strip()) for at, text in enumerate(self.headings) if at not in self.positions and text.strip()
        ]


def make_layout(
    heads: Headings,
    roles: Mapping[str, tuple[int, ...]],
    asked: ReadOptions,
    *,
    wide_configs: tuple[int, ...] = (),
    wide_blocks: Mapping[int, str] | None = None,
    rows_are_blocks: bool = False,
    seeded: bool = False,
) -> Layout:
    """Return the layout with its meanings as text, such as `config = model, block = seed`."""

    def names(places: Sequence[int]) -> str:
        return " + ".join(shown(heads.texts[at].strip()) or "the first column" for at in places)

    parts = [
        meaning if names(places) == meaning else f"{meaning} = {names(places)}"
        for meaning, places in roles.items()
        if not (seeded and meaning == CONFIG)
    ]
    order = [CONFIG, BLOCK, SCORE]
    parts.sort(key=lambda part: order.index(part.split(" ")[0]) if part.split(" ")[0] in order else len(order))
    if wide_configs:
        listed = some([shown(heads.texts[at].strip()) for at in wide_configs], 8)
        parts.insert(0, f"one column {'of predictions ' if LABEL in roles else ''}per config ({listed})")
    if wide_blocks:
        listed = some([shown(heads.texts[at].strip()) for at in wide_blocks], 3)
        parts.insert(1, f"one column per block ({listed})")
    if seeded:
        both = names(roles[CONFIG]) if CONFIG in roles else "the headings"
        parts.insert(0, f"config and block = {both}, split before the seed")
    elif rows_are_blocks:
        parts.append("block = the row")
    elif asked.unpaired and BLOCK not in roles and not wide_blocks:
        parts.append("every row is a separate run")
    elif not wide_blocks and BLOCK not in roles:
        whole = DATASET in roles and LABEL not in roles and CORRECT not in roles
        parts.append("no block: one score per data set" if whole else "no block: one run per config")
    return Layout(
        headings=heads.texts,
        roles=dict(roles),
        wide_configs=wide_configs,
        wide_blocks=dict(wide_blocks or {}),
        rows_are_blocks=rows_are_blocks,
        words=", ".join(parts),
    )


def _stem(heading: str) -> str:
    found = NUMBERED.match(heading.strip())
    return found["after"].strip(" _-./") if found else heading


FINISHED = {"finished", "complete", "completed", "done", "success", "succeeded", "terminated", "ok"}
_UNFINISHED = {
    "running",
    "crashed",
    "failed",
    "fail",
    "killed",
    "pruned",
    "waiting",
    "error",
    "pending",
    "scheduled",
    "stopped",
    "preempted",
    "canceled",
    "cancelled",
}
KNOWN_STATES = {word for each in FINISHED | _UNFINISHED for word in (each, each.upper(), each.capitalize())} | {""}
"""Values of a column of run states; a column `state` with any other value has another meaning."""
