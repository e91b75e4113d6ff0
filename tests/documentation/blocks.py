"""The code blocks of a page of the documentation, with the comments that say how `run_examples.py` treats them.

A comment stands above its block, in a line of its own or at the end of the text:

    <!-- not run: REASON -->           the block is listed with its reason, and not run
    <!-- small: KEY=VALUE ... -->      fields of a study, made small: added to commands by --set, or put into the file
    <!-- prints: PATTERN -->           a regular expression that the output contains
    <!-- exit: CODE -->                exit code of the last command; otherwise 0
    <!-- output -->                    above a `text` block: what the block before it prints, up to numbers and `...`
    <!-- page not run: REASON -->      anywhere: no block of the page is run
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
COMMENT = re.compile(r"<!-- (?P<word>[a-z ]+?)(?:: (?P<value>.*?))? -->$")
TITLE = re.compile(r'title="([^"]+)"')
LIST = re.compile(r"^ *([*-]|\d+\.) ")
WORDS = {"not run", "small", "prints", "exit", "output", "page not run"}
LANGUAGES = {"sh", "python", "yaml", "text", "csv"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One code block."""

    line: int
    """Number of its first line in the page, from 1."""
    language: str
    """One of LANGUAGES; a block without a language, by fence or indentation, is `sh`."""
    text: str
    title: str | None = None
    """Name of the file that the block is."""
    comments: dict[str, str] = field(default_factory=dict)
    """Word of WORDS -> its value, of the comments above the block."""

    @property
    def commands(self) -> list[str]:
        """The commands of a `sh` block, without continuation lines and comments."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = [re.sub(r"\s+#.*$|^#.*$", "", line).strip() for line in joined.splitlines()]
        return [line for line in lines if line]

    @property
    def is_run(self) -> bool:
        """Whether it contains commands or Python, rather than a file, an output or an excerpt."""
        return self.title is None and (self.language in {"sh", "python"} or self.text.startswith("$ "))

    @property
    def small(self) -> dict[str, str]:
        """Fields of a study that are made small -> their values."""
        return dict(item.split("=", 1) for item in shlex.split(self.comments.get("small", "")))


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page and its blocks."""

    path: Path
    blocks: tuple[Block, ...]
    reason: str | None
    """Why no block of the page is run; None if they are."""

    def not_run(self) -> list[tuple[Block, str]]:
        """The blocks that are not run although they are commands or Python, each with its reason."""
        found = [(block, self.reason or block.comments.get("not run", "")) for block in self.blocks]
        return [(block, reason) for block, reason in found if reason and block.is_run]


def read_page(path: Path) -> Page:
    """Read the blocks of a page.

    Raises:
        ValueError: A comment or a language is not known.
    """
    blocks: list[Block] = []
    comments: dict[str, str] = {}
    reason = None
    lines = path.read_text(encoding="utf-8").splitlines()
    number, in_list = 0, False
    while number < len(lines):
        line = lines[number]
        start = number
        if comment := COMMENT.search(line):
            word, value = comment["word"], comment["value"] or ""
            if word not in WORDS:
                raise ValueError(f"{path}, line {number + 1}: unknown comment {word!r}; known: {sorted(WORDS)}")
            if word == "page not run":
                reason = value
            else:
                comments[word] = value
        elif fence := FENCE.match(line):
            number += 1
            while not re.match(r"^ *```$", lines[number]):
                number += 1
            body = [item.removeprefix(fence["indent"]) for item in lines[start + 1 : number]]
            blocks.append(_block(path, start, fence["info"], body, comments))
            comments = {}
        elif line.startswith("    ") and not in_list and not lines[number - 1].strip():
            while number + 1 < len(lines) and (lines[number + 1].startswith("    ") or not lines[number + 1].strip()):
                number += 1
            blocks.append(_block(path, start, "", [item[4:] for item in lines[start : number + 1]], comments))
            comments = {}
        elif line.strip() and not line.startswith(" "):
            in_list = bool(LIST.match(line))
        number += 1
    return Page(path=path, blocks=tuple(blocks), reason=reason)


def _block(path: Path, start: int, info: str, body: list[str], comments: dict[str, str]) -> Block:
    language = info.split()[0] if info.strip() else "sh"
    if language not in LANGUAGES:
        raise ValueError(f"{path}, line {start + 1}: unknown language {language!r}; known: {sorted(LANGUAGES)}")
    title = TITLE.search(info)
    text = "\n".join(body).strip("\n") + "\n"
    return Block(
        line=start + 1, language=language, text=text, title=title[1] if title else None, comments=dict(comments)
    )
