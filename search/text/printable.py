"""Make names from files safe to display on a terminal."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape characters that control a terminal or cannot be encoded.

    These are control characters, ANSI escape sequences, line breaks, text direction marks, invisible characters, and
    bytes of file names that are not UTF-8.

    Args:
        text: Any text.
        keep: Characters that are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )
