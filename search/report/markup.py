"""HTML elements from text and markup. Text is escaped, so that no name can break the page."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence


class Html(str):
    """A string that is HTML already and is not escaped again."""

    __slots__ = ()


def text(value: str) -> Html:
    """Escape a text; return `Html` unchanged.

    >>> text("a < b")
    'a &lt; b'
    """
    return value if isinstance(value, Html) else Html(html.escape(value))


def join(parts: Iterable[str]) -> Html:
    """Escape and concatenate texts and markup."""
    return Html("".join(text(part) for part in parts))


def tag(name: str, *children: str, attributes: Mapping[str, str] | None = None) -> Html:
    """Return an HTML element.

    Args:
        name: Tag name, such as `p`.
        *children: Content; texts are escaped, markup is not.
        attributes: Attributes such as `class`; values are escaped.

    Returns:
        The markup.

    Example:
        >>> tag("p", "a < b", attributes={"class": "note"})
        '<p class="note">a &lt; b</p>'
    """
    inside = "".join(f' {key}="{html.escape(value)}"' for key, value in (attributes or {}).items())
    if name in {"img", "meta"}:
        return Html(f"<{name}{inside}>")
    return Html(f"<{name}{inside}>{join(children)}</{name}>")


def styled(name: str, classes: str, *children: str) -> Html:
    """Return an HTML element with CSS classes, separated by spaces."""
    return tag(name, *children, attributes={"class": classes})


def section(anchor: str, title: str, *children: str) -> Html:
    """Return a section of the page with an anchor for the table of contents."""
    heading = tag("h2", title, attributes={"id": f"{anchor}-title"})
    return tag("section", heading, *children, attributes={"id": anchor, "aria-labelledby": f"{anchor}-title"})


def definitions(rows: Iterable[tuple[str, str]]) -> Html:
    """Return a definition list (`dl`) of terms and their descriptions."""
    return styled("dl", "facts", *(styled("div", "fact", tag("dt", name), tag("dd", value)) for name, value in rows))


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, words: Collection[int] = (0,)
) -> Html:
    """Return a table that scrolls horizontally if it is wider than the page.

    Args:
        headings: Column headings.
        rows: Cells of each row; the first is the row's heading.
        caption: Caption above the table.
        words: Positions of the left-aligned text columns; the others hold numbers.

    Returns:
        The markup.
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
    # Accessibility: a scrolling region needs keyboard focus and a name.
    region = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": f"table: {caption}"}
    return join([styled("p", "caption", caption), tag("div", whole, attributes=region)])
