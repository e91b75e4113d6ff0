"""Options shared by the commands, and printing that keeps results apart from logs."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TextIO

import typer

from search.console.wrapping import terminal_width, wrapped
from search.text.printable import printable

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field: --set train.epochs=3")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join: auto, or host:port of its head.")]

_result: list[TextIO] = []
"""The stream that receives results while all other output is redirected to standard error."""


class _Lasting(io.TextIOWrapper):
    """A standard stream that outlives its reader: `sweep FILE 2>&1 | head -1` trains on, and prints to nowhere.

    It takes any text, whatever the encoding of the terminal.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._number = stream.fileno()
        encoding, line_buffering = stream.encoding, stream.line_buffering
        write_through = stream.write_through
        super().__init__(
            stream.detach(),
            encoding=encoding,
            errors="backslashreplace",
            line_buffering=line_buffering,
            write_through=write_through,
        )

    def write(self, text: str) -> int:
        """Write, or drop what no one reads."""
        with self._without_reader():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what no one reads."""
        with self._without_reader():
            super().flush()

    @contextlib.contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # The rest of the buffer is discarded as well. Click would exit with 1 here.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._number)
            os.close(nowhere)


def prepare_streams() -> None:
    """Let any text be printed, and a command go on whose output no one reads any more."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Leave streams alone that a test or a notebook has replaced.
        if stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper:
            setattr(sys, name, _Lasting(stream))


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
    """Print a result, as one JSON document or as lines, wrapped on a terminal."""
    if as_json:
        out(json.dumps(_no_nan(document()), indent=1, allow_nan=False))
        return
    width = terminal_width()
    for line in lines():
        for part in wrapped(printable(line), width):
            out(part)


def _no_nan(value: Any) -> Any:  # noqa: ANN401
    """JSON has no word for what is not a number but null."""
    if isinstance(value, Mapping):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
