"""Escape names with arbitrary characters for LaTeX and Markdown."""

from __future__ import annotations

import re

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": "$<$",
    ">": "$>$",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u2212": "$-$",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break, [ would start an optional argument
    "]": "{]}",
    "*": "{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"[\\`*_\[\]~$]|<(?=[A-Za-z/!?])|&(?=#|[A-Za-z])")
_LIST_OR_HEADING = re.compile(r"^(\d*)(?=[.)]\s|[#>]|[+-]\s|[=-]+$)")


def latex(text: str) -> str:
    r"""Escape text for LaTeX outside of formulas; the LaTeX file must be UTF-8.

    >>> latex("lr_adaptive 50%")
    'lr\\_adaptive 50\\%'
    """
    escaped = "".join(_LATEX.get(character, character) for character in _one_line(text))
    escaped = re.sub(r"-(?=-)", "-{}", escaped)  # keep LaTeX from joining hyphens to a dash
    return re.sub(r"(?<![\w.}])-(?=[\d.])", "$-$", escaped)


def markdown(text: str) -> str:
    """Escape text for Markdown so that it is displayed literally; bars are not escaped, which tables must do."""
    escaped = _MARKDOWN.sub(lambda found: "&lt;" if found[0] == "<" else rf"\{found[0]}", _one_line(text))
    return _LIST_OR_HEADING.sub(r"\1\\", escaped)


def _one_line(text: str) -> str:
    """Replace line breaks and other unprintable characters by spaces."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split(" ")).strip()
