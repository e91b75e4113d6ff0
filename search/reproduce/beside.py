"""Rows of a reproduction: cells with printed and reproduced accuracy, differences with the paper's and valid marks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from search.reproduce.outcomes import Outcome
from search.reproduce.paper import Family, Pair, Paper, Scored, ScoreName
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.means import mean_of_repeats
from search.significance.records import Comparison, Interval, Verdict
from search.significance.results import Results
from search.significance.tests.pooled import num_stars, pooled_images_t
from search.study.config import StudyConfig


def cell_rows(paper: Paper, data: str, outcomes: Mapping[str, Outcome], *, num_classes: int) -> list[dict[str, Any]]:
    """Return one row per cell and score: printed and reproduced accuracy, and whether our interval holds the first."""
    return [
        _cell_row(paper, data, name, score, scored, outcome, chance=1 / num_classes)
        for name, outcome in outcomes.items()
        for score, scored in paper.data[data].scores.items()
    ]


def _cell_row(
    paper: Paper, data: str, name: str, score: ScoreName, scored: Scored, outcome: Outcome, *, chance: float
) -> dict[str, Any]:
    cell = paper.cells[name]
    printed = cell.printed.get(data, {}).get(score)
    theirs = None if printed is None else printed / 100
    scores = outcome.of(score, chance=chance)
    row: dict[str, Any] = {
        "cell": name,
        "label": cell.label,
        "table": cell.table,
        "score": score,
        "theirs": theirs,
        "their_runs": scored.runs,
        "their_step": scored.step / 100,
        "their_error": _error_of(theirs, score, scored),
        "ours": None,
        "runs": len(scores),
        "diverged": len(outcome.diverged),
        "scores": scores.tolist(),
    }
    if not len(scores):
        return row
    ours = mean_of_repeats(scores, num_further=scored.runs)
    step = scored.step / 100
    return row | {
        "ours": ours.mean,
        "interval": _accuracies(ours.interval),
        "expected": _accuracies(ours.expected),
        "difference": None if theirs is None else ours.mean - theirs,
        "inside": _holds(ours.interval, theirs, step),
        "expected_holds": None if paper.data[data].other_images else _holds(ours.expected, theirs, step),
    }


def _error_of(theirs: float | None, score: ScoreName, scored: Scored) -> float | None:
    # Sampling error does not apply to training accuracy.
    return None if theirs is None or score == "train" else sampling_error(theirs, scored.images * scored.runs)


def sampling_error(accuracy: float, num_images: int) -> float:
    """Return the half-width of an accuracy's 95 % interval due to the sampling of images alone."""
    return 1.96 * math.sqrt(accuracy * (1 - accuracy) / num_images)


def _holds(interval: Interval | None, value: float | None, step: float) -> bool | None:
    """Return whether an interval holds a printed value, allowing for rounding to `step`."""
    if interval is None or value is None:
        return None
    return interval.low - step / 2 <= value <= interval.high + step / 2


def _accuracies(interval: Interval | None) -> dict[str, float] | None:
    """Return the ends of an interval, clipped to [0, 1]."""
    if interval is None:
        return None
    return {"low": max(interval.low, 0.0), "high": min(interval.high, 1.0), "level": interval.level}


def family_tables(
    paper: Paper,
    data: str,
    study: StudyConfig,
    outcomes: Mapping[str, Outcome],
    *,
    num_classes: int,
    num_validation: int,
) -> list[dict[str, Any]]:
    """Return one table per family: differences between trained cells, with the paper's marks and ours.

    The correction for multiple testing covers the comparisons in the table: every pair of the paper whose two cells
    were trained, whatever the result.
    """
    tables = []
    for family in paper.families:
        pairs = [pair for pair in family.pairs if pair.a in outcomes and pair.b in outcomes]
        if not pairs:
            continue
        # If the paper scored validation images, its unused test images allow the more powerful test as well.
        scores: tuple[ScoreName, ...] = ("validation", "test") if family.score == "validation" else ("test",)
        judged = {score: _judge(study, pairs, outcomes, score, num_classes=num_classes) for score in scores}
        pooled = paper.data[data].pooled
        tables.append(
            {
                "title": family.title,
                "score": family.score,
                "size": len(pairs),
                "of": len(family.pairs),
                "pairs": [
                    _pair_row(paper, data, family, pair, {score: items[place] for score, items in judged.items()})
                    | {
                        "as_published": _published(paper, judged[family.score][place], num_validation)
                        if pooled
                        else None
                    }
                    for place, pair in enumerate(pairs)
                ],
            }
        )
    return tables


def _judge(
    study: StudyConfig, pairs: list[Pair], outcomes: Mapping[str, Outcome], score: ScoreName, *, num_classes: int
) -> tuple[Comparison, ...]:
    """Test a family on the scores of random splits, or on the images of the fixed test set."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b)))
    results = Results(
        configs=tuple(names),
        blocks={name: tuple(outcomes[name].blocks) for name in names},
        correct={name: list(outcomes[name].correct) for name in names} if score == "test" else {},
        scores={name: outcomes[name].scores[score] for name in names} if score == "validation" else {},
        diverged={name: frozenset(outcomes[name].diverged) for name in names},
    )
    declared = Declared(
        estimand="new-data",
        alpha=study.compare.alpha,
        rope=study.compare.rope,
        ratio=study.split.ratio,
        num_classes=num_classes,
    )
    return judge_results([results], [(pair.a, pair.b) for pair in pairs], declared)


def _pair_row(paper: Paper, data: str, family: Family, pair: Pair, judged: Mapping[str, Comparison]) -> dict[str, Any]:
    printed = [paper.cells[name].printed.get(data, {}).get(family.score) for name in (pair.a, pair.b)]
    derived = None if None in printed else round(float(np.subtract(*printed)), 6)  # type: ignore[arg-type]
    theirs = derived if pair.difference is None else pair.difference
    return {
        "a": pair.a,
        "b": pair.b,
        "label_a": paper.cells[pair.a].label,
        "label_b": paper.cells[pair.b].label,
        "theirs": None if theirs is None else theirs / 100,
        "their_stars": pair.stars,
        "ours": judged[family.score].estimate,
        "tests": {
            score: {"stars": _stars(paper, item), "comparison": item.to_dict()} for score, item in judged.items()
        },
    }


def _stars(paper: Paper, comparison: Comparison) -> int | None:
    """Return the number of stars for the adjusted p on the paper's scale; None without a valid test."""
    if comparison.adjusted_p is None:
        return None
    withheld = comparison.verdict is Verdict.INCONCLUSIVE and comparison.reason is not None
    return 0 if withheld else num_stars(comparison.adjusted_p, paper.marks)


def _published(paper: Paper, comparison: Comparison, num_images: int) -> dict[str, Any] | None:
    """Apply the paper's own test to the reproduced results."""
    if comparison.mean_a is None or comparison.mean_b is None:
        return None
    test = pooled_images_t(comparison.mean_a, comparison.mean_b, num_runs=comparison.num_blocks, num_images=num_images)
    return {
        "stars": num_stars(test.p, paper.marks),
        "p": test.p if math.isfinite(test.p) else None,
        "runs": test.num_blocks,
        "images": test.num_images,
    }
