"""Outcomes of the cells: their scores on every block, read from the journal.

Shapes: R blocks, M test images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.compare.contenders import Contender
from search.compare.repeats import Repeats, load_correct
from search.errors import StudyError
from search.journal.journal import Journal
from search.records import Completed, EpochMetrics, Failed, TrialRecord
from search.reproduce.paper import Paper, ScoreName
from search.reproduce.setting import contender
from search.study.bind import DataFacts
from search.study.config import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one cell on its blocks."""

    blocks: tuple[str, ...]
    """Names of the blocks, length R."""
    records: tuple[TrialRecord | None, ...]
    """Records of the repeats, length R; None if not trained."""
    scores: Mapping[ScoreName, NDArray[np.float64]]
    """Accuracies, shape (R,); NaN if missing. A diverged repeat has that of its last finite checkpoint, if any."""
    correct: tuple[NDArray[np.uint8] | None, ...]
    """Correctness of each test image, (M,) of 0 and 1, for each block; length R."""
    diverged: frozenset[str]
    """Names of the blocks on which training diverged."""

    def of(self, score: ScoreName, *, chance: float) -> NDArray[np.float64]:
        """Return the scores of the finished repeats; `chance` for a diverged repeat without a score."""
        found = self.scores[score]
        lost = np.array([block in self.diverged for block in self.blocks]) & ~np.isfinite(found)
        filled = np.where(lost, chance, found)
        return filled[np.isfinite(filled)]

    @property
    def curves(self) -> tuple[tuple[EpochMetrics, ...], ...]:
        """Learning curves of the completed repeats."""
        return tuple(record.curve for record in self.completed)

    @property
    def completed(self) -> tuple[TrialRecord, ...]:
        """Records of the completed repeats."""
        return tuple(item for item in self.records if item is not None and isinstance(item.outcome, Completed))


def everything_trained(
    study: StudyConfig, paper: Paper, facts: DataFacts, repeats: Repeats, journal: Journal
) -> Repeats:
    """Return all cells trained in this folder, by this and earlier commands, on every block with a trained cell.

    A table of one command's cells alone would allow choosing its rows after seeing the results.
    """
    records = [record for record in journal.records.values() if record.kind == "repeat"]
    points = [dict(record.point) for record in records]
    asked = {item.name: item for item in repeats.contenders}
    candidates = [asked.get(name) or contender(study, paper, name) for name in paper.cells]
    num_blocks = max(
        len(repeats.blocks), *(int(name.rpartition("-")[2]) + 1 for item in records for name in item.blocks), 1
    )

    def all_of(contenders: Sequence[Contender]) -> Repeats:
        return Repeats(study=study, facts=facts, journal=journal, contenders=contenders, num_blocks=num_blocks)

    known = [item for item in candidates if item.name in asked or item.point in points]
    try:
        return all_of(known)
    except StudyError:  # an earlier cell that is invalid in this setting
        return all_of([item for item in known if item.name in asked])


def gather(study: StudyConfig, facts: DataFacts, repeats: Repeats) -> dict[str, Outcome]:
    """Read the outcome of every cell from the journal."""
    return {item.name: _outcome(study, facts, repeats, item) for item in repeats.contenders}


def _outcome(study: StudyConfig, facts: DataFacts, repeats: Repeats, cell: Contender) -> Outcome:
    records = tuple(repeats.record_of(cell, block) for block in repeats.blocks)
    done = [item if item is not None and item.outcome and "correct" in item.artifacts else None for item in records]

    def scores(read: Any) -> NDArray[np.float64]:  # noqa: ANN401 - TrialRecord -> float | None
        values = [None if item is None else read(item) for item in done]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return Outcome(
        blocks=tuple(block.name for block in repeats.blocks),
        records=records,
        scores={
            "train": scores(lambda item: (item.kept or item.curve[-1]).train_accuracy),
            "validation": scores(lambda item: item.val_accuracy),
            "test": scores(lambda item: item.test_accuracy),
        },
        correct=tuple(None if item is None else load_correct(study.folder, item, facts.num_test) for item in done),
        diverged=frozenset(
            block.name
            for block, item in zip(repeats.blocks, records, strict=True)
            if item is not None and isinstance(item.outcome, Failed) and item.outcome.diverged
        ),
    )
