"""The commands that list trials and studies, and act on a sweep from another terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.terminal import AsJson, Overrides, show
from search.errors import InputError
from search.text.printable import printable

if TYPE_CHECKING:
    from search.journal.commands import Command

StudyPath = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the folder or URI of a study.")]


def trials(
    study: StudyPath,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write all columns to this file.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by this column; -COLUMN reverses the order.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="TESTS", help="Such as: val_accuracy>=0.9 and rnn in lstm, gru")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """List every trial with its scores, counts and parameters.

    The parameters that vary are printed; the CSV file and the JSON document have all. TESTS compares columns with =,
    !=, <, <=, >, >= and in.
    """
    from search.commands import trials as listing
    from search.study.load import find_study

    found = listing.make_table(find_study(study, overrides or []), where=where, sort=sort)
    if csv is not None:
        listing.write_csv(found, csv)
    show(as_json, lambda: listing.to_dict(found), lambda: listing.to_lines(found))


def stop(
    study: StudyPath,
    trial: Annotated[int, typer.Option(min=0, metavar="N", help="Number of the trial.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Stop one trial of a sweep that runs; its epochs are kept."""
    from search.journal.commands import Command

    _send(study, overrides, Command(verb="stop", trial=trial), as_json)


def enqueue(
    study: StudyPath,
    point: Annotated[str, typer.Argument(metavar="POINT", help="A preset, or name=value,name=value")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a point the next new trial of a sweep.

    Parameters that are not named have the values of the study file, or of the preset.
    """
    from search.commands.control import parse_point
    from search.journal.commands import Command
    from search.study.load import find_study

    own = find_study(study, overrides or []).is_own
    _send(study, overrides, Command(verb="enqueue", point=parse_point(point, own=own)), as_json)


def extend(
    study: StudyPath,
    trials: Annotated[int, typer.Option(min=1, max=999_999, metavar="N", help="Number of trials to add.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Add trials to a sweep; its study file need not change."""
    from search.journal.commands import Command

    _send(study, overrides, Command(verb="extend", trials=trials), as_json)


def pause(study: StudyPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Save and end a sweep or comparison that runs.

    The same command continues it. The command that drives the study ends as after Ctrl-C, with exit code 130.
    """
    from search.journal.commands import Command

    _send(study, overrides, Command(verb="pause"), as_json)


def _send(study: str, overrides: list[str] | None, command: Command, as_json: bool) -> None:
    from search.commands import control
    from search.study.load import find_study

    sent = control.send(find_study(study, overrides or []), command)
    show(as_json, lambda: control.to_dict(sent), lambda: [sent.words])


StorageArgument = Annotated[str, typer.Argument(metavar="STORAGE", help="A folder or URI that contains studies.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def studies(storage: StorageArgument = "runs", as_json: AsJson = False) -> None:
    """List the studies of a storage with state, trials and nominee."""
    from search.commands import studies as listing

    found = listing.list_studies(storage)
    show(as_json, lambda: listing.to_dict(found), lambda: listing.to_lines(found))


def archive(study: StudyPath, yes: Yes = False, overrides: Overrides = None) -> None:
    """Move a study to STORAGE/.archive; its runs in MLflow stay."""
    from search.commands import removal
    from search.study.load import find_study

    found = find_study(study, overrides or [])
    _confirm(f"move {found.location} to its storage's archive?", yes)
    moved = removal.archive(found)
    show(False, dict, lambda: [f"moved to {moved}"])


def delete(study: StudyPath, yes: Yes = False, overrides: Overrides = None) -> None:
    """Delete a study and its runs in MLflow."""
    from search.commands import removal
    from search.study.load import find_study

    found = find_study(study, overrides or [])
    _confirm(f"delete {found.location}: {removal.describe(found)}?", yes)
    lines = removal.delete(found)
    show(False, dict, lambda: lines)


def _confirm(question: str, yes: bool) -> None:
    """Ask a person for permission.

    Raises:
        InputError: The answer is not yes, or there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"expected --yes, as there is no terminal to ask on: {question}")
    try:
        is_confirmed = typer.confirm(printable(question), err=True)
    except typer.Abort:
        is_confirmed = False
    if not is_confirmed:
        raise InputError("not confirmed; nothing was changed")


CLEAR = "\x1b[H\x1b[J"
"""Moves to the upper left corner of a terminal and clears the rest."""


def watch_status(study: str, overrides: list[str] | None, *, is_verbose: bool = False) -> None:
    """Show the state of a study whenever it changes, until Ctrl-C; a terminal shows the newest one only."""
    from search.commands.watching import watch
    from search.report.overview import make_overview
    from search.report.status_lines import to_lines
    from search.study.load import find_study

    def look() -> list[str]:
        return to_lines(make_overview(find_study(study, overrides or [])), study, is_verbose=is_verbose)

    def show_lines(lines: list[str]) -> None:
        if sys.stdout.isatty():
            sys.stdout.write(CLEAR)
        show(False, dict, lambda: lines if sys.stdout.isatty() else [*lines, ""])
        sys.stdout.flush()

    watch(look, show_lines)
