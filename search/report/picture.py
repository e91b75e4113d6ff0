"""Figures of the page: a static version for print and browsers without scripts, and an interactive version."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

from search.report.markup import Html, styled, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as LiveFigure

DPI = 110


def picture(still: Figure, live: LiveFigure, *, alt: str, caption: str, min_width: int = 0) -> Html:
    """Return a `figure` element with a static and an interactive version and a caption.

    Args:
        still: The static version for print, dark on white.
        live: The interactive version for the screen; its text takes the page's colours.
        alt: Alternative text for screen readers.
        caption: How to read the figure, in one or two sentences.
        min_width: Width in pixels below which the interactive version scrolls instead of shrinking.

    Returns:
        The markup. It contains the interactive version's data as JSON, which a script of the page draws.
    """
    image = tag("img", attributes={"class": "still", "src": to_source(still), "alt": alt})
    # A name that contains "</script>" would end the script element.
    numbers = Html(json.dumps(json.loads(live.to_json()), separators=(",", ":")).replace("<", "\\u003c"))
    data = tag("script", numbers, attributes={"type": "application/json"})
    size = f"min-height:{live.layout.height:.0f}px;min-width:{min_width}px"
    plot = tag("div", data, attributes={"class": "live", "role": "img", "aria-label": alt, "style": size})
    # Accessibility: what scrolls needs keyboard focus.
    frame = tag("div", plot, attributes={"class": "frame", **({"tabindex": "0"} if min_width else {})})
    return tag("figure", image, frame, tag("figcaption", caption))


def still_picture(still: Figure, *, alt: str, caption: str) -> Html:
    """Return a `figure` element with a static version only, at most as wide as its place, and a caption."""
    image = tag("img", attributes={"class": "still", "style": "max-width:100%", "src": to_source(still), "alt": alt})
    return tag("figure", image, tag("figcaption", caption))


def to_source(still: Figure) -> str:
    """Return a figure as a data URL."""
    stream = io.BytesIO()
    still.savefig(stream, format="png", dpi=DPI, facecolor="white")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def folded_away(title: str, *children: str, is_open: bool = False) -> Html:
    """Return a collapsible `details` element, which is always expanded in print."""
    attributes = {"open": ""} if is_open else {}
    return tag("details", tag("summary", title), *children, attributes=attributes)


def note(*children: str) -> Html:
    """Return a paragraph styled as a note."""
    return styled("p", "note", *children)
