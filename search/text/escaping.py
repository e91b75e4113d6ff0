"""Text of any origin made safe for LaTeX and Markdown: names of configurations may hold every character there is."""

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
    "[": "{[}",  # after a line's end it would begin an argument
    "]": "{]}",
    "*": "{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"[\\`*_\[\]~$]|<(?=[A-Za-z/!?])|&(?=#|[A-Za-z])")
_LIST_OR_HEADING = re.compile(r"^(\d*)(?=[.)]\s|[#>]|[+-]\s|[=-]+$)")


def latex(text: str) -> str:
    """Escape text for LaTeX, outside of formulas; the file is UTF-8."""
    escaped = "".join(_LATEX.get(character, character) for character in _one_line(text))
    escaped = re.sub(r"-(?=-)", "-{}", escaped)  # no dashes made of hyphens
    return re.sub(r"(?<![\w.}])-(?=[\d.])", "$-$", escaped)


def markdown(text: str) -> str:
    """Escape text for Markdown, so that it reads as it is; a bar is left to whoever makes a table of it."""
    escaped = _MARKDOWN.sub(lambda found: "&lt;" if found[0] == "<" else rf"\{found[0]}", _one_line(text))
    return _LIST_OR_HEADING.sub(r"\1\\", escaped)


def _one_line(text: str) -> str:
    """Line ends and whatever else cannot be printed as one space."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split(" ")).strip()
