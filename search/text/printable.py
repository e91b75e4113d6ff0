"""Names from files, shown on a terminal."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape every character that a terminal could act on, or that cannot be encoded.

    These are control characters, ANSI escape sequences, line breaks, marks that change the direction of writing,
    invisible characters, and bytes of a file name that are not UTF-8.

    Args:
        text: Any text.
        keep: Characters that are left as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )
