"""Finalists and baselines, trained again on fresh shared blocks, scored once on the test set, and judged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.bind import DataFacts, bind, complete_point
from search.errors import NothingToDoError, StudyError
from search.nomination import selection_of
from search.records import Failed, TrialRecord, TrialSpec, digest_of
from search.seeds import Block, make_block
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.records import Comparison
from search.significance.results import Results
from search.status import nominees
from search.study import PointLike, StudyConfig, write_atomically
from search.sweep import describe
from search.tables import to_markdown
from search.tracking.journal import Journal, read_events
from search.work import Work, new_record

Point = dict[str, bool | int | float | str]
FOLDER = "comparison"
"""Folder inside the study's: one folder per comparison, named by its key, and the newest one's files beside them."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One configuration of a comparison."""

    name: str
    point: Point
    trial: TrialRecord | None
    """The sweep's trial that nominated it; None for a baseline."""
    sweep_rank: int | None
    """Place among the sweep's nominees, from 1; None for a baseline that the sweep did not find."""

    @property
    def is_finalist(self) -> bool:
        """Whether the sweep nominated it."""
        return self.trial is not None


def pick_contenders(study: StudyConfig, records: Sequence[TrialRecord]) -> list[Contender]:
    """The sweep's best points, then the declared baselines.

    A nominee that is a baseline itself is passed over: nothing is compared with itself.

    Raises:
        NothingToDoError: The sweep has nominated nothing yet, or there is nothing to compare with.
    """
    ranked = nominees([record for record in records if record.kind == "trial"])
    points = [dict(record.point) for record in ranked]
    baselines = []
    for like in study.compare.baselines:
        point = complete_point(study, like)
        rank = points.index(point) + 1 if point in points else None
        baselines.append(Contender(name=_name(like), point=point, trial=None, sweep_rank=rank))
    taken = [contender.point for contender in baselines]
    for position, point in enumerate(taken):
        if point in taken[:position]:
            raise StudyError(f"compare.baselines.{position}: the same point as an earlier baseline; name it once")
    finalists: list[Contender] = []
    for rank, (record, point) in enumerate(zip(ranked, points, strict=True), start=1):
        if point not in taken and len(finalists) < study.compare.finalists:
            name = f"{describe(point)} (trial {record.number})"
            finalists.append(Contender(name=name, point=point, trial=record, sweep_rank=rank))
            taken.append(point)
    if not finalists:
        raise NothingToDoError(
            f"{study.folder}: no trial to compare with the baselines; run `hybrid-search sweep` first, or extend it "
            "with --set search.trials"
        )
    if len(finalists) + len(baselines) < 2:
        raise NothingToDoError("compare: one finalist and nothing to compare it with; name compare.baselines")
    return [*finalists, *baselines]


def _name(like: PointLike) -> str:
    return like if isinstance(like, str) else f"{describe(like)} ({digest_of(like)[:4]})"


def declare_family(study: StudyConfig, contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    """The comparisons that the study declares: each finalist with each baseline, or all pairs."""
    names = [contender.name for contender in contenders]
    finalists = [contender.name for contender in contenders if contender.is_finalist]
    if study.compare.family == "all-pairs" or len(finalists) == len(names):
        return [(a, b) for position, a in enumerate(names) for b in names[position + 1 :]]
    return [(a, b) for a in finalists for b in names[len(finalists) :]]


class Repeats(Work):
    """Every contender once on every block.

    Args:
        study: The study.
        facts: What the data are.
        journal: Its open journal.
        contenders: What is compared.
        num_blocks: Fresh blocks, shared by all.
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
        on_change: Callable[[], None] = lambda: None,
        cache_dir: Path | None = None,
    ) -> None:
        # Block by block, so that pairs are complete as early as can be.
        self._wanted: dict[str, tuple[TrialSpec, TrialRecord]] = {}
        self.contenders = tuple(contenders)
        self.blocks = tuple(make_block(study.seed, "compare", index) for index in range(num_blocks))
        self.keys: dict[tuple[str, str], str] = {}
        for block in self.blocks:
            for contender in contenders:
                spec = _describe_repeat(study, facts, contender, block)
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


def _describe_repeat(study: StudyConfig, facts: DataFacts, contender: Contender, block: Block) -> TrialSpec:
    try:
        return bind(study, contender.point, facts, (block,), score_test=True, label=f"{contender.name}, {block.name}")
    except StudyError as error:
        raise StudyError(*(f"compare: {contender.name}: {fault}" for fault in error.faults)) from None


def load_correct(folder: Path, record: TrialRecord, num_images: int) -> NDArray[np.uint8]:
    """Read the test correctness of a repeat: (N,) of 0 and 1."""
    packed = np.load(folder / record.artifacts["correct"], allow_pickle=False)
    bits: NDArray[np.uint8] = np.unpackbits(packed, axis=1, count=num_images)[0]
    return bits


def judge_repeats(study: StudyConfig, facts: DataFacts, repeats: Repeats) -> tuple[Comparison, ...]:
    """Judge what the repeats have shown, over the declared family."""
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
            if record is not None and _is_diverged(record):
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
    declared = Declared(
        estimand="new-data",
        alpha=study.compare.alpha,
        rope=study.compare.rope,
        ratio=study.split.ratio,
        num_classes=len(facts.classes),
    )
    return judge_results([results], declare_family(study, repeats.contenders), declared)


def key_of(study: StudyConfig, repeats: Repeats) -> str:
    """Name a comparison by its contenders, blocks and settings; names, order and outcomes are no part of it."""
    contenders = sorted(
        [str(contender.is_finalist), *(repeats.keys[contender.name, block.name] for block in repeats.blocks)]
        for contender in repeats.contenders
    )
    settings = study.compare
    return digest_of(
        {"contenders": contenders, "family": settings.family, "alpha": settings.alpha, "rope": settings.rope}
    )


def _is_diverged(record: TrialRecord) -> bool:
    return isinstance(record.outcome, Failed) and record.outcome.diverged


def to_document(
    study: StudyConfig, facts: DataFacts, repeats: Repeats, comparisons: Sequence[Comparison], *, num_looks: int
) -> dict[str, Any]:
    """Everything a reader needs to check the verdict, as plain data."""
    contenders = []
    for contender in repeats.contenders:
        runs = [repeats.record_of(contender, block) for block in repeats.blocks]
        scores = [run.test_accuracy for run in runs if run is not None and run.test_accuracy is not None]
        contenders.append(
            {
                "name": contender.name,
                "finalist": contender.is_finalist,
                "point": contender.point,
                "sweep_trial": contender.trial.number if contender.trial else None,
                "sweep_rank": contender.sweep_rank,
                "selection_val_accuracy": contender.trial.val_accuracy if contender.trial else None,
                "mean_test_accuracy": float(np.mean(scores)) if scores else None,
                "num_diverged": sum(run is not None and _is_diverged(run) for run in runs),
                "repeats": [
                    {
                        "key": run.key,
                        "block": block.name,
                        "state": run.outcome.word if run.outcome else "unfinished",
                        "diverged_in_epoch": run.outcome.epoch if isinstance(run.outcome, Failed) else None,
                        "val_accuracy": run.val_accuracy,
                        "test_accuracy": run.test_accuracy,
                    }
                    for run, block in zip(runs, repeats.blocks, strict=True)
                    if run is not None
                ],
            }
        )
    document = {
        "study": study.name,
        "key": key_of(study, repeats),
        "num_looks": num_looks,
        "data": {"name": study.data.name, "digest": facts.key, "num_test": facts.num_test},
        "blocks": [
            {"name": b.name, "split_seed": b.split_seed, "init_seed": b.init_seed, "order_seed": b.order_seed}
            for b in repeats.blocks
        ],
        "declared": {
            "family": study.compare.family,
            "alpha": study.compare.alpha,
            "rope": study.compare.rope,
            "repeats": len(repeats.blocks),
        },
        "contenders": contenders,
        "comparisons": [comparison.to_dict() for comparison in comparisons],
    }
    return document | {"selection": selection_of(study, facts, document)}


def write_results(
    study: StudyConfig, facts: DataFacts, repeats: Repeats, comparisons: Sequence[Comparison], journal: Journal
) -> dict[str, Any]:
    """Write comparison.json, the table and the forest plot into the study's folder, and note them for MLflow.

    They go to `comparison/<key>/`, and as the newest ones to `comparison/`. A comparison that the journal knows with
    these very outcomes is written again, but not noted again: nothing new was seen.

    Returns:
        The document that comparison.json holds.
    """
    from search.significance.figures import forest_plot

    key = key_of(study, repeats)
    look = take_look(journal, key, repeats)
    comparisons = [_mention_looks(comparison, look.number) for comparison in comparisons]
    document = to_document(study, facts, repeats, comparisons, num_looks=look.number)
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
            seen=look.seen,
            num_looks=look.number,
            repeats=sorted(repeats.keys.values()),
            metrics=_metrics(comparisons, num_blocks=len(repeats.blocks), num_looks=look.number),
            artifacts=[f"{FOLDER}/{key}/{name}" for name in ("comparison.json", "table.md", "forest.png")],
            tags={f"verdict.{position}": comparison.sentence for position, comparison in enumerate(comparisons)},
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
    """Count the looks at a study: the same comparison of the same outcomes again is no new one."""
    seen = _digest_outcomes(repeats)
    known = [(event["key"], event.get("seen")) for event in read_events(journal.path) if event["event"] == "comparison"]
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
