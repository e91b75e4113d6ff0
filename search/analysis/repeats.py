"""The repeats in a table: one per data set, configuration and block, with any number of rows each.

Shapes: N rows, P repeats.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.analysis.cells import marks_of
from search.analysis.columns import BLOCK, CONFIG, DATASET, FAILED
from search.analysis.faults import NUM_SHOWN, Faults
from search.analysis.table import Table
from search.significance.results import Results


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """The repeats of a table, ordered by first appearance of data set, configuration and block."""

    datasets: tuple[str, ...]
    configs: tuple[str, ...]
    blocks: tuple[str, ...]
    codes: NDArray[np.intp]
    """Data set, configuration and block of each repeat, shape (3, P)."""
    repeat_of: NDArray[np.intp]
    """The repeat of each row, shape (N,)."""

    @property
    def num_repeats(self) -> int:
        """Number of repeats P."""
        return int(self.codes.shape[1])

    def name(self, repeat: int) -> str:
        """Return the name of a repeat for messages."""
        dataset, config, block = (int(code) for code in self.codes[:, repeat])
        before = f"data set {self.datasets[dataset]!r}, " if self.datasets[dataset] else ""
        return f"{before}config {self.configs[config]!r}, block {self.blocks[block]!r}"


def find_repeats(table: Table) -> Repeats:
    """Identify the repeats of a table.

    Args:
        table: The table.
    """
    config, block, dataset = (table.columns.get(name) for name in (CONFIG, BLOCK, DATASET))
    assert config is not None
    assert block is not None
    shape = (len(dataset.values) if dataset else 1, len(config.values), len(block.values))
    keys = config.codes.astype(np.int64)
    if dataset:
        keys += dataset.codes.astype(np.int64) * shape[1]
    keys *= shape[2]
    keys += block.codes
    found, repeat_of = np.unique(keys, return_inverse=True)
    return Repeats(
        datasets=dataset.values if dataset else ("",),
        configs=config.values,
        blocks=block.values,
        codes=np.stack(np.unravel_index(found, shape)),
        repeat_of=repeat_of,
    )


def report_duplicates(
    table: Table, several: Iterable[tuple[str, NDArray[Any]]], num_several: int, faults: Faults
) -> None:
    """Add faults for duplicate rows.

    Args:
        table: The table.
        several: The name of each duplicate and its rows; only the first few are consumed.
        num_several: Number of duplicates.
        faults: Receives the faults.
    """
    for name, rows in itertools.islice(several, NUM_SHOWN):
        faults.add(
            f"{name}: expected once, found {rows.size} times; keep one, or name more columns that distinguish them",
            table.places.words(rows),
        )
    if num_several > NUM_SHOWN:
        faults.add(f"{num_several - NUM_SHOWN} more occur several times; keep one of each")


def failures_of(table: Table, repeats: Repeats, faults: Faults) -> NDArray[np.bool_]:
    """Return whether the training of each repeat diverged.

    Args:
        table: The table; without a column that marks divergence, no repeat diverged.
        repeats: The repeats of the table.
        faults: Receives a fault for repeats with contradictory rows.

    Returns:
        Shape (P,).
    """
    if FAILED not in table.columns:
        return np.zeros(repeats.num_repeats, dtype=np.bool_)
    marks = marks_of(table, FAILED, faults)[table.columns[FAILED].codes] == 1
    total, failed = (
        np.bincount(repeats.repeat_of, weights=weights, minlength=repeats.num_repeats) for weights in (None, marks)
    )
    for repeat in np.flatnonzero((failed > 0) & (failed < total))[:NUM_SHOWN].tolist():
        rows = np.flatnonzero((repeats.repeat_of == repeat) & marks)
        faults.add(
            f"{repeats.name(repeat)}: expected {FAILED} to be the same in all rows of a repeat, found both; "
            "mark all or none",
            table.places.words(rows),
        )
    return np.asarray(failed > 0)


def results_of(
    repeats: Repeats,
    failed: NDArray[np.bool_],
    *,
    scores: NDArray[np.float64] | None = None,
    correct: Sequence[NDArray[np.uint8] | None] | None = None,
    bounded: bool = True,
) -> tuple[Results, ...]:
    """Sort repeats by data set.

    Args:
        repeats: The repeats.
        failed: Whether each repeat diverged, (P,).
        scores: One score per repeat, (P,), NaN where there is none; or
        correct: Per repeat the correctness of its data set's images, (M,); None where there is none.
        bounded: Whether scores are fractions from 0 to 1.

    Returns:
        One item per data set; each names all configurations, including those without a repeat on it.
    """
    datasets = []
    for position, dataset in enumerate(repeats.datasets):
        of = {
            config: np.flatnonzero((repeats.codes[0] == position) & (repeats.codes[1] == code))
            for code, config in enumerate(repeats.configs)
        }
        named = {config: tuple(repeats.blocks[code] for code in repeats.codes[2, at]) for config, at in of.items()}
        rows = {} if correct is None else {config: [correct[i] for i in at.tolist()] for config, at in of.items()}
        datasets.append(
            Results(
                dataset=dataset,
                configs=repeats.configs,
                blocks=named,
                correct=rows,
                scores={} if scores is None else {config: scores[at] for config, at in of.items()},
                diverged={
                    config: frozenset(repeats.blocks[code] for code in repeats.codes[2, at[failed[at]]])
                    for config, at in of.items()
                },
                bounded=bounded,
            )
        )
    return tuple(datasets)
