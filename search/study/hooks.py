"""Hooks: classes of the user's and trackers, which the study file names. Nothing is imported here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.study.config import StudyConfig

_NAME = r"[A-Za-z_]\w*"
_FILE = re.compile(rf"(?P<module>.+\.py):(?P<name>{_NAME})")
_MODULE = re.compile(rf"(?P<module>{_NAME}(\.{_NAME})*):(?P<name>{_NAME})")


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A hook's class, as a study file names it."""

    module: str
    """Path of a file, or dotted name of an installed module."""
    name: str
    """Name of the class."""

    @property
    def is_file(self) -> bool:
        """Whether the class is named by its file."""
        return self.module.endswith(".py")

    def __str__(self) -> str:
        return f"{Path(self.module).name if self.is_file else self.module}:{self.name}"


def parse_hook(text: str) -> Hook | None:
    """Return the hook that a text names; None if it has another form.

    >>> parse_hook("my_hooks.py:Notify")
    Hook(module='my_hooks.py', name='Notify')
    """
    found = _FILE.fullmatch(text) or _MODULE.fullmatch(text)
    return Hook(module=found["module"], name=found["name"]) if found else None


def with_places(study: StudyConfig, folder: Path) -> StudyConfig:
    """Return the study with absolute paths of the files of its hooks, which are relative to the study file's folder."""
    if not study.hooks:
        return study
    hooks = []
    for text in study.hooks:
        hook = parse_hook(text)
        is_file = hook is not None and hook.is_file
        hooks.append(f"{(folder / hook.module).absolute()}:{hook.name}" if hook is not None and is_file else text)
    return study.model_copy(update={"hooks": tuple(hooks)})


def hook_faults(study: StudyConfig, folder: Path) -> Iterator[str]:
    """Yield the faults of `hooks`: another form, a missing file, the same class twice."""
    for place, text in enumerate(study.hooks):
        where = f"hooks.{place}"
        hook = parse_hook(text)
        if hook is None:
            yield f'{where}: expected "my_hooks.py:Class" or "package.module:Class", found {text!r}'
        elif hook.is_file and not (folder / hook.module).is_file():
            there = sorted(path.name for path in folder.glob("*.py"))
            near = difflib.get_close_matches(hook.module, there, n=1)
            hint = f"did you mean {near[0]}?" if near else "correct the path"
            yield f"{where}: expected a file, found none at {folder / hook.module}; {hint}"
        if text in study.hooks[:place]:
            yield f"{where}: expected each class once, found {text} twice; remove one"
