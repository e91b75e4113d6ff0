"""Parse and validate one line of the journal: field types, bounds and format version."""

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

VERSION = 3
"""Version of the journal format, written at each start of a command. Version 1 has no version and no `draw` events,
version 2 no `infeasible` outcomes."""
MAX_LINE_BYTES = 1 << 24
"""Maximum length of a line. The longest lines, those of comparisons, have some hundred kilobytes."""
MAX_NUMBER = 1_000_000
"""Exclusive maximum of a trial number: Optuna's study is filled up to the highest number."""
CUT = b"\x18"
"""Last byte of a line that a crash cut off."""
_BOM = b"\xef\xbb\xbf"
_MEND = "the journal was damaged, restore it from a copy"

Text = Annotated[str, Field(max_length=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Secs = Annotated[float, Field(ge=0, le=1e11)]
"""Seconds, of a duration or since 1970. The bound keeps times inside the calendar's range."""
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Value = bool | Annotated[int, Field(ge=-(2**62), le=2**62)] | float | Text
Attribute = Value | list[Value] | dict[str, Value | list[Value]] | None
"""Data that a sampler stores with a trial or with the study."""


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
    val_balanced_accuracy: NotRequired[Share | None]
    val_macro_f1: NotRequired[Share | None]
    val_auroc: NotRequired[Share | None]
    peak_memory_gib: NotRequired[NotNegative | None]
    latency_ms: NotRequired[NotNegative | None]


class _Outcome(_Dict):
    word: Literal["completed", "stopped", "failed", "infeasible"]
    epoch: NotRequired[Count | None]
    reason: NotRequired[Text]
    diverged: NotRequired[bool]
    measure: NotRequired[Text]
    value: NotRequired[float]
    limit: NotRequired[float]
    by_hand: NotRequired[bool]


class _Data(_Dict):
    name: Text
    digest: Text
    num_train: NotRequired[Count]
    num_test: NotRequired[Count]
    height: NotRequired[Count]
    width: NotRequired[Count]
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
    counts: NotRequired[dict[str, Count]]
    keep: NotRequired[Literal["last", "best"]]


class _Draw(_Dict):
    event: Literal["draw"]
    at: Secs
    number: Annotated[int, Field(ge=0, lt=MAX_NUMBER)]
    point: NotRequired[dict[str, Value | None]]
    rejected: NotRequired[Text]
    twin: NotRequired[Key]
    attrs: NotRequired[dict[str, Attribute]]
    study_attrs: NotRequired[dict[str, Attribute]]


class _Resume(_Dict):
    event: Literal["resume"]
    at: Secs
    key: Key


class _Pause(_Dict):
    event: Literal["pause"]
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
    objectives: NotRequired[dict[str, Literal["max", "min"]]]
    limits: NotRequired[dict[str, NotNegative]]
    num_startup: NotRequired[Count]


class _Comparison(_Dict):
    event: Literal["comparison"]
    at: Secs
    key: Key
    repeats: NotRequired[list[Key]]
    description: NotRequired[Text]
    metrics: NotRequired[dict[str, float]]
    artifacts: NotRequired[list[RelativePath]]
    tags: NotRequired[dict[str, Value]]


class _Report(_Dict):
    event: Literal["report"]
    at: Secs
    digest: Text
    artifacts: NotRequired[list[RelativePath]]


class _Command(_Dict):
    event: Literal["command"]
    at: Secs
    id: Key
    verb: Text
    done: bool
    answer: Text
    by: NotRequired[Text]
    trial: NotRequired[Annotated[int, Field(ge=0, lt=MAX_NUMBER)]]
    trials: NotRequired[Annotated[int, Field(ge=1, lt=MAX_NUMBER)]]
    total: NotRequired[Annotated[int, Field(ge=1, lt=MAX_NUMBER)]]
    point: NotRequired[Text | dict[str, Value]]


class _SweepEnd(_Dict):
    event: Literal["sweep_end"]
    at: Secs
    field: Text
    limit: NotNegative
    words: Text


class _EarlierStudy(_Dict):
    study: Text
    journal: Text
    num_trials: Count
    num_used: Count
    left_out: dict[str, Count]
    other: NotRequired[Text]


class _EarlierTrial(_Dict):
    study: Text
    number: Annotated[int, Field(ge=0, lt=MAX_NUMBER)]
    point: dict[str, Value]
    outcome: _Outcome
    values: list[float]
    curve: dict[str, Share]


class _EarlierPoint(_Dict):
    study: Text
    number: Annotated[int, Field(ge=0, lt=MAX_NUMBER)]
    point: dict[str, Value]


class _Enqueued(_Dict):
    top: Text
    points: list[_EarlierPoint]
    left_out: dict[str, Count]


class _Earlier(_Dict):
    event: Literal["earlier"]
    at: Secs
    asked: Text
    studies: list[_EarlierStudy]
    trials: list[_EarlierTrial]
    enqueued: list[_Enqueued]


class _Other(_Dict):
    """Any event of an unknown kind; only its time is validated."""

    at: Secs


_KNOWN: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        _Begin
        | _Draw
        | _Resume
        | _Pause
        | _Epoch
        | _End
        | _Session
        | _Comparison
        | _Report
        | _Command
        | _Earlier
        | _SweepEnd,
        Field(discriminator="event"),
    ]
)
_KINDS = {
    "begin",
    "draw",
    "resume",
    "pause",
    "epoch",
    "end",
    "session",
    "comparison",
    "report",
    "command",
    "earlier",
    "sweep_end",
}
_OTHER: TypeAdapter[Any] = TypeAdapter(_Other)


def lines_of(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines of a journal from a byte on. A line longer than `MAX_LINE_BYTES` is cut one byte after it."""
    with path.open("rb") as stream:
        stream.seek(offset)
        while line := stream.readline(MAX_LINE_BYTES + 1):
            yield line


def plain_line(line: bytes) -> bytes:
    """Return a line without its end and without what an editor may add: a byte order mark and a carriage return."""
    return line.removeprefix(_BOM).rstrip(b"\r\n")


def parse_line(line: bytes, where: str) -> dict[str, Any] | None:
    """Parse and validate one line of a journal.

    Args:
        line: The line, with or without its line end.
        where: File and line number, for error messages.

    Returns:
        The event; None for an empty line and for a line that a crash cut off.

    Raises:
        InputError: The line is no valid event of this version. The message is one line with the place and the reason.
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
            f"{where}: the journal has version {event['version']}, but this program reads versions up to {VERSION}; "
            "install the newer version that wrote it"
        )
    return event


def _num_keys(event: dict[str, Any]) -> int:
    """Count the keys of a mapping and of nested mappings, except those in lists, which only `earlier` events have."""
    num_keys = len(event)
    for value in event.values():
        if type(value) is dict:
            num_keys += _num_keys(value)
    return num_keys


def _read_slowly(plain: bytes, where: str) -> dict[str, Any]:
    """Parse a line that is no known event or may repeat a key; raise InputError with the reason if it is invalid."""
    try:
        event = read_json(plain)
    except RecursionError:
        raise InputError(f"{where}: not a JSON line, it is nested too deeply; {_MEND}") from None
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
    """Return whether a last line without a line end was cut off by a crash: it is then not valid JSON."""
    try:
        read_json(plain_line(line))
    except (ValueError, RecursionError):
        return len(line) <= MAX_LINE_BYTES
    return False


def read_json(line: bytes) -> Any:  # noqa: ANN401
    """Parse strict JSON: no NaN or infinity, no number beyond a float's range, no repeated key, no lone surrogate.

    >>> read_json(b'{"at": 1.5}')
    {'at': 1.5}

    Raises:
        ValueError: The line is not strict JSON.
        RecursionError: It is nested too deeply.
    """
    text = line.decode("utf-8")
    if "\\ud" in text or "\\uD" in text:
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")  # raises for a lone surrogate
    if "\\u0000" in text:
        msg = "it contains a NUL character"
        raise ValueError(msg)
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_each_once)


def _refuse(name: str) -> float:
    msg = f"{name} is not a JSON number"
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
        msg = f"key {next(name for name in names if names.count(name) > 1)[:40]!r} occurs twice"
        raise ValueError(msg)
    return read


def _short(line: bytes) -> str:
    return ascii(line[:40].decode(errors="replace"))[1:-1] + ("..." if len(line) > 40 else "")
