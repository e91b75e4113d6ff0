"""Commands to the driver of a study: one file each in the study's folder, answered by an event of the journal.

Each file is written atomically by the process that sends the command, and deleted by the driver once its answer is in
the journal. If the driver is killed in between, the next one finds the answer and only deletes the file. Folders and
object stores therefore work alike, although object stores have no appending and no locks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from search.errors import InputError
from search.journal.events import MAX_NUMBER, Secs, Text, Value, lines_of, parse_line, read_json
from search.storage.working_copy import COMMANDS
from search.text.explain import explain
from search.text.names import Key

MAX_BYTES = 1 << 16
"""Maximum size of a command's file."""
MAX_WAITING = 1000
"""Number of commands that are read at a time."""

Verb = Literal["stop", "enqueue", "extend", "pause"]
Number = Annotated[int, Field(ge=0, lt=MAX_NUMBER)]


class _Plain(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")  # type: ignore[misc]
    id: Key
    verb: Verb
    at: Secs
    by: Text
    trial: NotRequired[Number | None]
    trials: NotRequired[Annotated[int, Field(ge=1, lt=MAX_NUMBER)] | None]
    point: NotRequired[str | dict[str, Value] | None]


_PLAIN: TypeAdapter[Any] = TypeAdapter(_Plain)
_NEEDS = {"stop": "trial", "enqueue": "point", "extend": "trials"}


def _user() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container may run under a user id without a name
        return socket.gethostname()


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to the driver of a study."""

    verb: Verb
    trial: int | None = None
    """`stop`: number of the trial."""
    trials: int | None = None
    """`extend`: number of trials to add."""
    point: str | Mapping[str, Any] | None = None
    """`enqueue`: name of a preset, or a point."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    at: float = field(default_factory=time.time)
    """When it was sent, in seconds since 1970."""
    by: str = field(default_factory=_user)
    """User and machine that sent it."""

    @property
    def file_name(self) -> str:
        """Name of its file; commands are carried out in the order of these names."""
        return f"{round(self.at * 1000):015d}-{self.id}.json"

    def to_bytes(self) -> bytes:
        """Return the content of its file."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(given, sort_keys=True, allow_nan=False).encode()

    @property
    def words(self) -> str:
        """The command as a person would write it, without the study.

        >>> Command(verb="extend", trials=40).words
        'extend --trials 40'
        """
        if isinstance(self.point, Mapping):
            return f"{self.verb} {','.join(f'{name}={value}' for name, value in self.point.items())}"
        options = {"--trial ": self.trial, "--trials ": self.trials, "": self.point}
        return " ".join([self.verb, *(f"{name}{value}" for name, value in options.items() if value is not None)])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The driver's answer to a command."""

    done: bool
    """Whether the command was carried out; if not, nothing changed."""
    words: str
    """What was done, or why not; one line."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the event has in addition, such as the new number of trials."""


def read_command(path: Path) -> Command:
    """Read the file of a command.

    Raises:
        InputError: The file is no command of this version.
    """
    mend = "it was deleted, send the command again"
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: expected a file of at most {MAX_BYTES >> 10} KiB, found something else; {mend}")
    try:
        plain = read_json(path.read_bytes())
        read = _PLAIN.validate_python(plain)
    except ValidationError as error:
        raise InputError(f"{path}: {next(explain(error, plain, dict, ()))}; {mend}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: expected a command as JSON, found something else; {mend}") from None
    needed = _NEEDS.get(read["verb"])
    if needed is not None and read.get(needed) is None:
        raise InputError(f"{path}: {read['verb']}: {needed} missing; {mend}")
    return command_of(read)


def command_of(plain: Mapping[str, Any]) -> Command:
    """Return the command in the content of its file, or in the `command` event that answers it."""
    names = {item.name for item in dataclasses.fields(Command)}
    return Command(**{name: value for name, value in plain.items() if name in names})


def waiting_in(folder: Path) -> list[Command]:
    """Return the commands that wait in a study's folder; files that are no commands are left out.

    Raises:
        InputError: The folder of commands is a link.
    """
    found = []
    for path in waiting_files(folder / COMMANDS):
        with contextlib.suppress(InputError, OSError):
            found.append(read_command(path))
    return found


def waiting_files(folder: Path) -> list[Path]:
    """Return the files of the commands in a folder, the oldest first.

    Raises:
        InputError: The folder is a link.
    """
    refuse_link(folder)
    if not folder.is_dir():
        return []
    names = sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    return names[:MAX_WAITING]


def refuse_link(folder: Path) -> None:
    """Refuse a folder of commands that is a link, as files in it are deleted.

    Raises:
        InputError: It is one.
    """
    if folder.is_symlink():
        raise InputError(
            f"{folder}: expected a folder, found a link; remove it, as only files inside the study are deleted"
        )


def answers_in(marks: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the `command` events among the events of a journal: commands with their answers."""
    return (event for event in marks if event["event"] == "command")


def num_planned(num_declared: int, marks: Iterable[Mapping[str, Any]]) -> int:
    """Return the planned number of trials: that of the study file, or that of the newest `extend` if it is higher.

    Args:
        num_declared: `search.trials` of the study file.
        marks: Events of the journal.
    """
    totals = [int(event["total"]) for event in answers_in(marks) if event["done"] and "total" in event]
    return max([num_declared, *totals])


def find_answer(journal: Path, offset: int, command_id: str) -> Mapping[str, Any] | None:
    """Look for the answer to a command in a journal, from a byte on.

    Args:
        journal: The journal.
        offset: Size of the journal before the command was sent.
        command_id: Id of the command.

    Returns:
        The `command` event; None if there is none yet.
    """
    if not journal.is_file():
        return None
    for line in lines_of(journal, offset):
        if command_id.encode() in line and line.endswith(b"\n"):
            event = parse_line(line, str(journal))
            if event is not None and event["event"] == "command" and event["id"] == command_id:
                return event
    return None
