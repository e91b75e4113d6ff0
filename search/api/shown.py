"""What a method returns: the lines that the command prints, the document of its `--json`, and HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.significance.records import Comparison


@dataclass(frozen=True, kw_only=True, repr=False)
class Shown:
    """The result of a command. Its `repr` is what the command prints; notebooks show a table and a forest plot."""

    data: Any
    """The document that the command writes with `--json`: mappings, lists, numbers and text."""
    lines: tuple[str, ...]
    """The lines that the command prints."""
    comparisons: tuple[Comparison, ...] = ()
    """The verdicts, if the result has any."""

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        from search.report.markup import tag

        words = tag("pre", "\n".join(self.lines), attributes={"style": "white-space:pre-wrap"})
        if not self.comparisons:
            return str(words)
        rest = tag("details", tag("summary", "As text"), words)
        return f"{_verdicts(self.comparisons)}{_forest(self.comparisons)}{rest}"


def _verdicts(comparisons: Sequence[Comparison]) -> str:
    """Return the verdicts as sentences, and the table of pairs."""
    from search.console.tables import pair_rows
    from search.report.markup import tag

    headings, *rows = pair_rows(comparisons)
    head = tag("tr", *(tag("th", heading) for heading in headings))
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    sentences = tag("ul", *(tag("li", item.sentence) for item in comparisons))
    return f"{sentences}{tag('table', tag('thead', head), tag('tbody', *body))}"


def _forest(comparisons: Sequence[Comparison]) -> str:
    """Return the forest plot of the report, without its interactive version."""
    from search.report.picture import still_picture
    from search.report.verdict import verdict_counts
    from search.significance.figures import forest_plot

    return str(
        still_picture(
            forest_plot(comparisons),
            alt=f"Forest plot: {verdict_counts(comparisons)}. All numbers are in the table.",
            caption="Each mark is a difference. The thick bar is its own interval, the thin bar the interval that "
            "holds for the whole family at once. Inside the band the two are practically equivalent.",
        )
    )
