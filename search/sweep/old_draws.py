"""Import of the draws that a journal of version 1 left to Optuna's study."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from search.errors import StudyError
from search.journal.journal import Journal
from search.records import NOT_KNOWN, Draw
from search.sampling.optuna_storage import place_of, read_old_draws
from search.sampling.trials import missing_numbers
from search.study.config import StudyConfig
from search.text.counted import counted


def import_draws(
    study: StudyConfig, journal: Journal, key_of: Callable[[int, dict[str, bool | int | float | str]], str]
) -> str | None:
    """Import the draws without a trial from Optuna's study into the journal, once.

    If that study is missing, their numbers stay reserved, so that later proposals have the same seeds.

    Args:
        study: The study.
        journal: Its open journal.
        key_of: Returns the key of a training from a draw's number and point.

    Returns:
        A line for the user if draws are unknown, else None.
    """
    missing = missing_numbers(journal.of_kind("trial"), journal.draws)
    if not missing:
        return None
    space, num_lost = study.build_space(), 0
    try:
        held = read_old_draws(place_of(study), study.name, journal.id)
    except StudyError:
        held = {}
    for number in missing:
        draw = held.get(number, Draw(number=number, rejected=NOT_KNOWN))
        if not draw.rejected and not draw.twin and draw.point:
            # Its original was still running, so it was not recorded as a twin.
            draw = dataclasses.replace(draw, twin=key_of(number, dict(space.point(draw.point))))
        if not draw.rejected and draw.twin not in journal.records:
            draw = Draw(number=number, rejected=NOT_KNOWN)
        num_lost += draw.rejected == NOT_KNOWN
        journal.draw(draw)
    if not num_lost:
        return None
    return (
        f"{study.name}: {num_lost} of {counted(len(missing), 'rejected draw')} unknown; the numbers stay reserved, and "
        "the next proposals do not change"
    )
