"""What reaches the terminal, whatever it is, and what becomes of it when no one reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import main
from search.cli.terminal import show
from search.console import messages as lines
from search.study.hints import did_you_mean

REPO = Path(__file__).parents[3]


def run(script: str, *, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which $PYTHON is this Python."""
    names = ("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONIOENCODING", "LC_ALL", "LANG")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    env = clean | {"PYTHON": sys.executable} | environment
    return subprocess.run(["bash", "-c", script], cwd=cwd, env=env, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("redirect", ["", "2>&1"])
def test_a_pipe_that_is_closed_ends_no_command(tmp_path: Path, redirect: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from search.cli.terminal import prepare_streams, out\n"
        "from search.console.messages import print_line\n"
        "prepare_streams()\n"
        "for number in range(3000):\n"
        "    print_line('progress ' * 20)\n"
        "    out('result ' * 20)\n"
        "open('done', 'w').close()\n"
        "sys.exit(3)\n"
    )
    line = f"set -o pipefail; $PYTHON program.py {redirect} | head -1 >/dev/null"
    ended = run(line, cwd=tmp_path, PYTHONPATH=str(REPO))
    assert ended.returncode == 3, ended.stderr[-500:]
    assert (tmp_path / "done").exists()
    assert b"Traceback" not in ended.stderr
    assert b"BrokenPipe" not in ended.stderr


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_text_that_the_terminal_cannot_show_is_escaped(tmp_path: Path, environment: dict[str, str]) -> None:
    line = "$PYTHON -m search.cli plan caf\u00e9.yaml"
    ended = run(line, cwd=tmp_path, PYTHONPATH=str(REPO), **environment)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(b"error: caf")
    assert b"Traceback" not in ended.stderr


@pytest.fixture
def own_modules(tmp_path: Path) -> Path:
    """A working folder with the user's own modules of our names."""
    for name in ("spaces", "hybrid_models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the user s own')")
    return tmp_path


def test_packages_of_the_working_folder_do_not_hide_ours(own_modules: Path) -> None:
    ended = run("$PYTHON -m search.cli models ecrnn/cnn", cwd=own_modules, PYTHONPATH=str(REPO))
    assert ended.returncode == 0, ended.stderr


def test_packages_on_pythonpath_that_hide_ours_are_named(own_modules: Path) -> None:
    elsewhere = own_modules / "elsewhere"
    elsewhere.mkdir()
    ended = run("$PYTHON -m search.cli models", cwd=elsewhere, PYTHONPATH=f"{own_modules}:{REPO}")
    assert ended.returncode == 2, ended.stderr
    words = f"error: {own_modules}/spaces/__init__.py: hides the package spaces of hybrid-search; rename it"
    assert ended.stderr.decode().startswith(words)


def test_commands_to_the_terminal_in_names_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show(False, dict, lambda: ["trial 0: \x1b[2Jevil\nerror: fake", "plain \u00e9"])
    lines.print_line("study \x1b]0;title\x07")
    shown = capsys.readouterr()
    assert shown.out == "trial 0: \\x1b[2Jevil\\nerror: fake\nplain \u00e9\n"
    assert shown.err == "study \\x1b]0;title\\x07\n"


def test_a_wrong_path_is_answered_with_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert did_you_mean(Path("digits")) is None
    for name in ("digits", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "study.yaml").touch()
    (tmp_path / "mine.yaml").touch()
    assert did_you_mean(Path("digits")) == "did you mean runs/digits?"
    assert did_you_mean(Path("runs/digit")) == "did you mean runs/digits?"
    assert did_you_mean(Path("min.yaml")) == "did you mean mine.yaml?"
    assert did_you_mean(Path("runs/nothing")) == "existing studies: runs/digits, runs/other"


def test_a_working_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    ended = run("cd gone && rmdir ../gone && $PYTHON -m search.cli models", cwd=tmp_path, PYTHONPATH=str(REPO))
    assert ended.returncode == 2
    assert b"error: the working folder was removed; change to another one" in ended.stderr


def test_a_stream_without_a_buffer_keeps_none(tmp_path: Path) -> None:
    program = (
        "import sys, os; from search.cli.terminal import prepare_streams; prepare_streams(); print('a'); os._exit(0)"
    )
    ended = run(f'$PYTHON -u -c "{program}" | cat', cwd=tmp_path, PYTHONPATH=str(REPO))
    assert ended.stdout == b"a\n"


def test_an_interrupt_with_a_closed_output_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []

    def interrupted() -> None:
        raise SystemExit(130)

    monkeypatch.setattr("search.cli.app.main", interrupted)
    monkeypatch.setattr("os._exit", codes.append)
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(SystemExit):  # not reached by a process that has left
        main()
    assert codes == [130]
