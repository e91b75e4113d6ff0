"""The `reproduce` command: trains a paper's cells as repeats over shared blocks and writes the comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from search.compare.interim import InterimAnalysis, count_analysis, key_of
from search.compare.repeats import Repeats
from search.compare.run import run_repeats
from search.console.progress import counter
from search.data.splits import second_size
from search.errors import InputError
from search.journal.journal import Journal
from search.reproduce import beside, figures, pictures
from search.reproduce.outcomes import Outcome, everything_trained, gather
from search.reproduce.paper import Paper, load_paper
from search.reproduce.setting import Options, changes, contender, make_study, with_cells
from search.reproduce.table import to_table
from search.runners.session import print_line
from search.study.bind import DataFacts, load_facts
from search.study.config import StudyConfig
from search.study.folder import write_atomically

FOLDER = "reproduction"
"""Subfolder of the study's folder that holds table.md, reproduction.json and the figures."""


def reproduce(name: str, options: Options) -> dict[str, Any]:
    """Train the missing repeats of a paper's cells, compare them with the printed results, and write the tables.

    Args:
        name: Name of the paper.
        options: Options of the command.

    Returns:
        The content of reproduction.json.

    Raises:
        HybridSearchError: The reproduction cannot be run or completed; completed repeats are saved.
    """
    paper = load_paper(name)
    data, setting = paper.setting(options.data)
    cells = paper.choose(options.cells or paper.default)
    study = with_cells(make_study(setting, options), paper, cells)
    if study.compare.interim is not None:
        raise InputError("compare.interim: a paper's table is made once, after all repeats; remove the field")
    if options.images:
        _check_images(study, paper, options.images)
    _check_validation(study, paper)
    return run_repeats(
        study,
        pick=lambda _: [contender(study, paper, cell) for cell in cells],
        conclude=lambda facts, repeats, journal: _conclude(study, paper, data, options, facts, repeats, journal),
        title=f"reproduce {name}",
    )


def _check_validation(study: StudyConfig, paper: Paper) -> None:
    num_val = load_facts(study, on_progress=counter("decoding images")).num_val
    if num_val:
        raise InputError(
            f"data.root: {paper.name} draws a new validation part for each repeat, found a fixed one "
            f"({num_val:,} images); move its folder out of data.root, or merge it into the training part"
        )


def _check_images(study: StudyConfig, paper: Paper, images: tuple[int, ...]) -> None:
    if not paper.saliency:
        raise InputError(f"--images: expected a paper with saliency maps, found {paper.name}; remove the option")
    last = load_facts(study).num_test - 1
    faults = [f"--images: expected positions in the test set, 0 to {last}, found {at}" for at in images if at > last]
    if faults:
        raise InputError(*faults)


def _conclude(
    study: StudyConfig,
    paper: Paper,
    data: str,
    options: Options,
    facts: DataFacts,
    repeats: Repeats,
    journal: Journal,
) -> dict[str, Any]:
    shown = everything_trained(study, paper, facts, repeats, journal)
    if len(shown.blocks) > study.compare.repeats:
        asked, there = study.compare.repeats, len(shown.blocks)
        print_line(
            f"{study.name}: --repeats {asked} requested, but the table uses all {there} repeats trained here, because "
            "selecting some would bias it"
        )
    outcomes = gather(study, facts, shown)
    analysis = count_analysis(journal, key_of(study, shown), shown)
    document = {**to_document(study, paper, data, facts, outcomes), "num_looks": analysis.number}
    folder = study.folder / FOLDER
    folder.mkdir(exist_ok=True)
    drawn = {"cells": figures.draw_cells(document)}
    if document["families"]:
        drawn["differences"] = figures.draw_differences(document)
    more, document["missing"] = pictures.draw(study, paper, data, options, facts, shown, outcomes)
    drawn |= more
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=figures.DPI)
    document["pictures"] = [f"{name}.png" for name in drawn]
    write_atomically(folder / "reproduction.json", json.dumps(document, indent=1, allow_nan=False))
    write_atomically(folder / "table.md", to_table(document))
    if analysis.is_new:
        _note(study, journal, document, shown, analysis)
    return document


def to_document(
    study: StudyConfig, paper: Paper, data: str, facts: DataFacts, outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    """Return the content of reproduction.json: the numbers behind the table as plain data, accuracies as fractions."""
    num_validation = second_size(facts.num_train, study.split, facts.num_val)
    num_classes = len(facts.classes)
    blocks = next(iter(outcomes.values())).blocks
    return {
        "paper": paper.name,
        "title": paper.title,
        "data": data,
        "study": study.name,
        "folder": str(study.folder),
        "images": {
            "training": facts.num_train - num_validation,
            "validation": num_validation,
            "test": facts.num_test,
        },
        "epochs": study.train.epochs,
        "precision": study.train.precision,
        "repeats": len(blocks),
        "blocks": list(blocks),
        "data_digest": facts.key,
        "changes": changes(paper.data[data], study),
        "marks": list(paper.marks),
        "cells": beside.cell_rows(paper, data, outcomes, num_classes=num_classes),
        "families": beside.family_tables(
            paper, data, study, outcomes, num_classes=num_classes, num_validation=num_validation
        ),
    }


def _note(
    study: StudyConfig, journal: Journal, document: dict[str, Any], shown: Repeats, analysis: InterimAnalysis
) -> None:
    """Log the files, and one metric per cell, to MLflow."""
    rows = [row for row in document["cells"] if row["runs"]]
    journal.note(
        "comparison",
        key=key_of(study, shown),
        seen=analysis.seen,
        num_looks=analysis.number,
        repeats=sorted(shown.keys.values()),
        metrics={
            "num_blocks": document["repeats"],
            **{f"{row['cell']}.{row['score']}".replace("+", "-"): row["ours"] for row in rows},
        },
        artifacts=[f"{FOLDER}/{name}" for name in ("table.md", "reproduction.json", *document["pictures"])],
        tags={"paper": document["title"]},
    )
