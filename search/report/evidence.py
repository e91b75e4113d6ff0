"""Report sections: figures of the comparisons, and the numbers behind the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.report.markup import Html, definitions, join, section, styled, table, tag
from search.report.material import Material
from search.report.picture import folded_away, note, picture
from search.report.verdict import badge
from search.significance.figures import (
    PlanningLine,
    per_class_plot,
    planning_lines,
    planning_plot,
    slope_plot,
    superiority_matrix,
)
from search.significance.figures.forest import group_name
from search.significance.figures.interactive import slopes_figure, superiority_figure
from search.significance.figures.interactive_curves import per_class_figure, planning_figure
from search.significance.figures.numbers import interval_text, number, numbers_of
from search.significance.figures.per_class import chosen, heading
from search.significance.figures.save import MIN_CONFIGS
from search.significance.records import Comparison
from search.significance.rounding import points
from search.significance.wording import marks_of
from search.text.counted import counted

MAX_PAIRS = 12
"""Maximum number of comparisons shown with a slope plot and per-class differences."""
CELL_PIXELS = 50
"""Minimum width of a matrix cell that fits its numbers."""
OFF_CURVE = 0.02
"""Relative distance between a mark and its curve above which a note explains the distance."""
NUM_OPEN = 2
"""Number of comparisons that are unfolded at first."""


def make_pictures(material: Material) -> Html | None:
    """Return the figures: slope plots, matrices, planning curves, differences per class; None without a comparison."""
    comparisons = material.comparisons
    if not comparisons:
        return None
    parts = [*_matrices(material), *_planning(material), *_pairs(material)]
    return section("pictures", "The comparisons in pictures", *parts)


def _matrices(material: Material) -> Iterator[Html]:
    for dataset in dict.fromkeys(comparison.dataset for comparison in material.comparisons):
        own = [comparison for comparison in material.comparisons if comparison.dataset == dataset]
        names = {name for item in own for name in (item.a, item.b)}
        if len(names) >= MIN_CONFIGS:
            yield tag("h3", f"Who wins in the same repeat{f': {dataset}' if dataset else ''}")
            yield picture(
                superiority_matrix(own),
                superiority_figure(own),
                alt=f"Matrix of P(A > B) for {len(names)} configurations; the numbers are in the table below.",
                caption="Share of repeats in which the row scored above the column (a tie counts one half), with its "
                "interval on these images. The highest mean is on top. A dash or hatching means not compared.",
                min_width=230 + CELL_PIXELS * len(names),
            )


def _planning(material: Material) -> Iterator[Html]:
    lines = planning_lines(material.comparisons)
    if not lines:
        return
    rope = material.comparisons[0].rope
    yield tag("h3", "Detectable difference and number of repeats")
    floors = [f"{points(line.floor, 2)} pp for {line.label}" for line in lines if line.floor]
    words = f" No number of repeats detects less than the floor: {'; '.join(floors)}." if floors else ""
    yield picture(
        planning_plot(lines, rope=rope),
        planning_figure(lines, rope=rope),
        alt=f"Smallest detectable difference against the number of repeats, for {counted(len(lines), 'comparison')}.",
        caption="Smallest difference detected with 80 % power at the level of the first step of the adjustment. It "
        "is as uncertain as the variances estimated so far. The mark is the current number of "
        f"repeats.{_off_curve(lines)}{words}",
    )


def _off_curve(lines: Sequence[PlanningLine]) -> str:
    """Return a note on marks that lie off their curve, or an empty text."""
    for line in lines:
        if line.num_now and line.detectable_now and line.num_now in line.repeats:
            expected = line.detectable[line.repeats.index(line.num_now)]
            if abs(line.detectable_now / expected - 1) > OFF_CURVE:
                return " The mark is off its curve where a variance estimate was below 0 and was set to 0."
    return ""


def _pairs(material: Material) -> Iterator[Html]:
    """Yield slope plots and per-class differences, the first NUM_OPEN unfolded."""
    drawn = 0
    for position, comparison in enumerate(material.comparisons):
        if not comparison.blocks or drawn == MAX_PAIRS:
            continue
        pictures = [_slopes(comparison)]
        if material.classes and material.classes[position]:
            pictures.append(_per_class(material, position))
        group = f" ({group_name(comparison)})" if group_name(comparison) else ""
        title = join([tag("strong", f"{comparison.a} against {comparison.b}"), f"{group}, repeat by repeat"])
        yield folded_away(title, styled("div", "side-by-side", *pictures), is_open=drawn < NUM_OPEN)
        drawn += 1
    left = sum(bool(comparison.blocks) for comparison in material.comparisons) - drawn
    if left:
        yield note(f"{counted(left, 'further comparison')} in the tables only.")
    if not material.classes:
        yield note(f"No differences per class: {material.why_no_classes}.")


def _slopes(comparison: Comparison) -> Html:
    wins = sum(a > b for a, b in zip(comparison.scores_a, comparison.scores_b, strict=True))
    return picture(
        slope_plot(comparison),
        slopes_figure(comparison),
        alt=f"Paired scores: {comparison.a} is higher in {wins} of {counted(len(comparison.blocks), 'repeat')}.",
        caption="One line per repeat: both configurations used the same split and the same seeds of weights and order.",
    )


def _per_class(material: Material, position: int) -> Html:
    comparison, classes = material.comparisons[position], material.classes[position]
    shown, num_left_out = chosen(classes)
    title = heading(len(classes), num_left_out)
    return picture(
        per_class_plot(classes, a=comparison.a, b=comparison.b, overall=comparison.estimate),
        per_class_figure(classes, overall=comparison.estimate),
        alt=f"Difference class by class, from {100 * shown[0].estimate:+.1f} percentage points for {shown[0].name} to "
        f"{100 * shown[-1].estimate:+.1f} for {shown[-1].name}.",
        caption=f"{title[0].upper()}{title[1:]}. Thick bar: 95 % interval of this class alone; thin: of all together."
        if comparison.alpha == 0.05
        else f"{title[0].upper()}{title[1:]}.",
    )


def make_numbers(material: Material) -> Html | None:
    """Return a table with one row per comparison, then the details of each; None without a comparison."""
    comparisons = material.comparisons
    if not comparisons:
        return None
    details = [_details(comparison, is_open=len(comparisons) == 1) for comparison in comparisons]
    return section("numbers", "All numbers", _overview(comparisons), *details)


def _overview(comparisons: tuple[Comparison, ...]) -> Html:
    grouped = any(group_name(comparison) for comparison in comparisons)
    headings = [
        "comparison",
        *(["family"] if grouped else []),
        "verdict",
        "difference, pp",
        "interval",
        "interval of all",
        "p",
        "adjusted p",
        "TOST p",
        "d_z",
        "g_z",
        "P(A > B)",
        "P(below, in, above rope)",
        "n",
        "diverged",
        "detectable",
    ]
    rows = [
        (
            f"{c.a} minus {c.b}",
            *([group_name(c)] if grouped else []),
            badge(c.verdict, provisional=c.provisional),
            "-" if c.estimate is None else points(c.estimate, 2),
            interval_text(c.interval, marks_of(c)) or "-",
            interval_text(c.simultaneous_interval) or "-",
            number(c.p, c.alpha),
            f"{number(c.adjusted_p, c.alpha)} ({c.adjust_method}, {c.family_size})" if c.family_size > 1 else "-",
            number(c.adjusted_tost_p, c.alpha),
            "-" if c.d_z is None else f"{c.d_z:.2f}",
            "-" if c.g_z is None else f"{c.g_z:.2f}",
            _share(c),
            "-" if c.rope_probabilities is None else ", ".join(f"{value:.2f}" for value in c.rope_probabilities),
            str(c.num_blocks),
            f"{c.failures_a}, {c.failures_b}",
            "-" if c.smallest_detectable is None else f"{points(c.smallest_detectable, 2)} pp",
        )
        for c in comparisons
    ]
    caption = "Differences in percentage points; adjusted p with its method and the size of the family"
    return table(headings, rows, caption=caption, words=(0, 1, 2) if grouped else (0, 1))


def _share(c: Comparison) -> str:
    if c.p_a_gt_b is None:
        return "-"
    interval = c.p_a_gt_b_interval
    return f"{c.p_a_gt_b:.2f}" + (f" ({interval.low:.2f} to {interval.high:.2f})" if interval else "")


def _details(c: Comparison, *, is_open: bool) -> Html:
    words = [("about", c.estimand), ("test", c.test or ""), ("why this test", c.why or ""), ("limits", c.limits or "")]
    words += [("reason", c.reason or "")]
    facts = definitions((name, value) for name, value in (*words, *numbers_of(c)) if value)
    scores = [
        (block, f"{100 * a:.2f} %", f"{100 * b:.2f} %", f"{100 * (a - b):+.2f}")
        for block, a, b in zip(c.blocks, c.scores_a, c.scores_b, strict=True)
    ]
    group = f" ({group_name(c)})" if group_name(c) else ""
    # Accessibility: the caption names a region, so no two tables may have the same.
    caption = f"Scores repeat by repeat: {c.a} against {c.b}{group}"
    blocks = table(("repeat", c.a, c.b, "difference, pp"), scores, caption=caption) if scores else ""
    title = join([tag("strong", f"{c.a} against {c.b}"), group])
    return folded_away(title, tag("p", c.sentence), facts, blocks, is_open=is_open)
