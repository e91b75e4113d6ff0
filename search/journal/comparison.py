"""The record of a comparison, stored as `comparison/comparison.json`: everything needed to check its verdicts.

`search.journal.comparison_file` reads and writes it. The order of the fields is the order in the file. A field with a
default is one that files of earlier versions may lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from search.journal.selection import Selection
from search.significance.records import Comparison
from search.text.names import Key


@dataclass(frozen=True, kw_only=True)
class ComparedData:
    """The data set of a comparison."""

    name: str = ""
    digest: str
    num_test: int | None = None
    num_classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class SharedBlock:
    """The seeds of a block that all configurations share."""

    name: str
    split_seed: int
    init_seed: int
    order_seed: int


@dataclass(frozen=True, kw_only=True)
class DeclaredFamily:
    """A declared set of comparisons."""

    name: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    adjust: str = "holm"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The declared settings, and the families derived from them."""

    repeats: int
    family: str | Mapping[str, tuple[tuple[str, ...], ...]]
    estimand: str = "new-data"
    adjust: str = "holm"
    alpha: float
    rope: float
    interim: int | None = None
    """Number of declared interim analyses, including the last one; not stored if none were declared."""
    choose: str | None = None
    """How the finalists were chosen; not stored if by accuracy."""
    confirm: int | None = None
    error_rate: str | None = None
    families: tuple[DeclaredFamily, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RacedRepeat:
    """A repeat of a race, which uses no test accuracy."""

    key: Key
    block: str
    state: str = "completed"
    diverged_in_epoch: int | None = None
    val_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedRepeat:
    """A repeat of a comparison."""

    key: Key
    block: str
    state: str
    """Word of its outcome, or `unfinished`."""
    diverged_in_epoch: int | None
    val_accuracy: float | None = None
    test_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class ComparedContender:
    """A configuration of a comparison, and its outcomes."""

    name: str
    finalist: bool
    """Whether the sweep nominated it; False for a baseline."""
    point: Mapping[str, Any]
    sweep_trial: int | None = None
    sweep_rank: int | None = None
    selection_val_accuracy: float | None = None
    mean_test_accuracy: float | None = None
    num_diverged: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """num_parameters, macs and sequential_steps of its model; empty in comparisons of earlier versions."""
    repeats: tuple[ComparedRepeat, ...]


@dataclass(frozen=True, kw_only=True)
class RacedContender:
    """A configuration of a race, and its outcomes."""

    name: str
    finalist: bool = False
    point: Mapping[str, Any]
    sweep_trial: int | None = None
    sweep_rank: int | None = None
    selection_val_accuracy: float | None = None
    num_diverged: int = 0
    repeats: tuple[RacedRepeat, ...]
    mean_val_accuracy: float | None = None
    num_blocks: int | None = None
    num_won: int | None = None
    dropped_after: int | None = None


@dataclass(frozen=True, kw_only=True)
class PairOfRace:
    """How a race decided a declared pair."""

    family: str = ""
    a: str
    b: str
    outcome: Literal["decided", "dropped", "undecided"]
    after: int | None = None
    """Number of blocks after which the pair was closed."""
    winner: str | None = None
    loser: str | None = None
    needed: float
    """E-value that decides the pair."""
    num_blocks: int
    e_values: tuple[float | None, ...]
    """E-value after each block from the second on; None is an infinite one."""


@dataclass(frozen=True, kw_only=True)
class RaceRecord:
    """The race that selected the contenders of a comparison."""

    alpha: float | None = None
    g: float | None = None
    estimand: str | None = None
    scores: str = "test accuracy"
    """The scores that the race used; earlier versions used test accuracies and did not store it."""
    max_blocks: int | None = None
    num_blocks: int | None = None
    blocks: tuple[str, ...] = ()
    families: tuple[DeclaredFamily, ...] = ()
    pairs: tuple[PairOfRace, ...] = ()
    contenders: tuple[RacedContender, ...]
    survivor: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The configuration that every command reports and that `export` writes by default."""

    name: str
    """Name in the comparison, or the trial's label if no comparison contains the configuration."""
    trial: int | None
    """Number of the sweep's trial with this point; None for a baseline that is not a trial of the sweep."""
    state: str
    """State as returned by `search.journal.nominee.state_of`."""
    notes: tuple[str, ...]
    """Warnings, one line each, for example that another configuration has a higher mean."""


@dataclass(frozen=True, kw_only=True)
class ComparisonDocument:
    """A comparison: the declaration, the outcomes of all repeats, and the verdicts."""

    study: str = ""
    key: Key
    """Digest of the contenders, blocks and settings."""
    num_looks: int = 1
    """Number of this interim analysis, from 1."""
    data: ComparedData
    blocks: tuple[SharedBlock, ...] = ()
    declared: Declaration | None = None
    """None in files of earlier versions."""
    race: RaceRecord | None = None
    """The race that selected the contenders; None if there was none."""
    confirmed: tuple[DeclaredFamily, ...] | None = None
    """The families that were judged after a race; None if there was none."""
    contenders: tuple[ComparedContender, ...]
    comparisons: tuple[Comparison, ...]
    selection: Selection | None = None
    choice: Choice | None = None
