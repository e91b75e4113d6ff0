"""Import the source of an own model from memory. This runs the user's code."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any

from search.own_models.errors import SHOWN, OwnCodeError, in_words
from search.own_models.model import OwnModel
from search.own_models.source import DISTRIBUTION

_loaded: dict[str, dict[str, ModuleType]] = {}
"""Digest of the source -> its modules by name: modules of the same name but other source stay apart."""
_lock = threading.RLock()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds modules among files in memory.

    Args:
        files: Path -> text.
        bases: Folders in which top-level modules are searched, each empty or ending with a slash.
    """

    def __init__(self, files: Mapping[str, str], bases: Sequence[str]) -> None:
        self._files = files
        self._bases = bases

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module among the files; None if it is not one of them."""
        del path, target
        for base in self._bases:
            stem = base + fullname.replace(".", "/")
            if f"{stem}/__init__.py" in self._files:
                return self._spec(fullname, f"{stem}/__init__.py", is_package=True)
            if f"{stem}.py" in self._files:
                return self._spec(fullname, f"{stem}.py", is_package=False)
            if any(name.startswith(f"{stem}/") for name in self._files) and not _is_installed(fullname):
                return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        return None

    def _spec(self, fullname: str, path: str, *, is_package: bool) -> importlib.machinery.ModuleSpec:
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=f"{SHOWN}{path}", is_package=is_package)
        spec.has_location = True  # sets __file__, whose name tracebacks show
        return spec

    def get_source(self, fullname: str) -> str:
        """Return the text of a module, also for the lines of tracebacks."""
        return self._files[self._path_of(fullname)]

    def is_package(self, fullname: str) -> bool:
        """Return whether a module is a package."""
        return self._path_of(fullname).endswith("/__init__.py")

    def exec_module(self, module: ModuleType) -> None:
        """Run a module."""
        path = self._path_of(module.__name__)
        exec(compile(self._files[path], f"{SHOWN}{path}", "exec", dont_inherit=True), module.__dict__)  # noqa: S102

    def _path_of(self, fullname: str) -> str:
        spec = self.find_spec(fullname)
        if spec is None or spec.origin is None:
            raise ImportError(fullname)
        return spec.origin.removeprefix(SHOWN)


def _is_installed(name: str) -> bool:
    """Return whether a folder without `__init__.py` would hide a module, which Python prefers to such folders."""
    if "." in name:
        return False
    found = importlib.machinery.PathFinder.find_spec(name)
    return name in sys.builtin_module_names or (found is not None and found.loader is not None)


@contextlib.contextmanager
def importable(model: OwnModel) -> Iterator[None]:
    """Let imports inside the context find the modules of a model's source, in place of others of the same names.

    Afterwards `sys.modules` is as before, so that a notebook's own `import my_models` is not affected. Imports of these
    modules in `forward` therefore fail; the check before a sweep tells.
    """
    files = {path: text for path, text in model.code if not path.startswith(DISTRIBUTION)}
    if not files:
        yield
        return
    bases = tuple(dict.fromkeys((model.parsed.base_in(files), "")))
    tops = {
        path.removeprefix(base).partition("/")[0].removesuffix(".py")
        for path in files
        for base in bases
        if path.startswith(base)
    }
    finder = _Finder(files, bases)
    tops = {top for top in tops if finder.find_spec(top) is not None}
    with _lock:
        before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in tops}
        for name in before:
            del sys.modules[name]
        sys.modules.update(_loaded.get(model.digest, {}))
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in tops}
            _loaded[model.digest] = own
            for name in own:
                del sys.modules[name]
            sys.modules.update(before)


@contextlib.contextmanager
def modules_apart(model: OwnModel) -> Iterator[None]:
    """Import the modules of a model's source anew inside the context, and forget them afterwards.

    So what they remember of the meta device, as in an `lru_cache`, does not reach a training.
    """
    with _lock:
        kept = _loaded.pop(model.digest, None)
        try:
            yield
        finally:
            _loaded.pop(model.digest, None)
            if kept is not None:
                _loaded[model.digest] = kept


def load_function(model: OwnModel) -> Callable[..., Any]:
    """Import the factory of an own model; call it inside `importable`.

    Raises:
        OwnCodeError: Its source raises, the function is missing, or a distribution has another version.
    """
    for name, version in model.code:
        if name.startswith(DISTRIBUTION):
            _check_version(name.removeprefix(DISTRIBUTION), version)
    factory = model.parsed
    name = factory.name_in(dict(model.code))
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a script without `if __name__ == "__main__"` may exit
        words = in_words(error, factory.module)
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing:
            words += f"; install {missing}, or import it by a statement if it is a file beside {factory.module}"
        raise OwnCodeError(words) from error
    function = getattr(module, factory.function, None)
    if not callable(function):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        hint = f"; it has {', '.join(known[:5])}" if known else ""
        raise OwnCodeError(f"{factory.module}: expected a function {factory.function}, found none{hint}")
    return function  # type: ignore[no-any-return]


def _check_version(name: str, version: str) -> None:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = "none"
    if found != version:
        raise OwnCodeError(f"expected {name} {version}, found {found}; install {name}=={version}")
