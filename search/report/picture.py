"""A picture on the page: a still one for print and for readers without scripts, a live one for all others."""

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
    """Both versions of a picture with a caption.

    Args:
        still: For paper: dark on white.
        live: For the screen; its text takes the page's colours.
        alt: What it shows, for whoever does not see it.
        caption: How it is read, in a sentence or two.
        min_width: Pixels below which the live version scrolls instead of shrinking.

    Returns:
        A `figure` element. The live version's numbers lie in it as JSON, which a script of the page draws.
    """
    image = tag("img", attributes={"class": "still", "src": to_source(still), "alt": alt})
    # An end tag inside a name would end the script.
    numbers = Html(json.dumps(json.loads(live.to_json()), separators=(",", ":")).replace("<", "\\u003c"))
    data = tag("script", numbers, attributes={"type": "application/json"})
    size = f"min-height:{live.layout.height:.0f}px;min-width:{min_width}px"
    plot = tag("div", data, attributes={"class": "live", "role": "img", "aria-label": alt, "style": size})
    return tag("figure", image, styled("div", "frame", plot), tag("figcaption", caption))


def to_source(still: Figure) -> str:
    """A picture as the address of itself."""
    stream = io.BytesIO()
    still.savefig(stream, format="png", dpi=DPI, facecolor="white")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def folded_away(title: str, *children: str, is_open: bool = False) -> Html:
    """Something that is shown on request, and in print."""
    attributes = {"open": ""} if is_open else {}
    return tag("details", tag("summary", title), *children, attributes=attributes)


def note(*children: str) -> Html:
    """A remark beside the numbers."""
    return styled("p", "note", *children)
