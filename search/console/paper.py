"""Text of a comparison for papers: a LaTeX table, and a paragraph on the statistical methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata

from search.significance.declared import CHECKPOINTS, NEW_DATA_SETS
from search.significance.methods import METHODS
from search.significance.records import Comparison
from search.significance.rounding import p_number
from search.significance.wording import adjustment
from search.text.escaping import latex

Comparisons = Sequence[Comparison]

SOURCES = {
    METHODS[name].title: words
    for name, words in {
        "crossed": "a two-way random-effects test of the mean difference, repeats crossed with test images",
        "corrected-t": "the corrected resampled t test (Nadeau and Bengio, 2003)",
        "paired-t": "the paired t test",
        "sign-flip": "the sign-flip test of the mean difference (Fisher, 1935)",
        "wilcoxon": "the exact Wilcoxon signed-rank test, with the Hodges-Lehmann estimate",
        "mcnemar": "McNemar's exact test",
        "mcnemar-mid-p": "McNemar's test with mid-p",
    }.items()
} | {"Welch's t": "Welch's t test (1947)"}
"""Test -> its description in a paper."""
ADJUSTMENT_SOURCES = {
    "holm": "Holm's procedure (1979)",
    "hommel": "Hommel's procedure (1988)",
    "hochberg": "Hochberg's procedure (1988)",
    "shaffer": "Shaffer's static procedure (1986)",
    "bergmann-hommel": "Bergmann and Hommel's procedure (1988)",
    "max-t": "the step-down max-T procedure (Westfall and Young, 1993)",
    "bh": "the procedure of Benjamini and Hochberg (1995)",
}
WORDS = {"data set", "family", "a", "b", "verdict"}
"""Left-aligned columns of the table."""


def latex_table(rows: Sequence[Sequence[str]], comparisons: Comparisons) -> str:
    r"""Return the comparisons as a LaTeX table that needs no package.

    Args:
        rows: Headings, then one row per comparison, as returned by `search.console.tables.pair_rows`.
        comparisons: The same comparisons.

    Returns:
        Content of a file for `\input`.
    """
    headings, *others = ([latex(cell) for cell in row] for row in rows)
    columns = "".join("l" if heading in WORDS else "r" for heading in rows[0])
    lines = [
        f"% Written by {software()}; UTF-8, no package is needed: \\input{{table.tex}}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex(_caption(comparisons))}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \hline",
        rf"    {' & '.join(headings)} \\",
        r"    \hline",
        *(rf"    {' & '.join(row)} \\" for row in others),
        r"    \hline",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def latex_methods(comparisons: Comparisons) -> str:
    """Return the methods paragraph as a LaTeX file."""
    return f"% Written by {software()}; UTF-8\n{latex(methods_paragraph(comparisons))}\n"


def methods_paragraph(comparisons: Comparisons) -> str:
    """Describe the methods: test, unit, n, family, adjustment, equivalence and software version."""
    return " ".join(_methods(comparisons))


@cache
def software() -> str:
    """Return the name and version of the program."""
    return f"hybrid-search {metadata.version('hybrid-search')}"


def _caption(comparisons: Comparisons) -> str:
    tested = [item for item in comparisons if item.adjusted_p is not None]
    about = f" Claims are about {_listed(item.estimand for item in tested)}." if tested else ""
    unit = "" if any(item.own_unit for item in comparisons) else " in percentage points"
    lower = " Lower is better." if any(item.lower_is_better for item in comparisons) else ""
    return f"Difference of a minus b{unit}, with its interval.{lower}{about} {_count(comparisons)}".strip()


def _count(comparisons: Comparisons) -> str:
    what = "data sets" if _is_over_data_sets(comparisons) else "paired repeats"
    if any(item.num_unpaired for item in comparisons):
        what = "unpaired runs of each or more"
    numbers = sorted({item.num_blocks for item in comparisons if item.num_blocks})
    if not numbers:
        return ""
    n = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"n = {n} {what}."


def _methods(comparisons: Comparisons) -> Iterator[str]:
    tested = [item for item in comparisons if item.adjusted_p is not None]
    if not tested:
        yield "No comparison could be tested."
        yield _computed()
        return
    yield _unit(tested)
    tests = _listed(SOURCES.get(item.test or "", f"the {item.test}") for item in tested)
    yield (
        f"Differences were tested two-sided by {tests}; claims are about {_listed(item.estimand for item in tested)}."
    )
    yield from _families(tested)
    if interim := tested[0].interim:
        look, num_looks = interim
        yield (
            f"{num_looks} analyses after equal shares of the repeats were declared, with O'Brien and Fleming's (1979) "
            f"bounds; this is analysis {look}, and p-values and intervals hold at all of them."
        )
    alpha, rope = tested[0].alpha, tested[0].rope
    if rope and any(item.adjusted_tost_p is not None for item in tested):
        several = ", adjusted by Holm's procedure over the same family," if _is_family(tested) else ""
        margin = f"{rope:g}" if tested[0].own_unit else f"{100 * rope:g} percentage points"
        ranks = "signed-rank " if all(item.test == METHODS["wilcoxon"].title for item in tested) else ""
        yield (
            f"Two configurations are called practically equivalent where two one-sided {ranks}tests (TOST; Schuirmann, "
            f"1987){several} show the difference to lie within ±{margin}."
        )
    yield f"Intervals cover {100 * (1 - alpha):g} %, each for its comparison alone."
    yield from _incomplete(comparisons)
    yield _computed()


def _unit(tested: Comparisons) -> str:
    count = _count(tested).removeprefix("n = ").rstrip(".")
    if _is_over_data_sets(tested):
        return f"The unit is the data set, by the mean of its repeats (n = {count})."
    if all(item.estimand == CHECKPOINTS for item in tested):
        return "The unit is the test image; one training of each configuration was compared."
    if any(item.num_unpaired for item in tested):
        return "The unit is the training run; the runs of two configurations share no seed or split."
    images = sorted({item.num_images for item in tested if item.num_images})
    on = f", each on the same {images[0]:,} test images" if len(images) == 1 else ""
    return (
        "The unit is the training run: all configurations were trained on the same blocks of seeds and splits, and "
        f"differences were taken within a block (n = {count}{on})."
    )


def _families(tested: Comparisons) -> Iterator[str]:
    alpha = p_number(tested[0].alpha)
    if not _is_family(tested):
        yield f"A difference is claimed at p of at most {_level(alpha)}."
        return
    sizes = {item.family: item.family_size for item in tested}
    methods = _listed(ADJUSTMENT_SOURCES.get(item.adjust_method, adjustment(item.adjust_method)) for item in tested)
    counts = _listed(str(size) for size in sizes.values())
    rate = "false discovery rate" if tested[0].adjust_method == "bh" else "family-wise error rate"
    if len(sizes) > 1:
        family, rate = f"each of {len(sizes)} declared families, of {counts} comparisons,", f"{rate} of each family"
    else:
        family = f"the {counts} comparisons of the declared family"
    yield f"p-values were adjusted over {family} by {methods}, for a {rate} of {_level(alpha)}."


def _incomplete(comparisons: Comparisons) -> Iterator[str]:
    missing = sum(item.num_lost + item.num_mismatched for item in comparisons)
    diverged = any(item.failures_a or item.failures_b for item in comparisons)
    if diverged:
        yield (
            "Diverged trainings are scored by their last finite checkpoint, or as chance without one; a verdict that "
            "changes without them is reported as inconclusive."
        )
    if missing:
        where = "data sets" if _is_over_data_sets(comparisons) else "pairs"
        yield f"Where more than 10 % of the {where} of a comparison are missing, no verdict is given."


def _computed() -> str:
    return f"Computed with {software()} (SciPy {metadata.version('scipy')})."


def _is_family(tested: Comparisons) -> bool:
    return any(item.family_size > 1 for item in tested)


def _is_over_data_sets(comparisons: Comparisons) -> bool:
    return any(item.estimand == NEW_DATA_SETS for item in comparisons)


def _level(text: str) -> str:
    """Format .050 as .05."""
    return text.rstrip("0")


def _listed(words: Iterable[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} and {last}" if first else last
