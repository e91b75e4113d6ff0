"""Load the hooks of a study, and follow the journal for each of them. Importing a hook runs the user's code."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from search.errors import InputError
from search.journal.hook_calls import METHODS, HookCalls
from search.records import digest_of
from search.study.config import StudyConfig, to_dict
from search.study.hooks import Hook, parse_hook
from search.text.printable import printable

FOLDER = "hooks"
"""Folder in the study's folder that stores how far each hook has received the journal."""
TRACKERS = {
    "tensorboard": Hook(module="search.tracking.tensorboard_hook", name="TensorBoardHook"),
    "wandb": Hook(module="search.tracking.wandb_hook", name="WandbHook"),
}
"""Name in `tracking.also` -> its hook; the name is also that of the package that it needs."""
MAX_REASON = 300


class HookError(InputError):
    """A hook cannot be used."""


def hooks_of(study: StudyConfig) -> dict[str, Hook]:
    """Return the hooks and trackers of a study by name."""
    found: dict[str, Hook] = {name: TRACKERS[name] for name in study.tracking.also}
    for text in study.hooks:
        hook = _parsed(text)
        name = str(hook)
        found[name if name not in found else text] = hook
    return found


def hook_import_faults(study: StudyConfig) -> Iterator[str]:
    """Import every hook and yield one line per fault; no hook is created or called."""
    for name in study.tracking.also:
        if importlib.util.find_spec(name) is None:
            yield (
                f"tracking.also: expected the package {name}, found none; install it (pip install {name}), or remove it"
            )
    for place, text in enumerate(study.hooks):
        try:
            load_class(_parsed(text))
        except HookError as error:
            yield f"hooks.{place}: {error}"


def _parsed(text: str) -> Hook:
    """Return the hook that a text names; a recorded study may have been changed by hand since it was checked."""
    hook = parse_hook(text)
    if hook is None:
        raise HookError(f'expected "my_hooks.py:Class" or "package.module:Class", found {text!r}')
    return hook


def load_class(hook: Hook) -> Callable[[], object]:
    """Import the class of a hook.

    Raises:
        HookError: Its module cannot be imported, has no such class, or the class has no method of a hook.
    """
    place = Path(hook.module).name if hook.is_file else hook.module
    try:
        module = _import_file(Path(hook.module)) if hook.is_file else importlib.import_module(hook.module)
    except (Exception, SystemExit) as error:
        raise HookError(f"cannot be imported: {in_words(error, hook)}") from error
    found = getattr(module, hook.name, None)
    if not inspect.isclass(found):
        known = [name for name, value in vars(module).items() if inspect.isclass(value) and name[0] != "_"]
        near = difflib.get_close_matches(hook.name, known, n=1) or known[:3]
        hint = f"; it has {', '.join(near)}" if near else ""
        raise HookError(f"{place}: expected a class {hook.name}, found none{hint}")
    methods = [name for name in dir(found) if name.startswith("on_")]
    for name in methods:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(METHODS)}"
            raise HookError(f"{place}: expected methods of a hook in {hook.name}, found {name}; {hint}")
    if not methods:
        raise HookError(f"{place}: expected one of {', '.join(METHODS[:-1])} in {hook.name}, found none")
    return found


def _import_file(path: Path) -> object:
    """Run a file as it is now; files beside it can be imported by it, also when an event comes."""
    name = f"hook_{digest_of(str(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def in_words(error: BaseException, hook: Hook) -> str:
    """Return an exception of a hook as one line with the place in the user's file."""
    file = hook.module if hook.is_file else getattr(sys.modules.get(hook.module), "__file__", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{Path(error.filename).name}:{error.lineno}: "
    else:
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    message = " ".join(str(error).split())[:MAX_REASON]
    return printable(f"{where}{type(error).__name__}{f': {message}' if message else ''}")


class HookFollower:
    """Follows the journal for one hook, as the copies of the journal do.

    Args:
        folder: The study's folder.
        study: The study.
        hook: The hook.
        name: Its name.
        print_line: Receives lines for the user.

    Raises:
        HookError: The hook cannot be imported or created.
    """

    def __init__(
        self, folder: Path, study: StudyConfig, hook: Hook, name: str, print_line: Callable[[str], None]
    ) -> None:
        self._hook, self._print_line = hook, print_line
        self._told: set[tuple[str, str]] = set()
        made = load_class(hook)
        try:
            instance = made()
        except (Exception, SystemExit) as error:
            raise HookError(f"cannot be created: {in_words(error, hook)}") from error
        place = folder / FOLDER
        place.mkdir(exist_ok=True)
        self._calls = HookCalls(
            folder,
            instance,
            place / f"{digest_of(name)}.json",
            name=study.name,
            settings=to_dict(study),
            on_error=self._tell,
        )

    @property
    def num_waiting(self) -> int:
        """Unknown without reading the journal: no trial is copied by a hook."""
        return 0

    def sync(self) -> int:
        """Call the hook for everything that is new in the journal."""
        return self._calls.deliver()

    def finish(self) -> int:
        """Like `sync`, after the driver has exited; then close the hook."""
        num_events = self._calls.deliver()
        self._calls.close()
        return num_events

    def _tell(self, method: str, error: BaseException) -> None:
        """Print an exception once; the hook is still called for the next events."""
        words = in_words(error, self._hook)
        kind = (method, words.partition(": ")[0])
        if kind not in self._told:
            self._told.add(kind)
            self._print_line(f"{method} raised {words}; the study goes on, and the same fault is not printed again")
