"""The tests of the calibration table: all that the analysis offers, and some for contrast."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from itertools import combinations
from typing import get_args

import numpy as np

from bench.claims import ALPHA, Arms, Row
from search.significance.adjust.max_t import max_t
from search.significance.adjust.multiplicity import adjust
from search.significance.declared import THIS_DATA, Adjust, Declared
from search.significance.judge import judge_results
from search.significance.methods import METHODS
from search.significance.records import Comparison
from search.significance.results import Results
from search.significance.sequential.bounds import e_values, group_sequential_bounds
from search.significance.tests.crossed import crossed_test
from search.significance.tests.resampled import paired_t

SLOW = 4
"""Slow tests run on every n-th split only."""
MAX_CONTROLLED = 8
"""Maximum number of configurations that are compared with a control."""
MAX_ALL_PAIRS = 4
"""Maximum number of configurations of which all pairs are compared."""
LOOK_EVERY = 5
"""Number of blocks between declared interim analyses."""
ELSEWHERE = (
    "crossed-satterthwaite",
    "5x2cv-t",
    "5x2cv-f",
    "multi-bootstrap",
    "mcnemar",
    "mcnemar-mid-p",
    "pooled-images",
)
"""Methods that `single_rows` does not list with the others."""

JUDGED = "the whole analysis: better or worse"
NEWCOMERS = "k against a control"
ALL_PAIRS = "all pairs of 4"


def declared(arms: Arms) -> Declared:
    """Return the declared design of a comparison of these arms."""
    return Declared(ratio=arms.ratio, num_classes=10, alpha=ALPHA)


@lru_cache(maxsize=256)  # families of the same arms share pairs
def p_value(method: str, arms: Arms, first: int = 0, second: int = 1) -> float:
    """Return the p-value of one method on two arms; NaN if it gives none."""
    entry = METHODS[method]
    pair = (arms.on_validation if entry.needs_scores else arms.on_test)(first, second)
    return entry.run(pair, declared(arms)).p


def told(method: str, arms: Arms) -> bool:
    """Return whether one method separates the first two arms at level alpha."""
    return p_value(method, arms) <= ALPHA


def judged(arms: Arms) -> Comparison:
    """Run the whole analysis on two arms with correctness and validation scores."""
    names = ("first", "second")
    blocks = tuple(map(str, range(arms.num_blocks)))
    results = Results(
        configs=names,
        blocks=dict.fromkeys(names, blocks),
        correct={name: list(arms.correct[place]) for place, name in enumerate(names)},
        scores={name: arms.val_scores[place] for place, name in enumerate(names)},
    )
    return judge_results([results], [names], declared(arms))[0]


def _checkpoints(variant: str, arms: Arms) -> bool:
    return told(variant, Arms(correct=arms.correct[:, :1], val_scores=arms.val_scores[:, :1], ratio=arms.ratio))


def _diff(arms: Arms) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    scores_KR = arms.scores
    return np.asarray(scores_KR[0] - scores_KR[1])


def e_process(arms: Arms) -> bool:
    """Return whether the e-process reaches 1 / alpha after any block."""
    return bool((np.asarray(e_values(_diff(arms))) >= 1 / ALPHA).any())


def _peeking(arms: Arms) -> bool:
    diff = _diff(arms)
    return any(paired_t(diff[:stop]).p <= ALPHA for stop in range(3, diff.size + 1))


def _declared_looks(arms: Arms) -> bool:
    diff = _diff(arms)
    levels = _levels(diff.size // LOOK_EVERY)
    return any(paired_t(diff[: LOOK_EVERY * look]).p <= level for look, level in enumerate(levels, 1))


@cache
def _levels(num_looks: int) -> tuple[float, ...]:
    return group_sequential_bounds(num_looks, alpha=ALPHA).nominal


def _adjusted(method: str, how: Adjust, pairs: list[tuple[int, int]], arms: Arms) -> bool:
    raw = [p_value(method, arms, *pair) for pair in pairs]
    found = adjust([None if np.isnan(p) else p for p in raw], how, pairs=[(str(a), str(b)) for a, b in pairs])
    return any(p is not None and p <= ALPHA for p in found)


def _max_t(pairs: list[tuple[int, int]], arms: Arms) -> bool:
    scores_KR = arms.scores
    columns = np.stack([scores_KR[a] - scores_KR[b] for a, b in pairs], axis=1)
    return _any(max_t(columns).adjusted_p)


def _any(adjusted_p: tuple[float, ...]) -> bool:
    return any(p <= ALPHA for p in adjusted_p)


def _blocks_for(method: str, family_size: int) -> int:
    return METHODS[method].blocks_needed(Declared(alpha=ALPHA), family_size)


def _title(how: str) -> str:
    return "Benjamini-Hochberg" if how == "bh" else how.title()


def single_rows() -> list[Row]:
    """Return the tests of single comparisons."""
    rows = [
        Row(
            title=entry.title + (", on validation scores" if entry.needs_scores else ""),
            offered_for=entry.estimand,
            claims=partial(told, name),
            fewest=_blocks_for(name, 1),
        )
        for name, entry in METHODS.items()
        if name not in ELSEWHERE
    ]

    def contrast(title: str, claims: Callable[[Arms], bool], *, fewest: int = 3, every: int = 1) -> Row:
        return Row(title=title, offered_for="", claims=claims, fewest=fewest, every=every)

    return [
        *rows,
        Row(title="e-process, looked at after every block", offered_for=THIS_DATA, claims=e_process, fewest=3),
        Row(
            title=f"O'Brien-Fleming bounds, a look after every {LOOK_EVERY} blocks",
            offered_for=THIS_DATA,
            claims=_declared_looks,
            fewest=2 * LOOK_EVERY,
        ),
        contrast(
            "crossed repeats x images, plain variance",
            lambda arms: crossed_test(arms.on_test().diff, variance="plain").p <= ALPHA,
        ),
        contrast(METHODS["crossed-satterthwaite"].title, partial(told, "crossed-satterthwaite")),
        contrast("Multi-Bootstrap", partial(told, "multi-bootstrap"), every=SLOW),
        contrast("plain paired t, looked at after every block", _peeking),
        contrast("pooled images, as published", partial(told, "pooled-images")),
        contrast("exact McNemar of the first pair, taken for the configurations", partial(_checkpoints, "mcnemar")),
        contrast("mid-p McNemar of the first pair, likewise", partial(_checkpoints, "mcnemar-mid-p")),
    ]


def family_rows(num_repeats: int, num_blocks: int) -> list[Row]:
    """Return the tests of families of comparisons, in which a claim is any claim within the family.

    Args:
        num_repeats: Number of stored repeats.
        num_blocks: Number of blocks of each arm.
    """
    size = min(MAX_CONTROLLED, num_repeats // num_blocks - 1)
    control = [(place, 0) for place in range(1, size + 1)]
    everyone = list(combinations(range(MAX_ALL_PAIRS), 2))

    def row(title: str, method: str, how: Adjust, pairs: list[tuple[int, int]]) -> Row:
        return Row(
            title=title,
            offered_for=METHODS[method].estimand,
            claims=partial(_adjusted, method, how, pairs),
            fewest=_blocks_for(method, len(pairs)),
            num_arms=1 + max(place for pair in pairs for place in pair),
        )

    rows = [
        row(f"Holm over {NEWCOMERS}, {METHODS[method].title}", method, "holm", control)
        for method in ("crossed", "corrected-t", "paired-t", "sign-flip")
    ]
    rows += [
        row(f"{_title(how)} over {ALL_PAIRS}, {METHODS['crossed'].title}", "crossed", how, everyone)
        for how in get_args(Adjust)
        if how != "max-t"
    ]
    for title, pairs in ((NEWCOMERS, control), (ALL_PAIRS, everyone)):
        rows.append(
            Row(
                title=f"sign-flip max-T over {title}",
                offered_for=THIS_DATA,
                claims=partial(_max_t, pairs),
                fewest=_blocks_for("sign-flip", 1),
                num_arms=1 + max(place for pair in pairs for place in pair),
            )
        )
    none = Row(
        title=f"no adjustment over {NEWCOMERS}, {METHODS['crossed'].title}",
        offered_for="",
        claims=lambda arms: any(p_value("crossed", arms, *pair) <= ALPHA for pair in control),
        fewest=3,
        num_arms=size + 1,
    )
    return [*rows, none]
