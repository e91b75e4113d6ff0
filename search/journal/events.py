"""One line of the journal, as it is read: its bounds, its fields, and the version of the program that wrote it."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from search.errors import InputError
from search.text.explain import explain
from search.text.names import Key, RelativePath

VERSION = 2
"""Of the journal; each start of a command notes it. A journal without one is of version 1, without `draw` events."""
MAX_LINE_BYTES = 1 << 24
"""Of one line: the longest ones, of comparisons, have some hundred kilobytes."""
MAX_NUMBER = 1_000_000
"""Of a trial: Optuna's study is brought to this length."""
CUT = b"\x18"
"""Ends a line that a crash cut off."""
_BOM = b"\xef\xbb\xbf"
_MEND = "the journal was damaged, restore it from a copy"

Text = Annotated[str, Field(max_length=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Secs = Annotated[float, Field(ge=0, le=1e11)]
"""Long ones count from 1970; more than a calendar has days for is refused."""
Count = Annotated[int, Field(ge=0, le=2**62)]
Value = bool | Annotated[int, Field(ge=-(2**62), le=2**62)] | float | Text


class _Dict(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")  # type: ignore[misc]


class _Metrics(_Dict):
    epoch: Annotated[int, Field(ge=1, le=MAX_NUMBER)]
    train_loss: float
    train_accuracy: Share
    val_loss: float | None
    val_accuracy: Share | None
    learning_rate: float
    elapsed_secs: Secs
    num_images: Count


class _Outcome(_Dict):
    word: Literal["completed", "stopped", "failed"]
    epoch: NotRequired[Count | None]
    reason: NotRequired[Text]
    diverged: NotRequired[bool]


class _Data(_Dict):
    name: Text
    digest: Text
    num_train: NotRequired[Count]
    num_test: NotRequired[Count]
    root: NotRequired[Text | None]


class _Begin(_Dict):
    event: Literal["begin"]
    at: Secs
    key: Key
    number: Annotated[int, Field(ge=0, lt=MAX_NUMBER)]
    label: Text
    kind: Literal["trial", "repeat"]
    point: dict[str, Value | dict[str, Value] | list[Value] | None]
    blocks: list[Text]


class _Draw(_Dict):
    event: Literal["draw"]
    at: Secs
    number: Annotated[int, Field(ge=0, lt=MAX_NUMBER)]
    point: NotRequired[dict[str, Value | None]]
    rejected: NotRequired[Text]
    twin: NotRequired[Key]
    attrs: NotRequired[dict[str, Value | None]]


class _Resume(_Dict):
    event: Literal["resume"]
    at: Secs
    key: Key


class _Epoch(_Dict):
    event: Literal["epoch"]
    at: Secs
    key: Key
    node: Text
    metrics: _Metrics
    machine: NotRequired[dict[str, Value | None]]


class _End(_Dict):
    event: Literal["end"]
    at: Secs
    key: Key
    outcome: _Outcome
    test_accuracy: NotRequired[Share | None]
    artifacts: NotRequired[dict[str, RelativePath]]


class _Session(_Dict):
    event: Literal["session"]
    at: Secs
    verb: Text
    version: NotRequired[Count]
    data: NotRequired[_Data | None]
    classes: NotRequired[list[Text]]


class _Comparison(_Dict):
    event: Literal["comparison"]
    at: Secs
    key: Key
    repeats: NotRequired[list[Key]]
    metrics: NotRequired[dict[str, float]]
    artifacts: NotRequired[list[RelativePath]]
    tags: NotRequired[dict[str, Value]]


class _Report(_Dict):
    event: Literal["report"]
    at: Secs
    digest: Text
    artifacts: NotRequired[list[RelativePath]]


class _Other(_Dict):
    """Tells when something happened."""

    at: Secs


_KNOWN: TypeAdapter[Any] = TypeAdapter(
    Annotated[_Begin | _Draw | _Resume | _Epoch | _End | _Session | _Comparison | _Report, Field(discriminator="event")]
)
_KINDS = {"begin", "draw", "resume", "epoch", "end", "session", "comparison", "report"}
_OTHER: TypeAdapter[Any] = TypeAdapter(_Other)


def lines_of(path: Path) -> Iterator[bytes]:
    """Read a journal line by line; of a longer one than there can be, no more than shows that."""
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            yield line


def plain_line(line: bytes) -> bytes:
    """A line without what an editor adds to it: a byte order mark, and a carriage return before its end."""
    return line.removeprefix(_BOM).rstrip(b"\r\n")


def parse_line(line: bytes, where: str) -> dict[str, Any] | None:
    """Read a line of a journal.

    Args:
        line: With or without its end.
        where: File and line, for faults.

    Returns:
        The event; None for an empty line and for one that a crash cut off.

    Raises:
        InputError: It is no event of this version: one line says where, and what is wrong.
    """
    if len(line) > MAX_LINE_BYTES:
        raise InputError(f"{where}: expected at most {MAX_LINE_BYTES >> 20} MiB in a line, found more; {_MEND}")
    plain = plain_line(line)
    if not plain.strip() or plain.endswith(CUT):
        return None
    event: dict[str, Any] | None = None
    with contextlib.suppress(ValidationError):
        event = _KNOWN.validate_json(plain)
    if event is None or plain.count(b'":') != _num_keys(event) or b"\\u0000" in plain:
        event = _read_slowly(plain, where)
    if event.get("version", 1) > VERSION and event["event"] == "session":
        raise InputError(
            f"{where}: the journal is of version {event['version']}, and this program reads up to {VERSION}; install "
            "the newer version that wrote it"
        )
    return event


def _num_keys(event: dict[str, Any]) -> int:
    """Keys of a mapping and of those in it; not of those in lists, as no known event has any."""
    num_keys = len(event)
    for value in event.values():
        if type(value) is dict:
            num_keys += _num_keys(value)
    return num_keys


def _read_slowly(plain: bytes, where: str) -> dict[str, Any]:
    """Read a line that is no event of a known kind, or may hold a key twice, and name what is wrong with it."""
    try:
        event = read_json(plain)
    except RecursionError:
        raise InputError(f"{where}: not a JSON line, it nests too deeply; {_MEND}") from None
    except ValueError as error:
        why = f" ({error})" if type(error) is ValueError else ""
        raise InputError(f"{where}: not a JSON line{why}; {_MEND}") from None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise InputError(f'{where}: expected {{"event": ...}}, found {_short(plain)}; {_MEND}')
    model = _KNOWN if event["event"] in _KINDS else _OTHER
    try:
        read: dict[str, Any] = model.validate_python(event)
    except ValidationError as error:
        fault = next(explain(error, event, dict, ())).removesuffix("; add it")
        raise InputError(f"{where}: {_short(event['event'].encode())}: {fault}; {_MEND}") from None
    return read


def is_cut(line: bytes) -> bool:
    """Whether the last line of a journal, which has no end, was cut off by a crash: it is no JSON."""
    try:
        read_json(plain_line(line))
    except (ValueError, RecursionError):
        return len(line) <= MAX_LINE_BYTES
    return False


def read_json(line: bytes) -> Any:  # noqa: ANN401
    """Read JSON as it is defined: no NaN, no number above a float's range, no key twice, no half characters.

    Raises:
        ValueError: It is something else.
        RecursionError: It nests too deeply.
    """
    text = line.decode("utf-8")
    if "\\ud" in text or "\\uD" in text:
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")  # half of a surrogate pair
    if "\\u0000" in text:
        msg = "it holds a NUL character"
        raise ValueError(msg)
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_each_once)


def _refuse(name: str) -> float:
    msg = f"{name} is no number of JSON's"
    raise ValueError(msg)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _refuse(text[:20])
    return number


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        names = [name for name, _ in pairs]
        msg = f"key {next(name for name in names if names.count(name) > 1)[:40]!r} twice"
        raise ValueError(msg)
    return read


def _short(line: bytes) -> str:
    return ascii(line[:40].decode(errors="replace"))[1:-1] + ("..." if len(line) > 40 else "")
