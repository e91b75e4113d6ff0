"""The live table of a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.text import Text

from search.console.progress import Display


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_headings_have_a_line_of_their_own(width: int) -> None:
    console = Console(width=width, force_terminal=True, color_system="standard")
    display = Display(title="study", noun="trials", num_planned=lambda: 4, records=list)
    with console.capture() as captured:
        console.print(display._draw())
    _, bar, headings = Text.from_ansi(captured.get()).plain.splitlines()[:3]
    assert set(bar.strip()) == {"━"}
    assert headings.split() == ["state", "epochs", "validation", "secs"]
    assert headings.index("state") < 10
