"""Report section: the winner's curse, shown by the nominee's scores at selection, corrected, and on fresh repeats."""

from __future__ import annotations

from search.console.scores import score_rows
from search.report.markup import Html, section, table, tag
from search.report.material import Material


def make(material: Material) -> Html | None:
    """Return the section with the nominee's three scores; None without a nominee."""
    selection = material.selection
    if selection is None:
        return None
    who = tag("strong", selection.name)
    words = tag(
        "p", who, f": {selection.state}. A configuration that is selected for its score looks better than it is."
    )
    rows = score_rows(selection)
    scores = table(("score", "accuracy", "what it is"), rows, caption="The nominee's three scores", words=(0, 2))
    return section("scores", "Selection bias", words, scores)
