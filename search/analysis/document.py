"""Write an analysis as plain data, as text lines, and as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis.across import ranks_across
from search.analysis.family import Families
from search.analysis.faults import AnalysisError
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.reading import Reading
from search.console.paper import latex_methods, latex_table, methods_paragraph
from search.console.tables import Rows, markdown_tables, pair_rows, print_tables
from search.console.verdict_lines import verdict_lines
from search.significance.declared import Declared
from search.significance.records import Comparison
from search.significance.results import Results
from search.significance.units import negated


def to_document(
    reading: Reading,
    families: Families,
    declared: Declared,
    comparisons: Sequence[Comparison],
    asked: ReadOptions = DETECTED,
) -> dict[str, Any]:
    """Return everything needed to check the verdicts, JSON-safe.

    Args:
        reading: The results and notes.
        families: The declared families.
        declared: The declared settings.
        comparisons: The verdicts.
        asked: Direction and unit of the scores.
    """
    ranked = negated(reading.results) if asked.direction == "lower" else reading.results
    return {
        "source": dict(reading.source),
        "declared": {
            "families": {name: [list(pair) for pair in pairs] for name, pairs in families.items()},
            "estimand": declared.estimand,
            "method": declared.method,
            "adjust": declared.adjust,
            "alpha": declared.alpha,
            "rope": declared.rope,
            "ratio": declared.ratio,
            "num_images": declared.num_images,
            "num_classes": declared.num_classes,
            "lower_is_better": asked.direction == "lower",
            "scale": asked.scale,
            "own_unit": asked.own_unit,
            "unpaired": asked.unpaired,
        },
        "across": ranks_across(ranked, alpha=declared.alpha, num_classes=declared.num_classes),
        "datasets": [item.dataset for item in reading.results],
        "configs": [_config(item, name, declared.num_classes) for item in reading.results for name in item.configs],
        "comparisons": [comparison.to_dict() for comparison in comparisons],
        "notes": list(reading.notes),
    }


def _config(results: Results, name: str, num_classes: int | None) -> dict[str, Any]:
    if results.correct:
        rows = results.correct.get(name, ())
        scores = np.array([np.nan if row is None else np.mean(row) for row in rows], dtype=np.float64)
    else:
        scores = np.asarray(results.scores.get(name, ()), dtype=np.float64)
    if num_classes is not None:  # as it is judged: a diverged training without a result counts with chance accuracy
        diverged = np.array([block in results.diverged.get(name, ()) for block in results.blocks[name]])
        scores = np.where(~np.isfinite(scores) & diverged[: scores.size], 1 / num_classes, scores)
    there = scores[np.isfinite(scores)]
    return {
        "dataset": results.dataset,
        "name": name,
        "mean": float(there.mean()) if there.size else None,
        "num_blocks": len(results.blocks[name]),
        "num_results": int(there.size),
        "num_diverged": len(results.diverged.get(name, ())),
        "blocks": list(results.blocks[name]),
        "scores": [float(score) if np.isfinite(score) else None for score in scores],
    }


def to_lines(document: dict[str, Any], comparisons: Sequence[Comparison]) -> list[str]:
    """Return the analysis for standard output: tables, verdicts and notes."""
    tables = [_config_rows(document), pair_rows(comparisons)]
    return print_tables(tables, _remarks(document, comparisons)).splitlines()


def write_files(document: dict[str, Any], comparisons: Sequence[Comparison], folder: Path) -> list[str]:
    """Write analysis.json, the table in Markdown and LaTeX, the methods paragraph and the figures.

    Args:
        document: As returned by `to_document`.
        comparisons: The same comparisons as records.
        folder: Created if missing; files of an earlier analysis are replaced.

    Returns:
        The names of the files.

    Raises:
        AnalysisError: The folder is not writable.
    """
    from search.significance.figures import save_figures

    remarks = [*_remarks(document, comparisons), f"Methods: {methods_paragraph(comparisons)}"]
    texts = {
        "analysis.json": json.dumps(document, indent=1, allow_nan=False),
        "table.md": markdown_tables([_config_rows(document), pair_rows(comparisons)], remarks),
        "table.tex": latex_table(pair_rows(comparisons), comparisons),
        "methods.tex": latex_methods(comparisons),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        in_points = not any(item.own_unit or item.lower_is_better or item.num_unpaired for item in comparisons)
        return [*texts, *(save_figures(comparisons, folder) if in_points else [])]
    except OSError as error:
        raise AnalysisError(f"--to: {folder} cannot be written ({error.strerror}); choose another folder") from None


def _config_rows(document: dict[str, Any]) -> Rows:
    """Return the headings and one row per configuration and data set."""
    several = len(document["datasets"]) > 1
    rows: Rows = [(*(["data set"] if several else []), "configuration", "score, mean", "repeats")]
    for item in document["configs"]:
        unit = "{:.5g}".format if document["declared"]["own_unit"] else lambda mean: f"{100 * mean:.2f} %"
        mean = "-" if item["mean"] is None else unit(item["mean"])
        rows.append((*([item["dataset"]] if several else []), item["name"], mean, str(item["num_results"])))
    return rows


def _remarks(document: dict[str, Any], comparisons: Sequence[Comparison]) -> list[str]:
    return [
        *verdict_lines(comparisons),
        *([document["across"]["sentence"]] if document["across"] else []),
        *(f"Note: {note}." for note in document["notes"]),
    ]
