"""Finalists and baselines, trained again on fresh shared blocks, scored once on the test set, and judged."""

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
from search.storage.disk import load_array
from search.study.bind import DataFacts, bind
from search.study.claims import Family, adjust_for
from search.study.config import StudyConfig
from search.training.spec import TrialSpec


class Repeats(Dispatcher):
    """Every contender once on every block.

    Args:
        study: The study.
        facts: What the data are.
        journal: Its open journal.
        contenders: What is compared.
        num_blocks: Fresh blocks, shared by all.
        first_block: Index of the first of them.
        purpose: What they are drawn for: `compare`, or `confirm` for those that no race has seen.
        on_change: Called after each change, for display.
        cache_dir: Node-local folder for decoded images.
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
        cache_dir: Path | None = None,
    ) -> None:
        # Block by block, so that pairs are complete as early as can be.
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
        super().__init__(journal=journal, folder=study.folder, kind="repeat", cache_dir=cache_dir, on_change=on_change)
        self._unfinished = [
            record for record in self.wanted_records if record.outcome is None or self.is_tried_again(record)
        ]

    @property
    def wanted_records(self) -> list[TrialRecord]:
        """The records of this comparison, without those of earlier ones."""
        return [record for record in self.records if record.key in self._wanted]

    @property
    def num_planned(self) -> int:
        """How many repeats there are in all."""
        return len(self._wanted)

    def is_tried_again(self, record: TrialRecord) -> bool:
        """What the machine lost is tried again on the same block; what diverged is an outcome and stays."""
        return record.key in self._wanted and isinstance(record.outcome, Failed) and not record.outcome.diverged

    def rebuild(self, record: TrialRecord) -> TrialSpec:
        """Describe an unfinished repeat again."""
        return self._wanted[record.key][0]

    def propose(self) -> tuple[TrialSpec, TrialRecord] | None:
        """The next repeat that was never begun."""
        for key, (spec, point) in self._wanted.items():
            if key not in self._journal.records:
                # Made only now: a record's start is when it is handed out.
                return spec, new_record(spec, "repeat", point)
        return None

    def record_of(self, contender: Contender, block: Block) -> TrialRecord | None:
        """What came of a contender on a block."""
        return self._journal.records.get(self.keys[contender.name, block.name])


def describe_repeat(study: StudyConfig, facts: DataFacts, contender: Contender, block: Block) -> TrialSpec:
    """A contender's training on a block.

    Raises:
        StudyError: Its point is no model.
    """
    try:
        return bind(study, contender.point, facts, (block,), score_test=True, label=f"{contender.name}, {block.name}")
    except StudyError as error:
        raise StudyError(*(f"compare: {contender.name}: {fault}" for fault in error.faults)) from None


def load_correct(folder: Path, record: TrialRecord, num_images: int) -> NDArray[np.uint8]:
    """Read the test correctness of a repeat: (N,) of 0 and 1.

    Raises:
        InputError: It is gone or damaged.
    """
    packed = load_array(folder / record.artifacts["correct"], "uint8", -(-num_images // 8))
    bits: NDArray[np.uint8] = np.unpackbits(packed, axis=1, count=num_images)[0]
    return bits


def judge_repeats(
    study: StudyConfig, facts: DataFacts, repeats: Repeats, families: Sequence[Family] | None = None
) -> tuple[Comparison, ...]:
    """Judge what the repeats have shown, family by family; unless given, over those that the study declares."""
    names = [contender.name for contender in repeats.contenders]
    correct: dict[str, list[NDArray[Any] | None]] = {}
    val_scores: dict[str, NDArray[Any]] = {}
    diverged: dict[str, set[str]] = {}
    for contender in repeats.contenders:
        rows: list[NDArray[Any] | None] = []
        scores = []
        for block in repeats.blocks:
            record = repeats.record_of(contender, block)
            # A diverged repeat counts with its last finite checkpoint; without one the analysis takes chance.
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
                alpha=study.compare.alpha,
                rope=study.compare.rope,
                # The corrected resampled t is about random splits, which a fixed validation part has not.
                ratio=None if facts.num_val else study.split.ratio,
                num_classes=len(facts.classes),
            ),
            family_name=family.name,
        )
    )


def is_diverged(record: TrialRecord) -> bool:
    """Whether its training diverged: an outcome, not a loss."""
    return isinstance(record.outcome, Failed) and record.outcome.diverged
