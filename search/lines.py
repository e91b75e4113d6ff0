"""Lines for people at a terminal: escaped, without passwords, on standard error."""

from __future__ import annotations

import sys
import unicodedata

from search.uris import redacted

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}
"""Unicode's categories of characters that steer a terminal instead of showing: escapes, line breaks, directions."""


def shown(text: str) -> str:
    r"""One line of text as a terminal may show it: names that come from files may hold terminal commands.

    >>> shown("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(_escaped(one) if _steers(one) else one for one in text)


def _steers(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE and character != "\t"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def say(line: str) -> None:
    """Tell the person at the terminal; standard output belongs to results."""
    print(shown(redacted(line)), file=sys.stderr, flush=True)  # noqa: T201


_warned: set[str] = set()
"""What this process has warned of: one command may check a study twice."""


def warn(line: str) -> None:
    """Print a warning, each once per process."""
    if line not in _warned:
        _warned.add(line)
        say(f"warning: {line}")
