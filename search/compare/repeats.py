"""Train finalists and baselines on fresh shared blocks, score them once on the test set, and judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.compare.contenders import Contender, Point, declare_families
from search.errors import StudyError
from search.journal.journal import Journal
from search.records import Failed, TrialRecord
from search.runners.dispatcher import Dispatcher, new_record
from search.seeds import Block, make_block
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.records import Comparison
from search.significance.results import Results
from search.storage.disk import load_bits
from search.study.bind import DataFacts, bind
from search.study.claims import Family, adjust_for
from search.study.config import StudyConfig
from search.training.spec import TrialSpec


class Repeats(Dispatcher):
    """Trains every contender once on every block.

    The specification of each repeat follows from the study, the contenders and the blocks. Finished repeats in the
    journal are not trained again, so an interrupted comparison continues where it stopped.

    Args:
        study: The study.
        facts: Properties of the data set.
        journal: The study's open journal.
        contenders: The configurations to compare.
        num_blocks: Number of fresh blocks, shared by all contenders.
        first_block: Index of the first block.
        purpose: Stream that the blocks are drawn from: `compare`, or `confirm` for blocks that no race has used.
        on_change: Called after each change, for display.
    """

    def __init__(
        self,
        *,
        study: StudyConfig,
        facts: DataFacts,
        journal: Journal,
        contenders: Sequence[Contender],
        num_blocks: int,
        first_block: int = 0,
        purpose: Literal["compare", "confirm"] = "compare",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        # Block by block, so that pairs are complete as early as possible.
        self._wanted: dict[str, tuple[TrialSpec, Point]] = {}
        self.contenders = tuple(contenders)
        self.purpose = purpose
        indices = range(first_block, first_block + num_blocks)
        self.blocks = tuple(make_block(study.seed, purpose, index) for index in indices)
        self.keys: dict[tuple[str, str], str] = {}
        for block in self.blocks:
            for contender in contenders:
                spec = describe_repeat(study, facts, contender, block)
                self._wanted[spec.key] = (spec, contender.point)
                self.keys[contender.name, block.name] = spec.key
        super().__init__(journal=journal, folder=study.folder, kind="repeat", on_change=on_change)
        self._unfinished = [
            record for record in self.wanted_records if record.outcome is None or self.is_tried_again(record)
        ]

    @property
    def wanted_records(self) -> list[TrialRecord]:
        """Records of this comparison, without those of earlier comparisons."""
        return [record for record in self.records if record.key in self._wanted]

    @property
    def num_planned(self) -> int:
        """Total number of planned repeats."""
        return len(self._wanted)

    def is_tried_again(self, record: TrialRecord) -> bool:
        """Return whether a repeat is retried: after a machine failure, not after divergence, which is an outcome."""
        return record.key in self._wanted and isinstance(record.outcome, Failed) and not record.outcome.diverged

    def rebuild(self, record: TrialRecord) -> TrialSpec:
        """Return the specification of an unfinished repeat."""
        return self._wanted[record.key][0]

    def propose(self) -> tuple[TrialSpec, TrialRecord] | None:
        """Return the next repeat that was never started, with a new record; None if there is none."""
        for key, (spec, point) in self._wanted.items():
            if key not in self._journal.records:
                # Created here because a record's start time is the time of its dispatch.
                return spec, new_record(spec, "repeat", point)
        return None

    def record_of(self, contender: Contender, block: Block) -> TrialRecord | None:
        """Return the record of a contender on a block, or None."""
        return self._journal.records.get(self.keys[contender.name, block.name])


def describe_repeat(study: StudyConfig, facts: DataFacts, contender: Contender, block: Block) -> TrialSpec:
    """Return the specification of a contender's training on a block.

    Raises:
        StudyError: The contender's point is not a valid model.
    """
    try:
        return bind(study, contender.point, facts, (block,), score_test=True, label=f"{contender.name}, {block.name}")
    except StudyError as error:
        raise StudyError(*(f"compare: {contender.name}: {fault}" for fault in error.faults)) from None


def load_correct(folder: Path, record: TrialRecord, num_images: int) -> NDArray[np.uint8]:
    """Read the test correctness of a repeat.

    Args:
        folder: The study's folder.
        record: A finished repeat.
        num_images: Number of test images N.

    Returns:
        Shape (N,), 0 and 1.

    Raises:
        InputError: The file is missing or damaged.
    """
    bits: NDArray[np.uint8] = load_bits(folder / record.artifacts["correct"], num_images)[0]
    return bits


def judge_repeats(
    study: StudyConfig, facts: DataFacts, repeats: Repeats, families: Sequence[Family] | None = None
) -> tuple[Comparison, ...]:
    """Judge the repeats, family by family.

    Args:
        study: The study.
        facts: Properties of the data set.
        repeats: The finished repeats.
        families: Declared families; by default those of the study.

    Returns:
        One comparison per declared pair.
    """
    names = [contender.name for contender in repeats.contenders]
    correct: dict[str, list[NDArray[Any] | None]] = {}
    val_scores: dict[str, NDArray[Any]] = {}
    diverged: dict[str, set[str]] = {}
    for contender in repeats.contenders:
        rows: list[NDArray[Any] | None] = []
        scores = []
        for block in repeats.blocks:
            record = repeats.record_of(contender, block)
            # A diverged repeat counts with its last finite checkpoint, or with chance accuracy if it has none.
            done = record is not None and record.outcome is not None and "correct" in record.artifacts
            rows.append(load_correct(study.folder, record, facts.num_test) if record is not None and done else None)
            scores.append(record.val_accuracy if record is not None and done else None)
            if record is not None and is_diverged(record):
                diverged.setdefault(contender.name, set()).add(block.name)
        correct[contender.name] = rows
        val_scores[contender.name] = np.array([np.nan if score is None else score for score in scores])
    block_names = tuple(block.name for block in repeats.blocks)
    results = Results(
        configs=tuple(names),
        blocks=dict.fromkeys(names, block_names),
        correct=correct,
        scores=val_scores if study.split.fraction else {},
        diverged={name: frozenset(lost) for name, lost in diverged.items()},
    )
    return tuple(
        comparison
        for family in (declare_families(study, repeats.contenders) if families is None else families)
        for comparison in judge_results(
            [results],
            family.pairs,
            Declared(
                estimand=study.compare.estimand,
                adjust=adjust_for(study.compare, family),
                interim=study.compare.interim_after(len(repeats.blocks)),
                alpha=study.compare.alpha,
                rope=study.compare.rope,
                # The corrected resampled t is for random splits; a fixed validation set has none.
                ratio=None if facts.num_val else study.split.ratio,
                num_classes=len(facts.classes),
            ),
            family_name=family.name,
        )
    )


def is_diverged(record: TrialRecord) -> bool:
    """Return whether the training diverged, which is an outcome and not a lost repeat."""
    return isinstance(record.outcome, Failed) and record.outcome.diverged
