"""The live table of a terminal: aligned at every width, coloured, and still there at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from search.console.live_table import STYLES, draw, state_of
from search.journal.summary import summarise
from search.records import Completed, Failed, Infeasible, Stopped, TrialRecord

WIDTHS = {
    80: ["state", "trial", "epochs", "validation", "secs"],
    100: ["state", "trial", "epochs", "validation", "secs", "parameters"],
    140: ["state", "trial", "epochs", "validation", "secs", "parameters", "node"],
}


@pytest.fixture
def trials(make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]) -> list[TrialRecord]:
    """One trial of each state; the fourth is the nominee."""
    outcomes = (
        None,
        Failed(reason="x"),
        Stopped(epoch=1),
        Completed(),
        Infeasible(measure="latency_ms", value=2, limit=1),
        Completed(),
    )
    return [
        make_record(
            f"t{number}",
            number=number,
            label=f"trial {number}: ecrnn bilstm 16-16 {'with a very long name ' * (number == 3) * 8}",
            curve=(make_epoch(1, 0.9 - abs(3 - number) / 10),),
            outcome=outcome,
            counts={"num_parameters": 10_000 * number},
            node="node-1/abcdef01",
            point={"rnn": "lstm", "lr": 0.01 * (1 + number)},
        )
        for number, outcome in enumerate(outcomes)
    ]


def shown(trials: list[TrialRecord], width: int, *, height: int | None = 40, **options: Any) -> str:
    console = Console(width=width, force_terminal=True, color_system="standard", legacy_windows=False, **options)
    status = summarise(trials, 8, since=0.0, now=4000.0)
    with console.capture() as captured:
        console.print(draw(trials, status, title="my-study", noun="trials", width=width, height=height))
    return captured.get()


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_are_aligned_and_fit(trials: list[TrialRecord], width: int) -> None:
    lines = Text.from_ansi(shown(trials, width)).plain.splitlines()
    assert max(map(len, lines)) <= width
    title, counts, bar, headings, *rows = lines
    assert title.startswith("my-study: 5/8 trials")
    assert counts.rstrip() == "2 completed, 1 stopped, 1 failed, 1 infeasible, 1 running"
    assert set(bar.strip()) <= {"━", "╸", "╺"}
    assert headings.split() == WIDTHS[width]
    end = headings.index("validation") + len("validation")
    for row in rows[:3]:
        assert row[:end].endswith(" %"), row
        assert row[11:].startswith("trial "), row
    assert rows[0].startswith("running ")
    assert rows[1].startswith("completed  trial 3")
    assert "…" in rows[1]
    assert any(row.startswith("nominee    trial 3: ecrnn") for row in rows)
    assert "90.00 % in one run" in " ".join(" ".join(rows).split())
    assert rows[-1].strip() == "lr 0.04"  # the parameter that varies


def test_the_last_table_has_all_states_in_their_colours(trials: list[TrialRecord]) -> None:
    assert [state_of(record) for record in trials] == [
        *("running", "failed", "stopped", "completed", "infeasible", "completed")
    ]
    text = shown(trials, 100, height=None)
    for state in ("running", "completed", "stopped", "infeasible", "failed"):
        style = Console(force_terminal=True, color_system="standard").get_style(STYLES[state])
        assert style.render(state.ljust(10)) in text or style.render(state) in text, state
    assert Text.from_ansi(text).plain.count("trial ") == len(trials) + 2  # the heading, and the nominee
    assert "and 6 others" in Text.from_ansi(shown(trials * 2, 100)).plain


def test_no_colour_is_written_without_colour(trials: list[TrialRecord]) -> None:
    assert "\x1b[3" not in shown(trials, 80, no_color=True)
    assert "\x1b[1;3" not in shown(trials, 80, no_color=True)
