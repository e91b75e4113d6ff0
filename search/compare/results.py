"""Write the results of a comparison: its record, a table, figures and an event for MLflow."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Sequence

import numpy as np

from search.compare.contenders import Contender, declare_families
from search.compare.interim import count_analysis, key_of, mention_analyses
from search.compare.nomination import selection_of
from search.compare.repeats import Repeats, is_diverged
from search.console.paper import latex_methods, latex_table
from search.console.tables import pair_rows, to_markdown
from search.console.verdict_lines import verdict_lines
from search.journal.comparison import (
    ComparedContender,
    ComparedData,
    ComparedRepeat,
    ComparisonDocument,
    Declaration,
    DeclaredFamily,
    RaceRecord,
    SharedBlock,
)
from search.journal.comparison_file import FILE_NAME, FOLDER, to_json
from search.journal.journal import Journal
from search.journal.nominee import choose_reported
from search.records import Failed, TrialRecord
from search.seeds import Block
from search.significance.records import Comparison
from search.study.bind import DataFacts
from search.study.claims import CompareSection, Family, adjust_for, error_rate_of
from search.study.config import StudyConfig
from search.study.folder import write_atomically
from search.text.escaping import markdown

MAX_DESCRIPTION_CHARS = 20_000
"""Longest description of a comparison in the journal; MLflow shows a quarter of it."""
_PLAINER = str.maketrans({"/": ":", "(": None, ")": None})
MAX_NAME_CHARS = 200
"""Longest name of a pair; MLflow accepts names of metrics and tags of up to 250 characters."""


def to_document(
    study: StudyConfig,
    facts: DataFacts,
    repeats: Repeats,
    comparisons: Sequence[Comparison],
    *,
    records: Sequence[TrialRecord],
    families: Sequence[Family],
    race: RaceRecord | None = None,
    num_looks: int,
) -> ComparisonDocument:
    """Return the record of a comparison.

    Args:
        study: The study.
        facts: Properties of the data set.
        repeats: The repeats that were judged.
        comparisons: The verdicts.
        records: All records of the study.
        families: The families that were judged.
        race: The race that selected the contenders.
        num_looks: Number of this interim analysis, from 1.
    """
    judged = describe_families(study.compare, families)
    document = ComparisonDocument(
        study=study.name,
        key=key_of(study, repeats, _raced(race)),
        num_looks=num_looks,
        data=ComparedData(
            name=study.data.name, digest=facts.key, num_test=facts.num_test, num_classes=len(facts.classes)
        ),
        blocks=tuple(
            SharedBlock(name=b.name, split_seed=b.split_seed, init_seed=b.init_seed, order_seed=b.order_seed)
            for b in repeats.blocks
        ),
        declared=declaration_of(study.compare, race.families if race else judged),
        race=race,
        confirmed=judged if race else None,
        contenders=tuple(
            describe_contender(item, [(block, repeats.record_of(item, block)) for block in repeats.blocks])
            for item in repeats.contenders
        ),
        comparisons=tuple(comparisons),
    )
    trials = [record for record in records if record.kind == "trial"]
    selection, choice = selection_of(study, facts, trials, document), choose_reported(trials, document)
    return dataclasses.replace(document, selection=selection, choice=choice)


def declaration_of(section: CompareSection, families: tuple[DeclaredFamily, ...] = ()) -> Declaration:
    """Return the declared settings and the families derived from them."""
    return Declaration(
        repeats=section.repeats,
        family=section.family,
        estimand=section.estimand,
        adjust=section.adjust,
        alpha=section.alpha,
        rope=section.rope,
        interim=section.interim,
        choose=None if section.choose == "accuracy" else section.choose,
        confirm=section.num_confirm,
        error_rate=error_rate_of(section.adjust),
        families=families,
    )


def describe_families(section: CompareSection, families: Sequence[Family]) -> tuple[DeclaredFamily, ...]:
    """Return the families with their adjustments."""
    return tuple(
        DeclaredFamily(name=family.name, pairs=family.pairs, adjust=adjust_for(section, family)) for family in families
    )


def _raced(race: RaceRecord | None) -> list[str]:
    """Return the keys of the repeats that a race used."""
    return [run.key for contender in (race.contenders if race else ()) for run in contender.repeats]


def describe_contender(contender: Contender, runs: Sequence[tuple[Block, TrialRecord | None]]) -> ComparedContender:
    """Return the record of a contender and its outcomes on some blocks."""
    done = [(block, record) for block, record in runs if record is not None]
    scores = [record.test_accuracy for _, record in done if record.test_accuracy is not None]
    return ComparedContender(
        name=contender.name,
        finalist=contender.is_finalist,
        point=contender.point,
        sweep_trial=contender.trial.number if contender.trial else None,
        sweep_rank=contender.sweep_rank,
        selection_val_accuracy=contender.trial.val_accuracy if contender.trial else None,
        mean_test_accuracy=float(np.mean(scores)) if scores else None,
        num_diverged=sum(is_diverged(record) for _, record in done),
        counts=next((record.counts for _, record in done if record.counts), {}),
        repeats=tuple(
            ComparedRepeat(
                key=record.key,
                block=block.name,
                state=record.outcome.word if record.outcome else "unfinished",
                diverged_in_epoch=record.outcome.epoch if isinstance(record.outcome, Failed) else None,
                val_accuracy=record.val_accuracy,
                test_accuracy=record.test_accuracy,
            )
            for block, record in done
        ),
    )


def write_results(
    study: StudyConfig,
    facts: DataFacts,
    repeats: Repeats,
    comparisons: Sequence[Comparison],
    journal: Journal,
    *,
    families: Sequence[Family] | None = None,
    race: RaceRecord | None = None,
) -> ComparisonDocument:
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
        race: The race that selected the contenders.

    Returns:
        The record of the comparison.
    """
    from search.significance.figures import save_figures

    key = key_of(study, repeats, _raced(race))
    analysis = count_analysis(journal, key, repeats)
    comparisons = [mention_analyses(comparison, analysis.number) for comparison in comparisons]
    declared = declare_families(study, repeats.contenders) if families is None else families
    document = to_document(
        study,
        facts,
        repeats,
        comparisons,
        records=list(journal.records.values()),
        families=declared,
        race=race,
        num_looks=analysis.number,
    )
    newest = study.folder / FOLDER
    folder = newest / key
    folder.mkdir(parents=True, exist_ok=True)
    pictures = save_figures(comparisons, folder)
    for stale in newest.glob("*.png"):
        stale.unlink()
    for name in pictures:
        shutil.copyfile(folder / name, newest / name)
    texts = {
        "table.md": to_markdown(document),
        "table.tex": latex_table(pair_rows(comparisons), comparisons),
        "methods.tex": latex_methods(comparisons),
    }
    for place in (folder, newest):
        for name, text in texts.items():
            write_atomically(place / name, text)
        write_atomically(place / FILE_NAME, to_json(document))
    if analysis.is_new:
        journal.note(
            "comparison",
            key=key,
            purpose=repeats.purpose,
            seen=analysis.seen,
            num_looks=analysis.number,
            repeats=sorted({*repeats.keys.values(), *_raced(race)}),
            description=describe(document)[:MAX_DESCRIPTION_CHARS],
            metrics={
                **_metrics(comparisons, num_blocks=len(repeats.blocks), num_looks=analysis.number),
                **(_race_metrics(race) if race else {}),
            },
            artifacts=[f"{FOLDER}/{key}/{name}" for name in (FILE_NAME, *texts, *pictures)],
            tags={
                **{f"verdict: {pair}": item.sentence for pair, item in _by_pair(comparisons)},
                **({"choice": document.choice.name, "choice.state": document.choice.state} if document.choice else {}),
                **{f"race.{position}": sentence for position, sentence in enumerate(race.sentences if race else ())},
            },
        )
    return document


def describe(document: ComparisonDocument) -> str:
    """Return a comparison as Markdown for its run in MLflow: the verdicts, the choice, and the tables."""
    verdicts = [markdown(line) for line in verdict_lines(document.comparisons)]
    choice = document.choice
    chosen = [f"`export` chooses **{markdown(choice.name)}**: {choice.state}."] if choice else []
    return "\n\n".join([*verdicts, *chosen, to_markdown(document, remarks=False)])


def _race_metrics(race: RaceRecord) -> dict[str, float]:
    last = [(pair, pair.e_values[-1]) for pair in race.pairs if pair.e_values]
    names = pair_names([(pair.family, pair.a, pair.b) for pair, _ in last])
    return {
        "num_race_blocks": race.num_blocks or 0,
        **{f"race_e: {name}": value for name, (_, value) in zip(names, last, strict=True) if value is not None},
    }


def _metrics(comparisons: Sequence[Comparison], **counts: int) -> dict[str, float]:
    """Return the metrics of a comparison's run, named by measure and pair."""
    metrics: dict[str, float] = {**counts}
    for name in ("estimate", "adjusted_p", "p_a_gt_b", "smallest_detectable"):
        for pair, item in _by_pair(comparisons):
            value = getattr(item, name)
            if value is not None:
                metrics[f"{name}: {pair}"] = float(value)
    return metrics


def _by_pair(comparisons: Sequence[Comparison]) -> list[tuple[str, Comparison]]:
    names = pair_names([(item.family, item.a, item.b) for item in comparisons])
    return list(zip(names, comparisons, strict=True))


def pair_names(pairs: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a name of each pair that MLflow accepts within the names of metrics and tags.

    A slash would begin a section of MLflow's charts, so it becomes a colon. The family is named if a pair is in several
    of them, and names that are still equal are numbered.

    >>> pair_names([("", "lstm 16 (trial 3)", "ecrnn/cnn"), ("", "a+b", "c"), ("", "a&b", "c")])
    ['lstm 16 trial 3 vs ecrnn:cnn', 'a_b vs c', 'a_b vs c 2']

    Args:
        pairs: Family, first and second configuration of each pair.
    """
    shown = [f"{a} vs {b}" for _, a, b in pairs]
    whole = [
        f"{family}: {name}" if shown.count(name) > 1 and family else name
        for (family, *_), name in zip(pairs, shown, strict=True)
    ]
    names: list[str] = []
    for name in whole:
        plain = re.sub(r"[^\w.\- :]", "_", name.translate(_PLAINER))[:MAX_NAME_CHARS]
        number = 1
        while (unique := plain if number == 1 else f"{plain} {number}") in names:
            number += 1
        names.append(unique)
    return names
