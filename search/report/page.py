"""The HTML document of a report: one file that needs no network, works without scripts, and prints."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

from search.report import design, evidence, goals, importance, provenance, race, scores, sweep, verdict
from search.report.markup import Html, styled, tag
from search.report.material import Material
from search.report.verdict import headline, verdict_counts
from search.text.counted import counted

POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy of the page: it fetches nothing from outside the file."""
TITLES = {
    "verdict": "Verdict",
    "scores": "Selection bias",
    "race": "The race",
    "asked": "What was asked",
    "sweep": "The sweep",
    "goals": "Accuracy and cost",
    "importance": "What mattered",
    "pictures": "Pictures",
    "numbers": "All numbers",
    "provenance": "How to reproduce this",
}
"""Anchor -> title in the table of contents."""


def make_page(material: Material) -> str:
    """Return a study's report as HTML.

    Args:
        material: The state of the study; equal input gives the same page, byte for byte.

    Returns:
        The HTML document.
    """
    made = {
        "verdict": verdict.make(material),
        "scores": scores.make(material),
        "race": race.make(material),
        "asked": design.make(material),
        "sweep": sweep.make(material),
        "goals": goals.make(material),
        "importance": importance.make(material),
        "pictures": evidence.make_pictures(material),
        "numbers": evidence.make_numbers(material),
        "provenance": provenance.make(material),
    }
    sections = {anchor: part for anchor, part in made.items() if part is not None}
    links = [tag("li", tag("a", TITLES[anchor], attributes={"href": f"#{anchor}"})) for anchor in sections]
    contents = tag(
        "nav",
        styled("p", "nav-title", "Contents"),
        tag("ol", *links),
        attributes={"aria-label": "Table of contents", "class": "contents"},
    )
    skip = tag("a", "Skip to the verdict", attributes={"class": "skip", "href": "#verdict"})
    main = tag("main", _top(material), *sections.values())
    has_pictures = any('class="live"' in part for part in sections.values())
    body = tag("body", skip, contents, main, *([_library()] if has_pictures else []), _script())
    return f'<!DOCTYPE html>\n<html lang="en">{_head(material)}{body}</html>\n'


def _head(material: Material) -> Html:
    style = Html(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))
    return tag(
        "head",
        tag("meta", attributes={"charset": "utf-8"}),
        tag("meta", attributes={"http-equiv": "Content-Security-Policy", "content": POLICY}),
        tag("meta", attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", attributes={"name": "color-scheme", "content": "light dark"}),
        tag("meta", attributes={"name": "description", "content": headline(material)}),
        tag("title", f"{material.study.name}: report"),
        tag("style", style),
    )


def _top(material: Material) -> Html:
    study = material.study
    counts = material.comparisons
    told = f"{counted(len(counts), 'declared comparison')}: {verdict_counts(counts)}" if counts else "not compared"
    eyebrow = styled("p", "eyebrow", "Report on the study ", tag("b", study.name), f" · {study.data.name} · {told}")
    if material.decision is None:
        return tag("header", eyebrow, tag("h1", headline(material)))
    decision = f"{material.decision[0].upper()}{material.decision[1:]}."
    return tag("header", eyebrow, tag("h1", decision), styled("p", "lead", headline(material)))


def _library() -> Html:
    """Return plotly.js, compressed: a third of its size, and the page opens before a browser reads it."""
    from plotly.offline import get_plotlyjs

    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return tag("script", packed, attributes={"type": "application/gzip", "id": "plotly"})


def _script() -> Html:
    """Return the code that unpacks the library and draws the figures."""
    return tag("script", Html(Path(__file__).with_name("page.js").read_text(encoding="utf-8")))
