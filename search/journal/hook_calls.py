"""Calls the methods of a hook for the events of a journal, each event once, also over several starts of a command.

The position in the journal is stored after each event. A process that is killed between the call and the store repeats
that one call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.journal.events import parse_line
from search.journal.reading import FILE_NAME, fold, id_of
from search.records import EpochMetrics, TrialRecord

METHODS = ("on_study_begin", "on_trial_begin", "on_epoch", "on_trial_end", "on_comparison", "close")
"""Methods that a hook may have."""


@dataclass(frozen=True, kw_only=True)
class StudyBegin:
    """What a hook receives first."""

    name: str
    """Name of the study."""
    folder: Path
    """The study's folder on this machine."""
    settings: Mapping[str, Any]
    """The resolved study file as plain data, without passwords."""
    is_resumed: bool
    """Whether the hook has received events of this study before."""


class HookCalls:
    """Delivers the events of a journal to one hook. Not thread-safe.

    Args:
        folder: The study's folder.
        hook: Object with any of `METHODS`.
        place: File that stores the position in the journal; its folder exists.
        name: Name of the study.
        settings: The resolved study file as plain data.
        on_error: Receives the name of a method and the exception that it raised; the event counts as delivered.
    """

    def __init__(
        self,
        folder: Path,
        hook: object,
        place: Path,
        *,
        name: str,
        settings: Mapping[str, Any],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._folder, self._hook, self._place = folder, hook, place
        self._name, self._settings, self._on_error = name, settings, on_error
        self._path = folder / FILE_NAME
        self._offset = self._num_lines = self._delivered = 0
        self._journal_id = ""
        self._records: dict[str, TrialRecord] = {}

    def deliver(self) -> int:
        """Call the hook for every complete new line of the journal.

        Returns:
            Number of events.

        Raises:
            InputError: The journal is damaged.
            OSError: The position cannot be stored; the next call goes on.
        """
        if not self._path.is_file():
            return 0
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read()
        num_events = 0
        for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
            if not self._journal_id:
                self._begin(id_of(line))
            self._num_lines += 1
            where = f"{self._path}:{self._num_lines}"
            event = parse_line(line, where)
            if event is not None:
                fold(self._records, event, where)
            self._offset += len(line)
            if self._offset > self._delivered:
                if event is not None:
                    self._take(event)
                    num_events += 1
                self._delivered = self._offset
                self._store()
        return num_events

    def close(self) -> None:
        """Tell the hook that nothing follows."""
        self._call("close")

    def _begin(self, journal_id: str) -> None:
        self._journal_id = journal_id
        try:
            stored = json.loads(self._place.read_text(encoding="utf-8"))
            known = stored["journal"] == journal_id
            self._delivered = int(stored["offset"]) if known else 0
        except (OSError, ValueError, KeyError, TypeError):
            self._delivered = 0
        # A journal that was restored from a backup is shorter.
        self._delivered = min(self._delivered, self._path.stat().st_size)
        self._call(
            "on_study_begin",
            StudyBegin(name=self._name, folder=self._folder, settings=self._settings, is_resumed=self._delivered > 0),
        )

    def _take(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "begin":
                self._call("on_trial_begin", self._records[event["key"]])
            case "epoch":
                metrics = EpochMetrics.from_dict(event["metrics"])
                self._call("on_epoch", self._records[event["key"]], metrics)
            case "end":
                self._call("on_trial_end", self._records[event["key"]])
            case "comparison":
                self._call("on_comparison", event)

    def _call(self, method: str, *arguments: object) -> None:
        call = getattr(self._hook, method, None)
        if call is None:
            return
        try:
            call(*arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code; the error is printed, and the study goes on
            self._on_error(method, error)

    def _store(self) -> None:
        """Store the position atomically; not flushed to the disk, as a repeated call after a power failure is fine."""
        new = self._place.with_name(f"{self._place.name}.new")
        new.write_text(json.dumps({"journal": self._journal_id, "offset": self._delivered}), encoding="utf-8")
        new.replace(self._place)
