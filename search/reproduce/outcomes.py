"""What the cells came to: their scores on every block, read from the records.

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
    """What one cell came to on its blocks."""

    blocks: tuple[str, ...]
    """Names of the blocks, length R."""
    records: tuple[TrialRecord | None, ...]
    """What was trained, length R; None where nothing was."""
    scores: Mapping[ScoreName, NDArray[np.float64]]
    """Accuracies, shape (R,); NaN where there is none. A diverged repeat has its last finite checkpoint's, if any."""
    correct: tuple[NDArray[np.uint8] | None, ...]
    """Correctness of each test image, (M,) of 0 and 1, length R."""
    diverged: frozenset[str]
    """Blocks on which the training diverged."""

    def of(self, score: ScoreName, *, chance: float) -> NDArray[np.float64]:
        """Scores of the repeats that have an outcome; chance for one that diverged and left none."""
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
    """This command's cells and those that earlier ones trained in this folder, on every block that any was trained on.

    A table over the cells of one command alone would let a reader pick its rows after seeing them.
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
    except StudyError:  # an earlier cell that this setting cannot have
        return all_of([item for item in known if item.name in asked])


def gather(study: StudyConfig, facts: DataFacts, repeats: Repeats) -> dict[str, Outcome]:
    """Read what every cell came to."""
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
            "train": scores(lambda item: item.curve[-1].train_accuracy),
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
