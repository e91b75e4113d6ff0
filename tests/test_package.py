"""What is installed: the wheel, its metadata, the version, and what `make` puts into an environment."""

from __future__ import annotations

import email
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

import search
from search.cli.app import app

ROOT = Path(__file__).parents[1]
PACKAGES = ("spaces", "hybrid_models", "search")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Module -> distribution, where the names differ."""


def build(root: Path, folder: Path) -> Path:
    """Build the wheel in this process, without an environment of its own."""
    return Path(next(WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"])))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    files = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.*")}
    files = {file for file in files if "__pycache__" not in file}
    of_packages = {name for name in names(wheel) if ".dist-info/" not in name}
    assert of_packages == files
    assert {"spaces/papers/ecrnn.yaml", "spaces/studies/demo.yaml", "search/report/style.css"} <= of_packages
    assert {f"{name}/py.typed" for name in PACKAGES} <= of_packages


def test_the_metadata_of_the_wheel(wheel: Path) -> None:
    (info,) = {name.partition("/")[0] for name in names(wheel) if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in names(wheel)
    read = zipfile.ZipFile(wheel).read
    assert read(f"{info}/entry_points.txt").decode().strip() == "[console_scripts]\nhybrid-search = search.cli:main"
    fields = email.message_from_bytes(read(f"{info}/METADATA"))
    assert fields["Version"] == PROJECT["version"]
    assert set(fields.get_all("Provides-Extra")) == {"cluster", "dev", "docs", "onnx", "timm", "wandb"}
    assert fields.get_payload(decode=True).startswith(b"# hybrid-search\n")


def test_the_image_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    for source in " ".join(copied).split():
        if "*" not in source:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, tmp_path / source)
    ours = {name for name in names(build(tmp_path, tmp_path / "dist")) if "__pycache__" not in name}
    assert ours == names(wheel)


def test_every_version_is_that_of_pyproject() -> None:
    version = PROJECT["version"]
    shown = CliRunner().invoke(app, ["--version"]).stdout
    assert shown == f"hybrid-search {version}\n", "installed before the version changed; run `make test`"
    assert search.__version__ == version
    released = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert version in released[:1] or not released


def test_the_notes_of_a_release_are_those_of_the_changelog(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("release_notes", ROOT / "docs" / "release_notes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text('project = {version = "0.2.0"}')
    log = tmp_path / "CHANGELOG.md"
    log.write_text(
        "# C\n\n## [Unreleased]\n\n- a\n\n## [0.2.0] - 2030-01-31\n\n### Added\n\n- b\n\n## [0.1.0] - 2029-01-01\n- c\n"
    )
    assert module.notes("0.2.0", root=tmp_path) == "### Added\n\n- b"
    with pytest.raises(ValueError, match=r"pyproject.toml has version 0.2.0, not 0.1.0"):
        module.notes("0.1.0", root=tmp_path)
    log.write_text("# C\n\n## [Unreleased]\n\n- b\n")
    with pytest.raises(ValueError, match=r"CHANGELOG.md has no section `## \[0.2.0\] - YYYY-MM-DD` with notes"):
        module.notes("0.2.0", root=tmp_path)


def imported(package: Path) -> set[str]:
    """Return the first names of all modules that a package imports, also inside functions."""
    line = re.compile(r"^ *(?:from (\w+)[\w.]* import |import (\w+)[\w.]*(?: as \w+)?$)", re.M)
    return {a or b for file in package.rglob("*.py") for a, b in line.findall(file.read_text(encoding="utf-8"))}


def test_all_that_is_imported_is_declared() -> None:
    """What runs in the tests' environment also runs where the tests' packages are not installed."""
    of_users = [*PROJECT["dependencies"], *(item for name, extra in EXTRAS.items() if name != "dev" for item in extra)]
    declared = {canonicalize_name(Requirement(item).name) for item in of_users}
    found = set().union(*(imported(ROOT / package) for package in PACKAGES)) - {*sys.stdlib_module_names, *PACKAGES}
    assert found >= {"torch", "ray", "optuna", "mlflow", "yaml"}
    assert {DISTRIBUTIONS.get(name, canonicalize_name(name)) for name in found} <= declared


def test_the_lock_has_every_declared_package() -> None:
    locked = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, _, version = line.partition(" ")[0].partition("==")
        locked.setdefault(name, []).append(version)
    for item in [*PROJECT["dependencies"], *(item for extra in EXTRAS.values() for item in extra)]:
        requirement = Requirement(item)
        if requirement.name != PROJECT["name"]:
            versions = locked[canonicalize_name(requirement.name)]
            assert all(version in requirement.specifier for version in versions), item


def make(target: str, folder: Path, *, uv: str | None) -> list[str]:
    """Run a target of the Makefile with programs that only record their arguments; return these.

    Args:
        target: Name of the target.
        folder: An empty folder.
        uv: Shell commands of the `uv` on the PATH; None for no uv.
    """
    shown, record = folder / "shown", '#!/bin/sh\necho "$(basename "$0") $*" >> "$SHOWN"\n'
    programs = {folder / "python3": record} | ({folder / "uv": record + uv} if uv is not None else {})
    for name in ("python", "hybrid-search", "ruff", "mypy", "lint-imports"):
        programs[folder / "venv" / "bin" / name] = record
    for path, text in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "SHOWN": str(shown)}
    command = ["make", "--silent", "--directory", str(ROOT), f"VENV={folder / 'venv'}", target]
    for _ in range(2):  # the second time, nothing is installed
        subprocess.run(command, env=environment, check=True, capture_output=True)
    return [line.replace(str(folder), "") for line in shown.read_text().splitlines()]


@pytest.mark.skipif(shutil.which("uv", path="/usr/bin:/bin") is not None, reason="uv is among the system's programs")
def test_make_installs_the_tests_for_the_tests_only(tmp_path: Path) -> None:
    pip = "python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable"
    begin = ["python3 -m venv /venv"]
    demo = make("demo", tmp_path / "demo", uv=None)
    assert demo == [*begin, f"{pip} .", "hybrid-search demo", "hybrid-search demo"]
    lint = make("lint", tmp_path / "lint", uv=None)
    assert [line for line in lint if "install" in line] == [f"{pip} .[dev]"]
    after = make("demo", tmp_path / "lint", uv=None)[len(lint) :]
    assert after == ["hybrid-search demo"] * 2, "the tests' environment has all that running needs"


def test_uv_takes_torch_of_the_machine_or_else_of_the_index(tmp_path: Path) -> None:
    uv = "uv pip install --quiet --python /venv/bin/python --constraints requirements.lock --editable ."
    first = [
        "uv venv --quiet --allow-existing --python >=3.11,<3.13 /venv",
        f"{uv} --torch-backend=auto",
    ]
    run = ["hybrid-search demo"] * 2
    assert make("demo", tmp_path / "there", uv="") == [*first, *run]
    refused = 'case "$*" in *--torch-backend*) exit 2 ;; esac\n'
    assert make("demo", tmp_path / "away", uv=refused) == [*first, uv, *run]


GUARD = """
import os, sys

def watch(event, args):
    if event in ("open", "os.listdir", "os.scandir") and args and isinstance(args[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(args[0]))
        if path.startswith({root!r}) and not path.startswith({allowed!r}):
            file = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(file, (path + "\\n").encode())
            os.close(file)

sys.addaudithook(watch)
"""
"""A module that records what a process opens in the repository."""

STUDY = """
name: tiny
data: {name: digits}
space: ecrnn
fix: {rnn: bilstm}
train: {epochs: 1, batch: 64}
search: {trials: 2, enqueue: [ecrnn/crnn-bilstm-16]}
resources: {cpus: 1}
"""


@pytest.mark.slow
def test_a_built_wheel_runs_where_the_repository_is_not(tmp_path: Path) -> None:
    """`python -m build`, an environment of its own, and the first commands; dependencies are those of this one."""
    dist, env, log = tmp_path / "dist", tmp_path / "env", tmp_path / "opened"
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT], check=True)
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    assert tops >= {*PACKAGES, "tests", "docs", "bench", "docker", "Makefile", "requirements.lock", "LICENSE"}
    (wheel,) = dist.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", env], check=True)
    subprocess.run([env / "bin" / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    (site,) = env.glob("lib/python*/site-packages")
    dependencies = tuple(path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"})
    (site / "guard.py").write_text(GUARD.format(root=f"{ROOT}/", allowed=dependencies, log=str(log)))
    (site / "dependencies.pth").write_text("\n".join([*dependencies, "import guard", ""]))

    work = tmp_path / "work"
    work.mkdir()
    (work / "study.yaml").write_text(STUDY)
    kept = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*command: str) -> str:
        done = subprocess.run(
            [env / "bin" / command[0], *command[1:]], cwd=work, env=kept, capture_output=True, text=True, timeout=600,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("python", "-c", f"open({str(ROOT / 'README.md')!r})")
    assert log.read_text() == f"{ROOT / 'README.md'}\n", "the guard sees what is opened"
    log.unlink()

    assert run("hybrid-search", "--version") == f"hybrid-search {PROJECT['version']}\n"
    assert "ecrnn/cnn" in run("hybrid-search", "models")
    run("hybrid-search", "plan", "study.yaml")
    run("hybrid-search", "sweep", "study.yaml")
    assert '"completed": 2' in run("hybrid-search", "status", "study.yaml", "--json")
    run("hybrid-search", "report", "study.yaml")
    places = run(
        "python", "-c", "import search, spaces, hybrid_models as m; print(search.__file__, spaces.__file__, m.__file__)"
    )
    assert all(Path(place).is_relative_to(site) for place in places.split())
    assert not log.exists(), log.read_text()
