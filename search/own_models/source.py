"""Find the source of an own model without running it: the files that importing it loads, or its distribution."""

from __future__ import annotations

import ast
import difflib
import importlib.machinery
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from search.errors import StudyError

FIELD = "model.factory"
DISTRIBUTION = "distribution:"
"""Start of the key of an installed distribution, whose version is its value; other keys are paths of files."""
MAX_FILES = 200
MAX_CHARACTERS = 100_000
"""Limit of the source of a study: it is stored in the resolved study file and sent with every job."""
RESERVED = ("search", "spaces", "hybrid_models")
"""This project's own packages."""
_NAME = r"[A-Za-z_]\w*"
_FILE = re.compile(rf"(?P<module>[^:]+\.py):(?P<function>{_NAME})")
_MODULE = re.compile(rf"(?P<module>{_NAME}(\.{_NAME})*):(?P<function>{_NAME})")


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A factory, as a study file names it."""

    module: str
    """Path of a file relative to the study's folder, or dotted name of a module."""
    function: str

    @property
    def is_file(self) -> bool:
        """Whether it is named by its file."""
        return self.module.endswith(".py")

    def base_in(self, files: Mapping[str, str]) -> str:
        """Return the folder from which its module is imported: the first one above its file that is no package."""
        if not self.is_file:
            return ""
        folder = PurePosixPath(self.module).parent
        while str(folder) != "." and f"{folder}/__init__.py" in files:
            folder = folder.parent
        return "" if str(folder) == "." else f"{folder}/"

    def name_in(self, files: Mapping[str, str]) -> str:
        """Return the dotted name by which its module is imported."""
        if not self.is_file:
            return self.module
        path = self.module.removeprefix(self.base_in(files)).removesuffix(".py").removesuffix("/__init__")
        return path.replace("/", ".")


def parse_factory(text: object) -> Factory:
    """Read the name of a factory.

    Raises:
        StudyError: It has another form, or leads out of the study's folder.
    """
    found = (_FILE.fullmatch(text) or _MODULE.fullmatch(text)) if isinstance(text, str) else None
    if found is None:
        raise StudyError(f'{FIELD}: expected "my_models.py:build" or "package.module:build", found {text!r}')
    factory = Factory(module=found["module"], function=found["function"])
    if factory.is_file:
        path = PurePosixPath(factory.module)
        if path.is_absolute() or ".." in path.parts or "\\" in factory.module:
            raise StudyError(
                f"{FIELD}: expected a file below the study file's folder, found {factory.module}; move it there, or "
                "install it as a package"
            )
        factory = Factory(module=str(path), function=factory.function)
    return factory


def collect(text: object, folder: Path) -> dict[str, str]:
    """Return the source of an own model. Nothing is imported or run.

    Args:
        text: The factory, as in the study file.
        folder: The folder of the study file.

    Returns:
        Path -> text of every file below the folder that importing the factory loads; or the key
        `distribution:NAME` with its version, if the factory is installed. A distribution that is installed in
        editable mode, whose files change without its version, gives its files.

    Raises:
        StudyError: A file is missing, is not Python, or hides an installed module; one line per fault.
    """
    factory = parse_factory(text)
    walk = _Walk(folder.absolute())
    if factory.is_file:
        if not (folder / factory.module).is_file():
            there = sorted(path.name for path in folder.glob("*.py"))
            near = difflib.get_close_matches(factory.module, there, n=1) or there[:3]
            hint = f"did you mean {near[0]}?" if near else "there is no .py file in this folder"
            raise StudyError(f"{FIELD}: expected a file, found none at {folder / factory.module}; {hint}")
        walk.add(factory.module)
    elif not walk.add_module(factory.module.split("."), ""):
        return _installed(factory)
    walk.follow(factory)
    return dict(sorted(walk.files.items()))


def _installed(factory: Factory) -> dict[str, str]:
    """Return the distribution of an installed module, or its files if it is installed in editable mode."""
    top = factory.module.partition(".")[0]
    place = _find_installed(factory.module)
    names = metadata.packages_distributions().get(top, [])
    if place is None:
        raise StudyError(
            f"{FIELD}: expected a module, found none named {factory.module}, neither in the study file's folder nor "
            "installed; correct the name, or install its package"
        )
    for name in names:
        distribution = metadata.distribution(name)
        if top in RESERVED or not _is_editable(distribution):
            return {f"{DISTRIBUTION}{distribution.metadata['Name']}": distribution.version}
    walk = _Walk(place)
    if not walk.add_module(factory.module.split("."), ""):
        raise StudyError(f"{FIELD}: expected the source of {factory.module} in {place}, found no .py file")
    walk.follow(factory)
    return dict(sorted(walk.files.items()))


def _find_installed(module: str) -> Path | None:
    """Return the folder on the path that contains a module; None if there is none."""
    top, *rest = module.split(".")
    spec = importlib.machinery.PathFinder.find_spec(top, [item or "." for item in sys.path])
    if spec is None:
        from importlib.util import find_spec

        spec = find_spec(top) if top not in sys.modules else sys.modules[top].__spec__
    if spec is None or (spec.origin is None and spec.submodule_search_locations is None):
        return None
    found, name = spec, top
    for part in rest:
        name = f"{name}.{part}"
        places = found.submodule_search_locations
        inner = None if places is None else importlib.machinery.PathFinder.find_spec(name, list(places))
        if inner is None:
            return None
        found = inner
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin else None


def _is_editable(distribution: metadata.Distribution) -> bool:
    try:
        about = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(about.get("dir_info", {}).get("editable"))


class _Walk:
    """Follows the import statements of files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, str] = {}
        self._waiting: list[str] = []

    def add(self, path: str) -> None:
        """Add a file."""
        if path in self.files:
            return
        place = self._folder / path
        if not place.resolve().is_relative_to(self._folder.resolve()):
            raise StudyError(f"{FIELD}: {path} is a link to {place.resolve()}; expected a file in the folder")
        try:
            text = place.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise StudyError(f"{FIELD}: {path}: expected Python source in UTF-8; save it in UTF-8") from None
        except OSError as error:
            raise StudyError(f"{FIELD}: {path}: cannot be read ({error.strerror})") from None
        self.files[path] = text
        self._waiting.append(path)
        if len(self.files) > MAX_FILES or sum(map(len, self.files.values())) > MAX_CHARACTERS:
            raise StudyError(
                f"{FIELD}: expected at most {MAX_FILES} files with {MAX_CHARACTERS:,} characters together, found more; "
                "import less, or install the rest as a package"
            )

    def add_module(self, parts: list[str], base: str) -> bool:
        """Add the files that `import a.b` loads from a folder; return whether there is one for the whole name."""
        done = False
        for depth in range(1, len(parts) + 1):
            stem = base + "/".join(parts[:depth])
            done = False
            for path in (f"{stem}/__init__.py", f"{stem}.py"):
                if (self._folder / path).is_file():
                    self.add(path)
                    done = True
                    break
        return done

    def follow(self, factory: Factory) -> None:
        """Add what the files import, and check that no file hides an installed module."""
        bases = list(dict.fromkeys((factory.base_in(self._with_packages(factory)), "")))
        while self._waiting:
            path = self._waiting.pop()
            for parts, inside in _imports(path, self.files[path]):
                for base in bases if inside is None else [inside]:
                    self.add_module(parts, base)
        if hidden := sorted(self._hidden(bases)):
            raise StudyError(*(f"{FIELD}: {path} hides the module {name}; rename the file" for path, name in hidden))

    def _with_packages(self, factory: Factory) -> dict[str, str]:
        """Add the `__init__.py` of each package that contains the factory's file."""
        if factory.is_file:
            folder = PurePosixPath(factory.module).parent
            while str(folder) != "." and (self._folder / folder / "__init__.py").is_file():
                self.add(f"{folder}/__init__.py")
                folder = folder.parent
        return self.files

    def _hidden(self, bases: list[str]) -> Iterator[tuple[str, str]]:
        elsewhere = [item for item in sys.path if item and not _is_same(Path(item), self._folder, bases)]
        tops = {path: next(path.removeprefix(base) for base in bases if path.startswith(base)) for path in self.files}
        for path, inner in tops.items():
            name = inner.partition("/")[0].removesuffix(".py")
            if (
                name in sys.stdlib_module_names
                or name in RESERVED
                or importlib.machinery.PathFinder.find_spec(name, elsewhere) is not None
            ):
                yield path, name


def _is_same(place: Path, folder: Path, bases: list[str]) -> bool:
    try:
        return any(place.resolve() == (folder / base).resolve() for base in bases)
    except OSError:
        return False


def _imports(path: str, text: str) -> Iterator[tuple[list[str], str | None]]:
    """Yield the modules that a file imports anywhere: parts of the name, and the folder of a relative import."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise StudyError(f"{FIELD}: {path}:{error.lineno}: {error.msg}; correct the file") from None
    except ValueError as error:  # such as a NUL character
        raise StudyError(f"{FIELD}: {path}: {error}; correct the file") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split("."), None
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            inside = None
            if node.level:
                folder = PurePosixPath(path).parent
                for _ in range(node.level - 1):
                    folder = folder.parent
                inside = "" if str(folder) == "." else f"{folder}/"
            if parts:
                yield parts, inside
            for alias in node.names:
                if alias.name != "*":
                    yield [*parts, alias.name], inside


def outside_modules(files: Mapping[str, str]) -> tuple[str, ...]:
    """Return the top-level modules that files import and that are not among them or in the standard library."""
    own = {part.removesuffix(".py") for path in files for part in PurePosixPath(path).parts}
    found = {
        parts[0]
        for path, text in files.items()
        if not path.startswith(DISTRIBUTION)
        for parts, inside in _imports(path, text)
        if inside is None
    }
    return tuple(sorted(found - own - set(sys.stdlib_module_names) - set(RESERVED)))
