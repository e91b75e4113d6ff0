"""Versions of the software that produced a result."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("hybrid-search", "torch", "ray", "optuna", "mlflow", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that affect a result, by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def public_version(package: str) -> str:
    """Return a package's version without its build label: `2.9.1` for `2.9.1+cu132`."""
    return metadata.version(package).partition("+")[0]


def git_revision() -> str | None:
    """Return the revision of the source tree that this program runs from, with `+changes` if files differ from it.

    Returns:
        The revision; None for an installed package, even inside another repository.
    """
    here = Path(__file__).parent
    try:
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        return f"{head}+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    # By default `git status` locks the index to refresh it, which may disturb other git commands.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
