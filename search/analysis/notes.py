"""Notes on valid results: blocks that some configurations lack, outliers, and configurations that never vary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.analysis.faults import NUM_SHOWN, some
from search.significance.results import Results

NUM_BLOCKS_SHOWN = 8
MIN_FOR_OUTLIER = 4
FAR = 15.0
"""Single scores are reported beyond this number of median deviations from the median."""


def missing_blocks(results: Results) -> Iterator[str]:
    """Yield a note on blocks that only some configurations have."""
    given = {config: set(results.blocks[config]) for config in results.configs}
    every = dict.fromkeys(block for config in results.configs for block in results.blocks[config])
    lacking = {config: [block for block in every if block not in given[config]] for config in results.configs}
    lines = [f"{config} lacks {blocks_in_words(blocks)}" for config, blocks in lacking.items() if blocks]
    if lines:
        yield (
            f"{_of(results)}some configurations lack blocks: {_clauses(lines)}; each pair is compared on its common "
            "blocks"
        )


def without_result(results: Results) -> Iterator[str]:
    """Yield a note on repeats without a result, except diverged ones."""
    for config in results.configs:
        values = results.correct.get(config) if results.correct else results.scores.get(config)
        if values is None:
            continue
        lost = [
            block
            for block, value in zip(results.blocks[config], values, strict=True)
            if is_missing(value) and block not in results.diverged.get(config, ())
        ]
        if lost:
            yield f"{_of(results)}{config} has no result on {blocks_in_words(lost)}"


def alike_in_all_blocks(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the configurations with identical results in every block, with a note on each."""
    for config in results.configs:
        if results.correct:
            rows = [row for row in results.correct[config] if row is not None]
            alike = len(rows) > 1 and all(np.array_equal(rows[0], row) for row in rows[1:])
            what = "the correctness of every image is the same"
        else:
            scores = results.scores[config][np.isfinite(results.scores[config])]
            rows, alike = list(scores), bool(scores.size > 1 and np.ptp(scores) == 0)
            what = f"the score is {float(scores[0]):g}" if alike else ""
        if alike:
            note = f"{what} in all {len(rows)} blocks: the training has no randomness, or does not use the seeds"
            yield config, f"{_of(results)}{config}: {note}"


def lone_outliers(results: Results) -> Iterator[str]:
    """Yield a note on single scores far from all others of their configuration, which may be unmarked failures."""
    for config in results.configs:
        values = results.correct.get(config) if results.correct else results.scores.get(config)
        marked = results.diverged.get(config, frozenset())
        scores = {
            block: float(np.mean(value))
            for block, value in zip(results.blocks[config], () if values is None else values, strict=values is not None)
            if not is_missing(value) and block not in marked
        }
        if len(scores) < MIN_FOR_OUTLIER:
            continue
        found = np.array(list(scores.values()))
        away = np.abs(found - np.median(found))
        far = (away > FAR * np.median(away)) & (away > (0.1 if results.bounded else 0.5 * abs(np.median(found))))
        if far.sum() == 1:
            block, score = list(scores.items())[int(far.argmax())]
            rest = found[~far]
            yield (
                f"{_of(results)}{config}, block {block}: the score {score:.4g} is far from the others "
                f"({rest.min():.4g} to {rest.max():.4g}); if that training crashed or diverged, set failed = 1 or "
                "leave the score empty, because it dominates the interval"
            )


def is_missing(value: NDArray[Any] | float | None) -> bool:
    """Return whether a repeat has no result: no row of bits, or no score."""
    return value is None or (np.ndim(value) == 0 and bool(np.isnan(value)))


def blocks_in_words(blocks: list[str]) -> str:
    """Return the first few blocks and the number of the others."""
    return f"{'block' if len(blocks) == 1 else 'blocks'} {some(blocks, NUM_BLOCKS_SHOWN)}"


def _of(results: Results) -> str:
    return f"{results.dataset}: " if results.dataset else ""


def _clauses(lines: list[str]) -> str:
    more = [f"{len(lines) - NUM_SHOWN} more configurations lack blocks"] if len(lines) > NUM_SHOWN else []
    return "; ".join([*lines[:NUM_SHOWN], *more])
