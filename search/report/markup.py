"""HTML from small pieces: whatever is not markup already is escaped, so that no name can break a page."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def text(value: str) -> Html:
    """Escape a text; markup stays as it is."""
    return value if isinstance(value, Html) else Html(html.escape(value))


def join(parts: Iterable[str]) -> Html:
    """Put pieces one after another."""
    return Html("".join(text(part) for part in parts))


def tag(name: str, *children: str, attributes: Mapping[str, str] | None = None) -> Html:
    """An element.

    Args:
        name: Such as `p`.
        *children: Texts, which are escaped, and markup.
        attributes: Such as `class`; values are escaped.

    Returns:
        Its markup.
    """
    inside = "".join(f' {key}="{html.escape(value)}"' for key, value in (attributes or {}).items())
    if name in {"img", "meta"}:
        return Html(f"<{name}{inside}>")
    return Html(f"<{name}{inside}>{join(children)}</{name}>")


def styled(name: str, classes: str, *children: str) -> Html:
    """An element with classes."""
    return tag(name, *children, attributes={"class": classes})


def section(anchor: str, title: str, *children: str) -> Html:
    """A part of the page that the table of contents leads to."""
    heading = tag("h2", title, attributes={"id": f"{anchor}-title"})
    return tag("section", heading, *children, attributes={"id": anchor, "aria-labelledby": f"{anchor}-title"})


def definitions(rows: Iterable[tuple[str, str]]) -> Html:
    """Names and what they stand for, side by side."""
    return styled("dl", "facts", *(styled("div", "fact", tag("dt", name), tag("dd", value)) for name, value in rows))


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, words: Collection[int] = (0,)
) -> Html:
    """A table that scrolls sideways where it must.

    Args:
        headings: Of the columns.
        rows: Cells; the first of each row is its heading.
        caption: Said above it.
        words: Positions of the columns that are read from the left; the others hold numbers.

    Returns:
        Its markup.
    """

    def cell(name: str, position: int, value: str, scope: str = "") -> Html:
        attributes = {"class": "word" if position in words else "number", **({"scope": scope} if scope else {})}
        return tag(name, value, attributes=attributes)

    head = tag("tr", *(cell("th", position, heading, "col") for position, heading in enumerate(headings)))
    body = [
        tag(
            "tr",
            *(
                cell("th", position, value, "row") if position == 0 else cell("td", position, value)
                for position, value in enumerate(row)
            ),
        )
        for row in rows
    ]
    whole = tag("table", tag("thead", head), tag("tbody", *body), attributes={"aria-label": caption})
    # A region that scrolls must be reachable without a mouse, and named.
    region = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": f"table: {caption}"}
    return join([styled("p", "caption", caption), tag("div", whole, attributes=region)])
