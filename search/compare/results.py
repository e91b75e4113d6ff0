"""Write the results of a comparison: comparison.json, a table, figures and an event for MLflow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.compare.contenders import Contender, declare_families
from search.compare.interim import key_of, mention_looks, take_look
from search.compare.nomination import selection_of
from search.compare.repeats import Repeats, is_diverged
from search.console.paper import latex_methods, latex_table
from search.console.tables import pair_rows, to_markdown
from search.journal.journal import Journal, read_records
from search.journal.nominee import choose
from search.records import Failed, TrialRecord
from search.seeds import Block
from search.significance.records import Comparison
from search.study.bind import DataFacts
from search.study.claims import CompareSection, Family, adjust_for, error_rate_of
from search.study.config import StudyConfig
from search.study.folder import COMPARISON, write_atomically


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
    """Return the content of comparison.json: everything needed to check the verdicts.

    Args:
        study: The study.
        facts: Properties of the data set.
        repeats: The repeats that were judged.
        comparisons: The verdicts.
        families: The families that were judged.
        race: The race that selected the contenders, as plain data.
        num_looks: Number of this interim analysis, from 1.
    """
    document = {
        "study": study.name,
        "key": key_of(study, repeats, _raced(race)),
        "num_looks": num_looks,
        "data": {
            "name": study.data.name,
            "digest": facts.key,
            "num_test": facts.num_test,
            "num_classes": len(facts.classes),
        },
        "blocks": [
            {"name": b.name, "split_seed": b.split_seed, "init_seed": b.init_seed, "order_seed": b.order_seed}
            for b in repeats.blocks
        ],
        "declared": _declared(study.compare, race["families"] if race else describe_families(study.compare, families)),
        **({"race": dict(race), "confirmed": describe_families(study.compare, families)} if race else {}),
        "contenders": [
            describe_contender(item, [(block, repeats.record_of(item, block)) for block in repeats.blocks])
            for item in repeats.contenders
        ],
        "comparisons": [comparison.to_dict() for comparison in comparisons],
    }
    trials = [record for record in read_records(study.folder).values() if record.kind == "trial"]
    choice = choose(trials, document)
    return document | {
        "selection": selection_of(study, facts, document),
        "choice": choice.to_dict() if choice else None,
    }


def _declared(section: CompareSection, families: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the declared settings and the families derived from them."""
    return {
        **section.model_dump(mode="json", include={"family", "estimand", "adjust", "alpha", "rope", "repeats"}),
        **({"interim": section.interim} if section.interim else {}),
        "confirm": section.num_confirm,
        "error_rate": error_rate_of(section.adjust),
        "families": list(families),
    }


def describe_families(section: CompareSection, families: Sequence[Family]) -> list[dict[str, Any]]:
    """Return the families and their adjustments as plain data."""
    return [{**family.to_dict(), "adjust": adjust_for(section, family)} for family in families]


def _raced(race: Mapping[str, Any] | None) -> list[str]:
    """Return the keys of the repeats that a race used."""
    return [run["key"] for contender in (race or {}).get("contenders", ()) for run in contender["repeats"]]


def describe_contender(contender: Contender, runs: Sequence[tuple[Block, TrialRecord | None]]) -> dict[str, Any]:
    """Return a contender and its outcomes on some blocks as plain data."""
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
    """Write comparison.json, the table and the figures into the study's folder, and record them for MLflow.

    The files go to `comparison/<key>/`, and as the newest ones to `comparison/`. If the journal already has this
    comparison with the same outcomes, the files are written again and no event is added.

    Args:
        study: The study.
        facts: Properties of the data set.
        repeats: The repeats that were judged.
        comparisons: The verdicts.
        journal: The study's open journal.
        families: The families that were judged; by default those that the study declares.
        race: The race that selected the contenders, as plain data.

    Returns:
        The content of comparison.json.
    """
    from search.significance.figures import save_figures

    key = key_of(study, repeats, _raced(race))
    look = take_look(journal, key, repeats)
    comparisons = [mention_looks(comparison, look.number) for comparison in comparisons]
    declared = declare_families(study, repeats.contenders) if families is None else families
    document = to_document(study, facts, repeats, comparisons, families=declared, race=race, num_looks=look.number)
    newest = study.folder / COMPARISON
    folder = newest / key
    folder.mkdir(parents=True, exist_ok=True)
    pictures = save_figures(comparisons, folder)
    for stale in newest.glob("*.png"):
        stale.unlink()
    for name in pictures:
        shutil.copyfile(folder / name, newest / name)
    compared = document["comparisons"]
    texts = {
        "table.md": to_markdown(document),
        "table.tex": latex_table(pair_rows(compared), compared),
        "methods.tex": latex_methods(compared),
    }
    for place in (folder, newest):
        for name, text in texts.items():
            write_atomically(place / name, text)
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
                **(_race_metrics(race) if race else {}),
            },
            artifacts=[f"{COMPARISON}/{key}/{name}" for name in ("comparison.json", *texts, *pictures)],
            tags={
                **{f"verdict.{position}": comparison.sentence for position, comparison in enumerate(comparisons)},
                **(
                    {"choice": document["choice"]["name"], "choice.state": document["choice"]["state"]}
                    if document["choice"]
                    else {}
                ),
                **{f"race.{position}": sentence for position, sentence in enumerate(race["sentences"] if race else ())},
            },
        )
    return document


def _race_metrics(race: Mapping[str, Any]) -> dict[str, float]:
    last = {position: pair["e_values"][-1] for position, pair in enumerate(race["pairs"])}
    return {
        "num_race_blocks": race["num_blocks"],
        **{f"race_e.{position}": value for position, value in last.items() if value is not None},
    }


def _metrics(comparisons: Sequence[Comparison], **counts: int) -> dict[str, float]:
    metrics: dict[str, float] = {**counts}
    for position, comparison in enumerate(comparisons):
        for name in ("estimate", "adjusted_p", "p_a_gt_b", "smallest_detectable"):
            value = getattr(comparison, name)
            if value is not None:
                metrics[f"{name}.{position}"] = float(value)
    return metrics
