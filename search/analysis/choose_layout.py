"""Decide once how the columns of a file are read, from the headings and the first rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from search.analysis.cells import SPREAD_MEND, is_missing_text, is_number, is_spread
from search.analysis.columns import (
    BLOCK,
    CONFIG,
    CORRECT,
    DATASET,
    FAILED,
    IMAGE,
    LABEL,
    METRIC,
    PREDICTION,
    SCORE,
    STATE,
    STEP,
    Headings,
    shown,
    simple,
)
from search.analysis.direction import says_lower, words_of
from search.analysis.faults import Faults, closest, some
from search.analysis.layout import KNOWN_STATES, NUMBERED, PREVIEW, SEEDED, Layout, make_layout
from search.analysis.read_options import ROW, ReadOptions

_CURVE = re.compile(r"^.+ - .+(?:__MIN|__MAX)$")
_PARAM = re.compile(r"^param_", re.I)
_BLOCK_HEADS = {"", "split", "seed", "fold", "run", "rep", "repeat", "block", "cv", "s", "r", "trial"}


def choose_layout(
    headings: Sequence[str], first_rows: Sequence[Sequence[str]], asked: ReadOptions, faults: Faults
) -> Layout | None:
    """Choose the meaning of the columns.

    Args:
        headings: Headings in file order.
        first_rows: Cells of the first rows.
        asked: The stated options.
        faults: Receives the faults; two equally plausible columns are a fault.

    Returns:
        The layout; None if it cannot be determined, with at least one fault.
    """
    columns = [[row[at].strip() for row in first_rows if at < len(row)] for at in range(len(headings))]
    whole = len(first_rows) < PREVIEW
    heads = Headings(
        texts=tuple(headings),
        numeric=tuple(map(_is_numeric, columns)),
        constant=tuple(whole and len(set(cells)) == 1 for cells in columns),
    )
    if len(headings) == 1 and len(headings[0]) > 1 and not heads.scores():
        faults.add(
            (f"expected several columns, found one, {shown(headings[0].strip())!r}; separate the columns by commas"),
            "row 1",
        )
        return None
    if any(is_number(text.strip()) and "." in text for text in headings) and not heads.named():
        faults.add(
            "expected a line of headings, found results; add one, such as config,block,score (a line that starts "
            "with # is a comment)",
            "row 1",
        )
        return None
    if any(_CURVE.match(text) for text in headings):
        faults.add(
            "these are learning curves, one column per run; export the table of runs instead, with one row per run: "
            "configuration, seed and metric",
            "row 1",
        )
        return None
    roles = _roles(heads, columns, asked, faults)
    if faults:
        return None
    if LABEL in roles or CORRECT in roles:
        return _of_images(heads, columns, roles, asked, faults)
    return _of_scores(heads, columns, roles, asked, faults)


def _roles(
    heads: Headings, columns: Sequence[Sequence[str]], asked: ReadOptions, faults: Faults
) -> dict[str, tuple[int, ...]]:
    """Return the meanings that do not depend on each other."""
    roles: dict[str, tuple[int, ...]] = {}
    images = bool(asked.label or asked.prediction or heads.ranked(CORRECT))
    truths = [at for at in heads.ranked(LABEL) if simple(heads.texts[at]) != LABEL or heads.ranked(PREDICTION)]
    if asked.label or truths:
        roles[LABEL] = heads.take(LABEL, asked, faults)
        images = True
    for meaning in (CORRECT, PREDICTION, IMAGE) if images else ():
        if (meaning != CORRECT or LABEL not in roles) and (found := heads.take(meaning, asked, faults)):
            roles[meaning] = found
    if not images and asked.image:
        faults.add("--image-column: only for files with one row per image and a column correct or labels; remove it")
    for meaning in (DATASET, FAILED, STATE):
        found = heads.take(meaning, asked, faults)
        if found and (meaning != STATE or set(columns[found[0]]) <= KNOWN_STATES):
            roles[meaning] = found
    return roles


def _config_and_block(
    heads: Headings,
    columns: Sequence[Sequence[str]],
    roles: dict[str, tuple[int, ...]],
    asked: ReadOptions,
    faults: Faults,
) -> None:
    """Find the configuration and block columns; one column may hold both."""
    config = heads.take(CONFIG, asked, faults) or _params(heads)
    block = () if asked.block == ROW else heads.take(BLOCK, asked, faults)
    if not config and block and not asked.block and _seeded(columns[block[0]]):
        config, block = block, ()  # a column `run` with values such as resnet18_seed0
    if config:
        roles[CONFIG] = config
    if block:
        roles[BLOCK] = block


def _params(heads: Headings) -> tuple[int, ...]:
    """Return all columns param_*, which identify the candidates of a scikit-learn search."""
    known = {*heads.ranked(BLOCK), *heads.ranked(DATASET)}
    return tuple(at for at, text in enumerate(heads.texts) if _PARAM.match(text.strip()) and at not in known)


def _of_scores(
    heads: Headings,
    columns: Sequence[Sequence[str]],
    roles: dict[str, tuple[int, ...]],
    asked: ReadOptions,
    faults: Faults,
) -> Layout | None:
    blocks = _numbered(heads, asked, faults)
    if blocks and not asked.block:
        config = heads.take(CONFIG, asked, faults) or _params(heads) or _names(heads, columns, set(blocks))
        if config:
            roles[CONFIG] = config
            return None if faults else make_layout(heads, roles, asked, wide_blocks=blocks)
    metric = heads.ranked(METRIC)
    values = heads.take(SCORE, asked, faults)
    if len(metric) == 1 and not heads.numeric[metric[0]] and values:
        roles[METRIC] = (metric[0],)
    elif asked.metric:
        faults.add(
            "--metric: no column has the name of a metric in each row; choose the column with --score-column "
            f"{asked.metric}"
        )
    if values:
        roles[SCORE] = values
        if (spread := [cell for cell in columns[values[0]] if is_spread(cell)]) and not faults:
            faults.add(f"{shown(heads.texts[values[0]].strip())}: found {spread[0]!r}; {SPREAD_MEND}")
    _config_and_block(heads, columns, roles, asked, faults)
    if faults:
        return None
    if not values and CONFIG not in roles and (wide := _wide(heads, roles, asked, faults)):
        seeded = BLOCK not in roles and _seeded([heads.texts[at].strip() for at in wide])
        rows_are_blocks = asked.block == ROW
        return (
            None
            if faults
            else make_layout(heads, roles, asked, wide_configs=wide, rows_are_blocks=rows_are_blocks, seeded=seeded)
        )
    steps = [at for at in heads.ranked(STEP) if at not in {place for found in roles.values() for place in found}]
    if steps:
        roles[STEP] = (steps[0],)
    if asked.block == ROW:
        faults.add("--block-column row: only for tables with one column per configuration; name a column", "row 1")
    for meaning in (CONFIG, SCORE):
        if meaning not in roles and not faults:
            _report_missing(meaning, heads, faults)
    seeded = not faults and BLOCK not in roles and _seeded(columns[roles[CONFIG][0]])
    if not (faults or {BLOCK, DATASET} & set(roles)) and (beside := heads.spread_of(roles[SCORE][0])):
        faults.add(f"{shown(beside)} beside {shown(heads.texts[roles[SCORE][0]].strip())}: {SPREAD_MEND}", "row 1")
    if not (faults or seeded or {BLOCK, DATASET} & set(roles) or asked.unpaired):
        _report_missing(BLOCK, heads, faults)
    return None if faults else make_layout(heads, roles, asked, seeded=seeded)


def _of_images(
    heads: Headings,
    columns: Sequence[Sequence[str]],
    roles: dict[str, tuple[int, ...]],
    asked: ReadOptions,
    faults: Faults,
) -> Layout | None:
    if CORRECT in roles and IMAGE not in roles:
        if heads.scores() or asked.score:  # a column `right` beside scores of whole repeats
            roles.pop(CORRECT)
            return _of_scores(heads, columns, roles, asked, faults)
        _report_missing(IMAGE, heads, faults)
        return None
    _config_and_block(heads, columns, roles, asked, faults)
    if faults:
        return None
    if LABEL in roles and PREDICTION not in roles:
        taken = {at for found in roles.values() for at in found}
        labels = set(columns[roles[LABEL][0]])
        wide = tuple(
            at
            for at, cells in enumerate(columns)
            if at not in taken
            and heads.texts[at].strip()
            and set(cells) & labels
            and len(set(cells)) <= 2 * len(labels) + 2
        )
        if CONFIG in roles or len(wide) < 2:
            faults.add(
                "there is a column of labels, but none of predictions; choose one with --prediction-column, or give "
                "one column of predictions per configuration",
                "row 1",
            )
            return None
        return make_layout(heads, roles, asked, wide_configs=wide)
    if CONFIG not in roles:
        _report_missing(CONFIG, heads, faults)
        return None
    return make_layout(heads, roles, asked, seeded=BLOCK not in roles and _seeded(columns[roles[CONFIG][0]]))


def _numbered(heads: Headings, asked: ReadOptions, faults: Faults) -> dict[int, str]:
    """Return columns with one block of a metric each: position -> block. Training scores are ignored."""
    groups: dict[tuple[str, str], dict[int, str]] = {}
    for at, text in enumerate(heads.texts):
        found = NUMBERED.match(text.strip())
        if found and heads.numeric[at] and re.sub(r"[\s_\-]", "", found["before"]).lower() in _BLOCK_HEADS:
            groups.setdefault((found["before"], found["after"].strip(" _-./")), {})[at] = found["number"]
    groups = {key: found for key, found in groups.items() if len(found) > 1}
    stems = {(after or before): found for (before, after), found in groups.items()}
    if asked.score is not None:
        if any(text.strip() == asked.score for text in heads.texts):
            return {}
        wanted = simple(asked.score)
        return next((found for stem, found in stems.items() if simple(stem) == wanted), {})
    if len(stems) > 1:
        stems = {stem: found for stem, found in stems.items() if "train" not in words_of(stem)}
    if len(stems) > 1:
        names = list(stems)
        faults.add(
            f"{some(map(shown, names), 8)} may each be the score; choose one with --score-column {names[0]}", "row 1"
        )
    if not stems or (heads.scores() and not next(iter(groups))[1]):
        return {}
    return next(iter(stems.values()))


def _names(heads: Headings, columns: Sequence[Sequence[str]], taken: set[int]) -> tuple[int, ...]:
    """Return the only text column if all others are numbers: its rows are the configurations."""
    rest = [at for at in range(len(columns)) if at not in taken and heads.texts[at].strip() and not heads.numeric[at]]
    return (rest[0],) if len(rest) == 1 else ()


def _wide(heads: Headings, roles: Mapping[str, tuple[int, ...]], asked: ReadOptions, faults: Faults) -> tuple[int, ...]:
    """Return numeric columns with one configuration each; none if a heading names a metric."""
    taken = {at for found in roles.values() for at in found} | set(heads.ranked(BLOCK)) | set(heads.ranked(DATASET))
    rest = [at for at, text in enumerate(heads.texts) if at not in taken and text.strip()]
    if len(rest) < 2 or not all(heads.numeric[at] for at in rest) or any(says_lower(heads.texts[at]) for at in rest):
        return ()
    seeded = _seeded([heads.texts[at].strip() for at in rest])
    names = some([shown(heads.texts[at].strip()) for at in rest])
    if not {BLOCK, DATASET} & set(roles) and asked.block != ROW and not asked.unpaired and not seeded:
        faults.add(
            f"no column identifies the block: the columns {names} look like one configuration each; if the scores of "
            "one row share their seed or split, add --block-column row, else --unpaired",
            "row 1",
        )
    return tuple(rest)


def _report_missing(meaning: str, heads: Headings, faults: Faults) -> None:
    where = "row 1"
    meant = closest(meaning, [text for text in heads.texts if text.strip()])
    option = f"name it with --{meaning}-column"
    ways = {
        CONFIG: f"{option} (the configurations to compare, such as models)",
        BLOCK: f"{option} (the seed or split that runs share), or add --unpaired if they share none",
        SCORE: f"{option}, or add columns image and correct",
        IMAGE: option,
    }
    mend = f"if you mean {shown(meant)}, add --{meaning}-column {shown(meant)}" if meant else ways[meaning]
    faults.add(f"expected a column {meaning}, found {heads.listed()}; {mend}", where)


def _seeded(cells: Sequence[str]) -> bool:
    """Return whether every name holds configuration and block."""
    found = [SEEDED.match(cell) for cell in cells if cell]
    return bool(found) and all(found)


def _is_numeric(cells: Sequence[str]) -> bool:
    there = [cell for cell in cells if not is_missing_text(cell)]
    return bool(there) and sum(map(is_number, there)) > len(there) / 2
