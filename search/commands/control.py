"""The commands that act on a sweep from another terminal: stop, enqueue, extend and pause."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.errors import InputError, NothingToDoError, StudyError
from search.journal.commands import Command, find_answer, refuse_link
from search.journal.reading import FILE_NAME, read_history
from search.records import TrialRecord
from search.storage.disk import raising_storage_faults, write_bytes
from search.storage.lease import is_driven_anywhere
from search.storage.location import Location
from search.storage.store import Store
from search.storage.working_copy import COMMANDS, refresh
from search.study.bind import complete_point, facts_in, why_not
from search.study.config import StudyConfig
from search.study.settings import setting_faults
from search.text.yaml_text import assign
from spaces.presets import UnknownPreset, load_preset
from spaces.space import SpaceError

ANSWER_SECS = 10.0
"""How long a command waits for the driver's answer; a training looks for commands every two seconds."""
POLL_SECS = 0.2
REMOTE_POLL_SECS = 1.0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A command that was sent, and what became of it so far."""

    study: str
    command: Command
    answer: str | None
    """The driver's answer; None if there is none yet."""
    words: str
    """One line for the user."""


def send(study: StudyConfig, command: Command, patience_secs: float = ANSWER_SECS) -> Sent:
    """Send a command to the driver of a study and wait for its answer.

    Args:
        study: The study.
        command: The command.
        patience_secs: How long to wait.

    Returns:
        The command with its answer; without one if no command runs the study, so that the next start carries it out.

    Raises:
        InputError: The command cannot be carried out, now or at the next start.
        NothingToDoError: There is nothing to pause.
    """
    verb = driven_by(study)
    check(study, command, verb)
    journal = study.folder / FILE_NAME
    offset = journal.stat().st_size if journal.is_file() else 0
    write(study.location, command)
    until = time.monotonic() + patience_secs
    while _is_for(command, verb) and time.monotonic() < until:
        time.sleep(POLL_SECS if study.location.uri is None else REMOTE_POLL_SECS)
        refresh(study.location)
        event = find_answer(journal, offset, command.id)
        if event is not None:
            if not event["done"]:
                raise InputError(f"{study.location}: {command.words}: {event['answer']}")
            return Sent(study=study.name, command=command, answer=event["answer"], words=event["answer"])
        if study.location.uri is None:
            verb = driven_by(study)
    next_start = f"done at the next start: `hybrid-search sweep` of {study.name}"
    if verb is None:
        words = f"no command runs {study.location} now; {next_start}"
    elif not _is_for(command, verb):
        words = f"`{verb}` runs {study.location} now; {next_start}"
    else:
        words = f"sent; no answer within {patience_secs:.0f} s, `hybrid-search status` shows it later"
    return Sent(study=study.name, command=command, answer=None, words=words)


def _is_for(command: Command, verb: str | None) -> bool:
    """Return whether the running command carries this one out."""
    return verb == "sweep" or (command.verb == "pause" and verb is not None)


def driven_by(study: StudyConfig) -> str | None:
    """Return the command that drives a study now, such as `sweep`; None if there is none, or it only ends."""
    if not is_driven_anywhere(study.location):
        return None
    marks = [event for event in read_history(study.folder).marks if event["event"] in {"session", "stop"}]
    if not marks:
        return "sweep"
    return None if marks[-1]["event"] == "stop" else str(marks[-1]["verb"])


def check(study: StudyConfig, command: Command, verb: str | None) -> None:
    """Check a command against the journal, as far as that is possible without the driver.

    Raises:
        InputError: The trial does not exist or has ended, or the point is not in the space or no valid model.
        NothingToDoError: There is nothing to pause.
    """
    if command.verb == "pause" and verb is None:
        raise NothingToDoError(
            f"{study.location}: expected a sweep or comparison that runs, found none; `sweep` continues the study"
        )
    history = read_history(study.folder)
    trials = [record for record in history.records.values() if record.kind == "trial"]
    if command.trial is not None:
        _check_trial(study, trials, command.trial)
    if command.point is not None:
        point = _check_point(study, command.point)
        twin = next((record for record in trials if dict(record.point) == dict(point)), None)
        if twin is not None:
            raise InputError(f"enqueue: expected a new point, found that of trial {twin.number} ({twin.label})")
        facts = facts_in(history)
        if facts is not None and (why := why_not(study, point, facts)):
            raise InputError(f"enqueue: {why}")


def _check_trial(study: StudyConfig, trials: list[TrialRecord], number: int) -> None:
    record = next((record for record in trials if record.number == number), None)
    if record is None:
        running = [str(record.number) for record in trials if record.outcome is None]
        hint = f"running: {', '.join(running[:20])}" if running else "no trial is running"
        raise InputError(f"--trial: expected a trial of {study.location}, found {number}; {hint}")
    if record.outcome is not None:
        raise InputError(
            f"--trial: expected a trial that has not ended, found {number}, which is {record.outcome.word} after "
            f"epoch {len(record.curve)}"
        )


def _check_point(study: StudyConfig, like: str | Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return study.build_space().point(complete_point(study, like if isinstance(like, str) else dict(like)))
    except SpaceError as error:
        raise StudyError(*(f"enqueue: {fault}" for fault in error.faults)) from None


def parse_point(text: str, *, own: bool = False) -> str | dict[str, Any]:
    """Read the point of `enqueue`: the name of a preset, or `name=value,name=value`.

    Args:
        text: The point.
        own: Whether the study searches an own model, whose names are checked with its space.

    >>> parse_point("rnn=gru,nodes=8,lr=1e-3")
    {'rnn': 'gru', 'nodes': 8, 'lr': 0.001}

    Raises:
        InputError: There is no such preset, or a setting is unknown or has an impossible value.
    """
    if "=" not in text:
        try:
            load_preset(text)
        except UnknownPreset as error:
            raise InputError(f"enqueue: {error}; or write name=value,name=value") from None
        return text
    values: dict[str, Any] = {}
    for part in text.split(","):
        name = part.partition("=")[0].strip()
        if "=" not in part or not name.isidentifier() or name in values or assign(values, part) is not None:
            raise InputError(f"enqueue: expected each name=value once, separated by commas, found {part[:40]!r}")
    faults = [] if own else list(setting_faults("enqueue", values))
    if faults:
        raise InputError(*faults)
    return values


def write(location: Location, command: Command) -> None:
    """Write the file of a command where the driver of the study looks for it.

    Raises:
        InputError: The folder of commands is a link.
        StorageFaultError: The study's folder cannot be written.
        StoreAwayError: The object store cannot be reached.
    """
    if location.uri is not None:
        Store(location.uri).write(f"{COMMANDS}/{command.file_name}", command.to_bytes())
        return
    folder = location.folder / COMMANDS
    refuse_link(folder)
    with raising_storage_faults(folder):
        folder.mkdir(exist_ok=True)
    write_bytes(folder / command.file_name, command.to_bytes())


def to_dict(sent: Sent) -> dict[str, Any]:
    """Return what was sent as plain data for `--json`."""
    return {
        "study": sent.study,
        "command": sent.command.words,
        "id": sent.command.id,
        "answer": sent.answer,
        "note": sent.words,
    }
