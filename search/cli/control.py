"""The commands that list trials and studies, and act on a sweep from another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.terminal import AsJson, Overrides, show

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
    """List every trial of a sweep with its scores, counts and parameters.

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

    _send(study, overrides, Command(verb="enqueue", point=parse_point(point)), as_json)


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
    """Save and end the sweep or comparison that runs, until sweep is called.

    The command that drives the study ends as after Ctrl-C, with exit code 130.
    """
    from search.journal.commands import Command

    _send(study, overrides, Command(verb="pause"), as_json)


def _send(study: str, overrides: list[str] | None, command: Command, as_json: bool) -> None:
    from search.commands import control
    from search.study.load import find_study

    sent = control.send(find_study(study, overrides or []), command)
    show(as_json, lambda: control.to_dict(sent), lambda: [sent.words])
