"""Write docs/commands.md, the reference of the command line: `python docs/write_commands.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from search.cli.app import app

PAGE = Path(__file__).with_name("commands.md")
_WORDS: dict[Any, str] = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
HEAD = """# Commands

Written by `docs/write_commands.py` from the code. `hybrid-search COMMAND --help` prints the same.

`hybrid-search --version` prints the version. Every command also has `--help` (`-h`). Results go to standard output,
progress and warnings to standard error. `STUDY` is a study file, or the folder or URI of a study that was started.
`--set KEY=VALUE` overrides a [field](fields.md) and can be given several times: `--set train.epochs=3 --set seed=1`.
`--install-completion` adds completion to your shell, `--show-completion` prints it. With `NO_COLOR` in the environment,
and outside a terminal, the output has no colours.

## Exit codes

| exit code | meaning |
|---|---|
| 0 | done; for `status --check`: all copies agree |
| 1 | only for `status --check`: the copies differ |
| 2 | the input is wrong, one line per fault; for `status --check`: a copy is unreachable |
| 3 | too many trials failed |
| 130 | interrupted, also by `pause` |
"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(line for name, run in commands().items() for line in _section(name, run))])


def commands() -> dict[str, Callable[..., Any]]:
    """Return the function of each command by name, in alphabetical order."""
    found = {item.name or item.callback.__name__: item.callback for item in app.registered_commands if item.callback}
    return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One argument or option of a command, as its function declares it."""

    shown: str
    """`[FILE]` for an argument, `--to DIR` for an option."""
    text: str
    is_option: bool


def parameters(run: Callable[..., Any]) -> list[Parameter]:
    """Return the arguments and options of a command, in the order of its help."""
    hints = get_type_hints(run, include_extras=True)
    return [_parameter(name, item, hints[name]) for name, item in inspect.signature(run).parameters.items()]


def _parameter(name: str, item: inspect.Parameter, hint: Any) -> Parameter:  # noqa: ANN401
    kind, info = get_args(hint)[:2]
    optional = get_origin(kind) is UnionType
    kind = next(part for part in get_args(kind) if part is not type(None)) if optional else kind
    metavar = (info.metavar or _WORDS.get(kind, "TEXT")).replace("|", " or ")
    text = (info.help or "").replace("|", r"\|").replace("<", "&lt;")
    if isinstance(info, ArgumentInfo):
        shown = info.metavar or name.upper()
        required = item.default is inspect.Parameter.empty
        return Parameter(shown=shown if required else f"[{shown}]", text=text, is_option=False)
    # In an annotation, typer keeps the first name that is given in the place of the default.
    given = [word for word in (info.default, *(info.param_decls or ())) if str(word).startswith("-")]
    named = ", ".join(given or [f"--{name.replace('_', '-')}"])
    if item.default is inspect.Parameter.empty:
        text += " Required."
    elif item.default not in (None, False) and "default" not in text:
        text += f" Default: {item.default}."
    return Parameter(shown=named if kind is bool else f"{named} {metavar}", text=text, is_option=True)


def _section(name: str, run: Callable[..., Any]) -> list[str]:
    given = parameters(run)
    usage = ["hybrid-search", name, *(item.shown for item in given if not item.is_option)]
    usage += ["[OPTIONS]"] if any(item.is_option for item in given) else []
    rows = [f"| `{item.shown}` | {item.text} |" for item in sorted(given, key=lambda item: item.is_option) if item.text]
    table = ["| argument or option | meaning |", "|---|---|", *rows, ""] if rows else []
    return [f"## `{name}`", "", inspect.getdoc(run) or "", "", "```text", " ".join(usage), "```", "", *table]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
