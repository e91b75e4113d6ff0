"""Finalists and baselines, trained again on fresh shared blocks, scored once on the test set, and judged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.bind import DataFacts, bind
from search.claims import CompareSection, Family, adjust_for, error_rate_of
from search.contenders import Contender, declare_families
from search.errors import StudyError
from search.records import Failed, TrialRecord, TrialSpec, digest_of
from search.seeds import Block, make_block
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.records import Comparison
from search.significance.results import Results
from search.study import StudyConfig, write_atomically
from search.tables import to_markdown
from search.tracking.journal import Journal, read_events
from search.work import Work, new_record

FOLDER = "comparison"
"""Folder inside the study's: one folder per comparison, named by its key, and the newest one's files beside them."""


class Repeats(Work):
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
        self._wanted: dict[str, tuple[TrialSpec, TrialRecord]] = {}
        self.contenders = tuple(contenders)
        self.purpose = purpose
        indices = range(first_block, first_block + num_blocks)
        self.blocks = tuple(make_block(study.seed, purpose, index) for index in indices)
        self.keys: dict[tuple[str, str], str] = {}
        for block in self.blocks:
            for contender in contenders:
                spec = describe_repeat(study, facts, contender, block)
                self._wanted[spec.key] = (spec, new_record(spec, "repeat", contender.point))
                self.keys[contender.name, block.name] = spec.key
        super().__init__(journal=journal, folder=study.folder, kind="repeat", cache_dir=cache_dir, on_change=on_change)
        # What the machine lost is tried again on the same block; what diverged is an outcome and stays.
        self._unfinished = [
            record
            for record in self.records
            if record.key in self._wanted
            and (record.outcome is None or (isinstance(record.outcome, Failed) and not record.outcome.diverged))
        ]

    @property
    def wanted_records(self) -> list[TrialRecord]:
        """The records of this comparison, without those of earlier ones."""
        return [record for record in self.records if record.key in self._wanted]

    @property
    def num_planned(self) -> int:
        """How many repeats there are in all."""
        return len(self._wanted)

    def rebuild(self, record: TrialRecord) -> TrialSpec:
        """Describe an unfinished repeat again."""
        return self._wanted[record.key][0]

    def propose(self) -> tuple[TrialSpec, TrialRecord] | None:
        """The next repeat that was never begun."""
        for key, wanted in self._wanted.items():
            if key not in self._journal.records:
                return wanted
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
    """Read the test correctness of a repeat: (N,) of 0 and 1."""
    packed = np.load(folder / record.artifacts["correct"], allow_pickle=False)
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
                ratio=study.split.ratio,
                num_classes=len(facts.classes),
            ),
            family_name=family.name,
        )
    )


def key_of(study: StudyConfig, repeats: Repeats, raced: Sequence[str] = ()) -> str:
    """Name a comparison by its contenders, blocks and settings; names, order and outcomes are no part of it.

    Args:
        study: The study.
        repeats: What was judged.
        raced: Keys of the repeats that decided who was judged, if a race did.
    """
    contenders = sorted(
        [str(contender.is_finalist), *(repeats.keys[contender.name, block.name] for block in repeats.blocks)]
        for contender in repeats.contenders
    )
    settings = study.compare.model_dump(mode="json", include={"family", "alpha", "rope"})
    # What is as it always was leaves the keys of earlier comparisons alone.
    later = study.compare.model_dump(mode="json", include={"estimand", "adjust"}, exclude_defaults=True)
    return digest_of({"contenders": contenders, **settings, **later, **({"raced": sorted(raced)} if raced else {})})


def is_diverged(record: TrialRecord) -> bool:
    """Whether its training diverged: an outcome, not a loss."""
    return isinstance(record.outcome, Failed) and record.outcome.diverged


def to_document(
    study: StudyConfig,
    facts: DataFacts,
    repeats: Repeats,
    comparisons: Sequence[Comparison],
    *,
    families: Sequence[Family],
    race: Mapping[str, Any] | None = None,
    num_looks: int,
) -> dict[str, Any]:
    """Everything a reader needs to check the verdict, as plain data."""
    return {
        "study": study.name,
        "key": key_of(study, repeats, _raced(race)),
        "num_looks": num_looks,
        "data": {"name": study.data.name, "digest": facts.key, "num_test": facts.num_test},
        "blocks": [
            {"name": b.name, "split_seed": b.split_seed, "init_seed": b.init_seed, "order_seed": b.order_seed}
            for b in repeats.blocks
        ],
        "declared": _declared(study.compare, families),
        **({} if race is None else {"race": dict(race)}),
        "contenders": [
            describe_contender(item, [(block, repeats.record_of(item, block)) for block in repeats.blocks])
            for item in repeats.contenders
        ],
        "comparisons": [comparison.to_dict() for comparison in comparisons],
    }


def _declared(section: CompareSection, families: Sequence[Family]) -> dict[str, Any]:
    """What was declared before anything ran, and the families that follow from it."""
    return {
        **section.model_dump(mode="json", include={"family", "estimand", "adjust", "alpha", "rope", "repeats"}),
        "confirm": section.num_confirm,
        "error_rate": error_rate_of(section.adjust),
        "families": [{**family.to_dict(), "adjust": adjust_for(section, family)} for family in families],
    }


def _raced(race: Mapping[str, Any] | None) -> list[str]:
    """Keys of the repeats that a race rests on."""
    return [run["key"] for contender in (race or {}).get("contenders", ()) for run in contender["repeats"]]


def describe_contender(contender: Contender, runs: Sequence[tuple[Block, TrialRecord | None]]) -> dict[str, Any]:
    """A contender and what came of it on some blocks, as plain data."""
    records = [record for _, record in runs if record is not None]
    scores = [record.test_accuracy for record in records if record.test_accuracy is not None]
    return {
        "name": contender.name,
        "finalist": contender.is_finalist,
        "point": contender.point,
        "sweep_trial": contender.trial.number if contender.trial else None,
        "sweep_rank": contender.sweep_rank,
        "selection_val_accuracy": contender.trial.val_accuracy if contender.trial else None,
        "mean_test_accuracy": float(np.mean(scores)) if scores else None,
        "num_diverged": sum(is_diverged(record) for record in records),
        "repeats": [
            {
                "key": record.key,
                "block": block.name,
                "state": record.outcome.word if record.outcome else "unfinished",
                "diverged_in_epoch": record.outcome.epoch if isinstance(record.outcome, Failed) else None,
                "val_accuracy": record.val_accuracy,
                "test_accuracy": record.test_accuracy,
            }
            for block, record in runs
            if record is not None
        ],
    }


def write_results(
    study: StudyConfig,
    facts: DataFacts,
    repeats: Repeats,
    comparisons: Sequence[Comparison],
    journal: Journal,
    *,
    families: Sequence[Family] | None = None,
    race: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write comparison.json, the table and the forest plot into the study's folder, and note them for MLflow.

    They go to `comparison/<key>/`, and as the newest ones to `comparison/`. A comparison that the journal knows with
    these very outcomes is written again, but not noted again: nothing new was seen.

    Args:
        study: The study.
        facts: What the data are.
        repeats: What was judged.
        comparisons: The verdicts.
        journal: The study's open journal.
        families: What was judged together; unless given, what the study declares.
        race: The race that decided who was judged, as plain data.

    Returns:
        The document that comparison.json holds.
    """
    from search.significance.figures import forest_plot

    key = key_of(study, repeats, _raced(race))
    look = take_look(journal, key, repeats)
    comparisons = [_mention_looks(comparison, look.number) for comparison in comparisons]
    declared = declare_families(study, repeats.contenders) if families is None else families
    document = to_document(study, facts, repeats, comparisons, families=declared, race=race, num_looks=look.number)
    newest = study.folder / FOLDER
    folder = newest / key
    folder.mkdir(parents=True, exist_ok=True)
    forest_plot(comparisons).savefig(folder / "forest.png", dpi=150)
    shutil.copyfile(folder / "forest.png", newest / "forest.png")
    for place in (folder, newest):
        write_atomically(place / "table.md", to_markdown(document))
        write_atomically(place / "comparison.json", json.dumps(document, indent=1, allow_nan=False))
    if look.is_new:
        journal.note(
            "comparison",
            key=key,
            purpose=repeats.purpose,
            seen=look.seen,
            num_looks=look.number,
            repeats=sorted({*repeats.keys.values(), *_raced(race)}),
            metrics={
                **_metrics(comparisons, num_blocks=len(repeats.blocks), num_looks=look.number),
                **(race["metrics"] if race else {}),
            },
            artifacts=[f"{FOLDER}/{key}/{name}" for name in ("comparison.json", "table.md", "forest.png")],
            tags={
                **{f"verdict.{position}": comparison.sentence for position, comparison in enumerate(comparisons)},
                **{f"race.{position}": sentence for position, sentence in enumerate(race["sentences"] if race else ())},
            },
        )
    return document


@dataclass(frozen=True, kw_only=True)
class Look:
    """One time that somebody saw what the repeats of a study came to."""

    number: int
    """From 1."""
    seen: str
    """Digest of what was there to be judged."""
    is_new: bool
    """Not yet in the journal: these outcomes were not seen before."""


def take_look(journal: Journal, key: str, repeats: Repeats) -> Look:
    """Count the looks at a study: the same comparison of the same outcomes again is no new one.

    A race looks at the blocks of a comparison, as one look; blocks that confirm its survivor it has not seen.
    """
    seen = _digest_outcomes(repeats)
    known = [
        (event.get("key"), event.get("seen"))
        for event in read_events(journal.path)
        if (event["event"] == "comparison" and event.get("purpose", "compare") == repeats.purpose)
        or (event["event"] == "race" and repeats.purpose == "compare")
    ]
    is_new = (key, seen) not in known
    number = len(known) + 1 if is_new else known.index((key, seen)) + 1
    return Look(number=number, seen=seen, is_new=is_new)


def _digest_outcomes(repeats: Repeats) -> str:
    """What was there to be judged: a repeat that is tried again and ends otherwise makes it something new."""
    records = {record.key: record for record in repeats.wanted_records}
    return digest_of({key: record.outcome.word if record.outcome else None for key, record in records.items()})


def _mention_looks(comparison: Comparison, num_looks: int) -> Comparison:
    if num_looks == 1 or comparison.adjusted_p is None:
        return comparison
    clause = f"This is look number {num_looks} at this study: p-values are no longer exact."
    return dataclasses.replace(comparison, sentence=f"{comparison.sentence} {clause}")


def _metrics(comparisons: Sequence[Comparison], **counts: int) -> dict[str, float]:
    metrics: dict[str, float] = {**counts}
    for position, comparison in enumerate(comparisons):
        for name in ("estimate", "adjusted_p", "p_a_gt_b", "smallest_detectable"):
            value = getattr(comparison, name)
            if value is not None:
                metrics[f"{name}.{position}"] = float(value)
    return metrics
