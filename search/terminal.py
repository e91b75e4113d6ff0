"""What the verbs share at the terminal: common options, and results kept apart from everything else printed."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TextIO

import typer

from search.printable import printable

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field: --set train.epochs=3")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to join from one of its nodes: auto, or its head's host:port.")
]

_result: list[TextIO] = []
"""Where results go while everything else that is printed goes to standard error."""


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """With --json, let nothing but the document reach standard output, whatever a library prints."""
    if "--json" not in sys.argv or "--help" in sys.argv:
        yield
        return
    _result.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _result.clear()


def out(text: str) -> None:
    """Print a result."""
    print(text, file=_result[0] if _result else sys.stdout)


def show(as_json: bool, document: Callable[[], Any], lines: Callable[[], list[str]]) -> None:
    """Print a result, as one JSON document or as lines."""
    if as_json:
        out(json.dumps(_no_nan(document()), indent=1, allow_nan=False))
        return
    for line in lines():
        out(printable(line, keep="\n\t"))


def _no_nan(value: Any) -> Any:  # noqa: ANN401
    """JSON has no word for what is not a number but null."""
    if isinstance(value, Mapping):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
