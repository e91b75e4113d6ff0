"""The commands that list trials and studies, and act on a sweep from another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.terminal import AsJson, Overrides, show

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
