"""Count repeats that are copies of each other once: a copied repeat is not an independent observation.

Shapes: R blocks, M images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from search.analysis.faults import some
from search.analysis.notes import blocks_in_words
from search.significance.across import MIN_DATA_SETS
from search.significance.results import Results
from search.text.counted import counted

T = TypeVar("T")

MIN_IMAGES = 20
"""With fewer images, two trainings can plausibly be right on the same images."""
MIN_ERRORS = 3
"""With fewer errors, or fewer correct answers, two trainings can plausibly agree: the same images are hard for both."""


def without_copies(results: tuple[Results, ...]) -> tuple[tuple[Results, ...], tuple[str, ...]]:
    """Leave out the blocks in which a configuration is a copy of an earlier block.

    Correctness is a copy if it is bitwise identical and has both right and wrong answers. Equal scores may be chance,
    or a deterministic configuration: they are copies if the scores of all configurations recur together more often than
    the resolution of the scores explains. If the correctness of one configuration is the same in all blocks and at
    least two others vary, only that configuration's blocks are reduced to one.

    Args:
        results: One item per data set; six or more are returned unchanged, since each counts once by its mean.

    Returns:
        The results without these blocks, and notes on what was left out.
    """
    if len(results) >= MIN_DATA_SETS:
        return results, ()
    kept, notes = [], []
    for given in results:
        before = f"{given.dataset}: " if given.dataset else ""
        item, constant = _constants_once(given)
        if constant:
            notes.append(
                f"{before}copies count as one repeat: {some(constant)} in all blocks; the other configurations are "
                "compared over all of their blocks"
            )
        copies = _copied_bits(item) if item.correct else _copied_scores(item)
        if copies:
            words = some(
                [
                    f"{who}block {first} is repeated as {blocks_in_words(later)}"
                    for (who, first), later in _grouped(copies).items()
                ]
            )
            every = len(dict.fromkeys(block for blocks in item.blocks.values() for block in blocks))
            left = every - len(copies)
            notes.append(
                f"{before}copies count as one repeat: {words}; {left} of {counted(every, 'block')} "
                f"{'is' if left == 1 else 'are'} compared"
            )
        kept.append(_without(item, set(copies)))
    return tuple(kept), tuple(notes)


def odd_repeats(results: Results) -> list[str]:
    """Return notes on blocks that look like copies but whose equal scores may be chance."""
    groups = _joint(results)
    several = [blocks for blocks in groups.values() if len(blocks) > 1]
    if results.correct or len(results.configs) < 2 or len(groups) < 2 or not several:
        return []
    words = some([blocks_in_words(blocks) for blocks in several])
    return [f"all configurations have the same scores on {words}: a copy is not a further repeat, remove it"]


def _copied_bits(results: Results) -> dict[str, tuple[str, str]]:
    """Return block -> (configuration, earlier block that it copies)."""
    copies: dict[str, tuple[str, str]] = {}
    for config, rows in results.correct.items():
        first: dict[bytes, str] = {}
        for block, row in zip(results.blocks[config], rows, strict=True):
            if row is None or row.size < MIN_IMAGES or min(row.sum(), row.size - row.sum()) < MIN_ERRORS:
                continue
            earlier = first.setdefault(row.tobytes(), block)
            if earlier != block:
                copies.setdefault(block, (config, earlier))
    return copies


def _constants_once(results: Results) -> tuple[Results, list[str]]:
    """Keep one block of each configuration whose correctness never varies, if two or more others vary."""
    copied = [config for config, _ in _copied_bits(results).values()]
    constant = [config for config in results.configs if 0 < len(results.blocks[config]) - 1 == copied.count(config)]
    if len(results.configs) - len(constant) < 2:
        return results, []
    for config in constant:
        alone = _without(results, set(results.blocks[config][1:]))
        results = dataclasses.replace(
            results,
            blocks=_with(results.blocks, config, alone.blocks),
            correct=_with(results.correct, config, alone.correct),
            diverged=_with(results.diverged, config, alone.diverged),
        )
    return results, constant


def _with(held: Mapping[str, T], config: str, other: Mapping[str, T]) -> dict[str, T]:
    return {**held, config: other[config]} if config in held else dict(held)


def _copied_scores(results: Results) -> dict[str, tuple[str, str]]:
    groups = _joint(results)
    again = sum(math.comb(len(blocks), 2) for blocks in groups.values())
    varying = [column for column in zip(*groups, strict=True) if len(set(column)) > 1]
    if not again or len(varying) < 2:
        return {}
    expected = _by_chance(groups, varying)
    if not _equally_often(groups) and (again < 3 * expected or (again == 1 and expected > 0.01)):
        return {}
    return {block: ("", blocks[0]) for blocks in groups.values() for block in blocks[1:]}


def _equally_often(groups: Mapping[tuple[float, ...], list[str]]) -> bool:
    """Return whether all scores occur equally often, three times or more."""
    counts = {len(blocks) for blocks in groups.values()}
    return len(counts) == 1 and min(counts) > 2


def _by_chance(groups: Mapping[tuple[float, ...], list[str]], varying: Sequence[Sequence[float]]) -> float:
    """Return the expected number of block pairs that agree in all configurations by chance."""
    num_blocks, pairs = sum(map(len, groups.values())), math.comb(len(groups), 2)
    shares = [(1 + sum(math.comb(column.count(score), 2) for score in set(column))) / (1 + pairs) for column in varying]
    return math.prod(shares) * math.comb(num_blocks, 2)


def _joint(results: Results) -> dict[tuple[float, ...], list[str]]:
    """Return the scores of all configurations -> their blocks; blocks that lack a configuration are ignored."""
    of: dict[str, list[float]] = {}
    for config in results.configs:
        for block, score in zip(results.blocks[config], results.scores.get(config, ()), strict=False):
            if np.isfinite(score):
                of.setdefault(block, []).append(float(score))
    found: dict[tuple[float, ...], list[str]] = {}
    for block, scores in of.items():
        if len(scores) == len(results.configs):
            found.setdefault(tuple(scores), []).append(block)
    return found


def _grouped(copies: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for block, (config, first) in copies.items():
        groups.setdefault((f"{config}, " if config else "", first), []).append(block)
    return groups


def _without(results: Results, dropped: set[str]) -> Results:
    """Return the results without some blocks."""
    if not dropped:
        return results
    keep = {config: [block not in dropped for block in blocks] for config, blocks in results.blocks.items()}
    return dataclasses.replace(
        results,
        blocks={c: tuple(b for b in blocks if b not in dropped) for c, blocks in results.blocks.items()},
        correct={
            config: [row for row, mark in zip(rows, keep[config], strict=True) if mark]
            for config, rows in results.correct.items()
        },
        scores={config: scores[keep[config]] for config, scores in results.scores.items()},
        diverged={config: blocks - dropped for config, blocks in results.diverged.items()},
    )
