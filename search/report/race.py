"""Report section: the race of `compare --until-decided`, in which repeats are added one by one until pairs are decided.

The verdicts rest on fresh repeats that are trained after the race.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.report.markup import Html, section, table, tag
from search.report.material import Material
from search.significance.figures.numbers import number


def make(material: Material) -> Html | None:
    """Return the section; None if the comparison was not a race."""
    race = material.document.race if material.document else None
    if race is None:
        return None
    rows = [
        (f"{pair.a} against {pair.b}", pair.outcome, str(pair.num_blocks), _last(pair.e_values), number(pair.needed))
        for pair in race.pairs
    ]
    headings = ("pair", "outcome", "repeats", "E", "E needed")
    whole = table(headings, rows, caption="Outcome of every pair", words=(0, 1))
    said = [tag("li", f"{sentence.rstrip('.:')}.") for sentence in race.sentences]
    words = tag("p", f"The race used {race.scores}; the verdict above uses only the fresh repeats.")
    return section("race", "The race", tag("ul", *said), whole, words)


def _last(e_values: Sequence[float | None]) -> str:
    """Return the last e-value as text; JSON stores an infinite one as null."""
    if not e_values:
        return "-"
    return "infinite" if e_values[-1] is None else number(e_values[-1])
