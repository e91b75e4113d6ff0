"""Long lines of a result on a terminal, and the commands to run next."""

from __future__ import annotations

import pytest

from search.console.next_steps import STEPS, next_lines
from search.console.wrapping import terminal_width, wrapped

SCORE = "            selection score        97.78 %  validation accuracy of one run, selected for this score"
SENTENCE = "Inconclusive: a minus b is -0.7 percentage points (95 % interval -2.3 to 0.9)."


@pytest.mark.parametrize("line", [SENTENCE, f"verdict     {SENTENCE}", "x " * 300, "x" * 90, ""])
@pytest.mark.parametrize("width", [44, 60, 80])
def test_no_word_is_lost_and_every_line_fits(line: str, width: int) -> None:
    lines = wrapped(line, width)
    assert " ".join(lines).split() == line.split()
    assert all(len(part) <= width for part in lines if " " in part.strip())


def test_rows_of_a_table_are_left_alone() -> None:
    assert wrapped(SCORE, 60) == [SCORE]


def test_what_follows_stays_right_of_the_names() -> None:
    first, second = wrapped(SCORE, 80)
    assert first.index("validation") == second.index("selected")
    assert [part.index(part.strip()) for part in wrapped(f"verdict     {SENTENCE}", 60)] == [0, 12]
    assert [part.index(part.strip()) for part in wrapped(SENTENCE, 60)] == [0, 2]


def test_commands_and_files_are_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"next        hybrid-search compare {'folder/' * 20}study.yaml"
    assert wrapped(command, 80) == [command]
    assert wrapped(SENTENCE, None) == [SENTENCE]
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() is None  # captured output is no terminal
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal_width() == 72


def test_the_next_commands_are_whole() -> None:
    lines = next_lines(tuple(STEPS), "my study.yaml")
    assert lines[0].startswith("next        hybrid-search sweep 'my study.yaml' ")
    assert all(len(line) <= 80 for line in lines)
    assert len({line.index("#") for line in lines if "#" in line}) == 1
    assert next_lines((), "x") == []
    assert next_lines(("export",), "f" * 60) == [f"next        hybrid-search export {'f' * 60} --to winner"]
