"""Report section: the headline and the verdict of every comparison."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from search.console.verdict_lines import MANY, counts, is_decided, reasons
from search.journal.nominee import NOMINATED, has_won
from search.journal.summary import nominees
from search.report.markup import Html, join, section, styled, tag
from search.report.material import Material
from search.report.picture import picture
from search.significance.figures import forest_plot
from search.significance.figures.forest import group_name
from search.significance.figures.interactive import forest_figure
from search.significance.records import Comparison, Verdict
from search.text.counted import counted, num_runs

MARKS = {
    Verdict.BETTER: ("▲", "better"),
    Verdict.WORSE: ("▼", "worse"),
    Verdict.EQUIVALENT: ("■", "same"),
    Verdict.INCONCLUSIVE: ("●", "open"),
    Verdict.REFUSED: ("✕", "refused"),
}
"""Verdict -> its mark, as in the figures, and its CSS class."""
_NUMBERS = re.compile(r" \(\d+(\.\d+)? % interval")


def headline(material: Material) -> str:
    """Return the main result of the study in one sentence."""
    comparisons = material.comparisons
    if len(comparisons) == 1:
        return f"{parted(comparisons[0])[0].rstrip('.')}."
    if comparisons:
        choice = material.choice
        own = [item for item in comparisons if choice and choice.name in {item.a, item.b}]
        if choice and len(own) == 1:
            return f"{choice.name}: {choice.state}. {parted(own[0])[0].rstrip('.')}."
        if choice and own:
            wins = sum(has_won(item, choice.name) for item in own)
            return f"{choice.name}: {choice.state}. Better in {wins} of {len(own)} declared comparisons."
        return f"{len(comparisons)} declared comparisons: {verdict_counts(comparisons)}."
    if material.choice:
        return f"{material.choice.name}: {material.choice.state}."
    if material.repeats:
        count = len(material.repeats)
        return f"{counted(count, 'repeat')} trained, but no comparison was written."
    return "No trial has finished yet."


def verdict_counts(comparisons: Sequence[Comparison]) -> str:
    """Return the number of comparisons per verdict, such as `5 better, 2 inconclusive`."""
    counts = Counter(comparison.verdict for comparison in comparisons)
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])


def parted(comparison: Comparison) -> tuple[str, str]:
    """Split a verdict's sentence into the statement and its evidence."""
    sentence = comparison.sentence
    refusal = f"Refused: {comparison.a} against {comparison.b}"
    if found := _NUMBERS.search(sentence):
        cut = found.start()
    elif refusal in sentence:
        cut = sentence.index(refusal) + len(refusal)
    else:
        cut = sentence.find(". ") + 1 or len(sentence)
    return sentence[:cut], sentence[cut:]


def badge(verdict: Verdict, *, provisional: bool = False) -> Html:
    """Return a `span` with a verdict's mark and word."""
    mark, name = MARKS[verdict]
    word = f"{verdict.value}, provisional" if provisional else verdict.value
    sign = tag("span", mark, attributes={"aria-hidden": "true"})
    return styled("span", f"badge {name}", sign, Html("&nbsp;"), word)


def make(material: Material) -> Html:
    """Return the section: the verdicts, and a forest plot."""
    comparisons = material.comparisons
    if not comparisons:
        return section("verdict", "Verdict", _none_yet(material))
    groups = [(name, list(members)) for name, members in groupby(comparisons, group_name)]
    looks = material.document.num_looks if material.document else 1
    parts = _choice(material)
    for name, members in groups:
        if len(groups) > 1:
            parts.append(tag("h3", f"{name}: {verdict_counts(members)}"))
        shown = [item for item in members if len(comparisons) < MANY or is_decided(item.verdict)]
        if shown:
            parts.append(tag("ul", *(_card(item) for item in shown), attributes={"class": "cards"}))
    if len(comparisons) >= MANY:
        words = f"Of {len(comparisons)} comparisons: {counts(comparisons)}. Those without a card are in the table."
        parts += [tag("p", words), *(tag("p", reason) for reason in reasons(comparisons))]
    if looks > 1:
        parts.append(
            styled("p", "note", f"This is analysis {looks} of these repeats, undeclared: p-values are no longer exact.")
        )
    forest = picture(
        forest_plot(comparisons),
        forest_figure(comparisons),
        alt=(
            f"Forest plot, {counted(len(comparisons), 'comparison')}: {verdict_counts(comparisons)}. All numbers are "
            "in the table."
        ),
        caption="Each mark is a difference. The thick bar is its own interval, the thin bar the interval that holds "
        "for the whole family at once. Inside the band the two are practically equivalent.",
    )
    return section("verdict", "Verdict", *parts, forest)


def _choice(material: Material) -> list[Html]:
    """Return the configuration that `export` would take, and its notes."""
    choice = material.choice
    if choice is None:
        return []
    taken = tag("p", tag("code", "export"), " chooses ", tag("strong", choice.name), f": {choice.state}.")
    return [taken, *(styled("p", "note", f"{note[0].upper()}{note[1:]}.") for note in choice.notes)]


def _card(comparison: Comparison) -> Html:
    head, rest = parted(comparison)
    _, name = MARKS[comparison.verdict]
    mark = badge(comparison.verdict, provisional=comparison.provisional)
    return tag("li", mark, tag("p", tag("strong", head), rest), attributes={"class": f"card {name}"})


def _none_yet(material: Material) -> Html:
    ranked = nominees(material.trials)
    command = tag("code", f"hybrid-search compare {material.study.folder}")
    if not ranked:
        pages = material.study.folder.glob("*/table.md")
        found = ", ".join(str(page) for page in sorted(pages))
        where = f" Tables of other commands: {found}." if found else ""
        return tag("p", f"No trial has finished, and there is no comparison.{where}")
    record = ranked[0]
    score = "no score" if record.val_accuracy is None else f"{100 * record.val_accuracy:.2f} % validation accuracy"
    return join(
        [
            tag(
                "p",
                tag("strong", f"{record.label}: {NOMINATED}."),
                f" {score} in {num_runs(len(record.blocks))}, selected for this score.",
            ),
            tag(
                "p", "The highest score of a sweep is partly chance. Fresh repeats show the real difference: ", command
            ),
        ]
    )
