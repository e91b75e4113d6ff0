"""Convert a long-format table, one row per repeat or per image, into results."""

from __future__ import annotations

import numpy as np

from search.analysis.bits import gather_bits
from search.analysis.bounds import MAX_CONFIGS
from search.analysis.cells import check_names, scores_of
from search.analysis.columns import CONFIG, CORRECT, SCORE
from search.analysis.faults import Faults
from search.analysis.notes import alike_in_all_blocks, missing_blocks, without_result
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.reading import Reading
from search.analysis.repeats import Repeats, failures_of, find_repeats, report_duplicates, results_of
from search.analysis.table import Table
from search.significance.results import Results


def to_reading(table: Table, asked: ReadOptions = DETECTED) -> Reading:
    """Check a table and sort it by data set, configuration and block.

    Args:
        table: Either one score per repeat, or the correctness of every image of every repeat.
        asked: Direction and unit of the scores.

    Returns:
        The results with notes for the reader.

    Raises:
        AnalysisError: Rows contradict the meaning of their columns; one line per fault.
    """
    faults = Faults(table.source)
    check_names(table, faults)
    repeats = find_repeats(table)
    failed = failures_of(table, repeats, faults)
    if len(repeats.configs) < 2:
        found = f"found {repeats.configs[0]!r} only"
        faults.add(f"expected at least two configurations in the column {CONFIG}, {found}; add another")
    if len(repeats.configs) > MAX_CONFIGS:
        faults.add(
            f"expected at most {MAX_CONFIGS:,} configurations, found {len(repeats.configs):,}: this is probably "
            "another column; choose one with --config-column"
        )
        faults.check()
    if CORRECT in table.columns:
        bits = gather_bits(table, repeats, faults)
        faults.check()
        results = results_of(repeats, failed, correct=bits)
    else:
        scores = _scores(table, repeats, faults, asked)
        faults.check()
        results = results_of(repeats, failed, scores=scores, bounded=not asked.own_unit)
    return Reading(
        name=table.source,
        source={**table.about, "rows": table.num_rows, "unit": "image" if CORRECT in table.columns else "repeat"},
        results=results,
        notes=(
            *table.notes,
            *(
                note
                for item in results
                for note in (*(() if asked.unpaired else missing_blocks(item)), *without_result(item))
            ),
            *(
                f"{note} ({_rows_of(table, repeats, item, config)})"
                for item in results
                for config, note in alike_in_all_blocks(item)
            ),
        ),
    )


def _scores(
    table: Table, repeats: Repeats, faults: Faults, asked: ReadOptions
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return one score per repeat, (P,)."""
    values = scores_of(table, SCORE, faults, asked)[table.columns[SCORE].codes]
    several = np.flatnonzero(np.bincount(repeats.repeat_of, minlength=repeats.num_repeats) > 1)
    named = ((repeats.name(at), np.flatnonzero(repeats.repeat_of == at)) for at in several.tolist())
    report_duplicates(table, named, several.size, faults)
    scores = np.full(repeats.num_repeats, np.nan)
    scores[repeats.repeat_of] = values
    return scores


def _rows_of(table: Table, repeats: Repeats, results: Results, config: str) -> str:
    codes = (repeats.datasets.index(results.dataset), repeats.configs.index(config))
    at = np.flatnonzero((repeats.codes[0] == codes[0]) & (repeats.codes[1] == codes[1]))
    return table.places.words(np.flatnonzero(np.isin(repeats.repeat_of, at)))
