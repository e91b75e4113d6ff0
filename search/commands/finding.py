"""Find a study as it was run, for a command or a call from Python; differences from its file are reported."""

from __future__ import annotations

from collections.abc import Sequence

from search.console.messages import print_line
from search.study.config import StudyConfig
from search.study.folder import check_given
from search.study.load import as_run, find_with_file


def find_checked(path: str, overrides: Sequence[str] = (), *, train: bool = False) -> StudyConfig:
    """Return a study as it was run, from its file, folder or URI.

    Args:
        path: A study file, or the folder or URI of a study.
        overrides: Assignments `path.to.key=value`.
        train: Whether the command trains. It then refuses a study file that differs from the recorded study; other
            commands print a note.

    Raises:
        NothingToDoError: No sweep of the study has been started.
        StudyChangedError: The file differs from the recorded study, and the command trains.
        StudyError: The study file, or the study's folder, is damaged.
    """
    found, given = find_with_file(path, overrides, fill=train)
    for line in check_given(path, overrides, found, given, refuse=train):
        print_line(f"note: {line}")
    return found


def find_given(given: StudyConfig, name: str, overrides: Sequence[str] = (), *, train: bool = False) -> StudyConfig:
    """Return a study as it was run, from its content in memory; see `find_checked`.

    Args:
        given: The study.
        name: Name of its source in messages.
        overrides: Assignments that are part of it.
        train: As for `find_checked`.
    """
    found = as_run(given)
    for line in check_given(name, overrides, found, given, refuse=train):
        print_line(f"note: {line}")
    return found
