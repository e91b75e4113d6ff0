"""Which software and which revision produced a result."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("hybrid-search", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of Python and of what a result depends on; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def public_version(package: str) -> str:
    """A version as a package index knows it: without the label of a build, as in `2.9.1+cu132`."""
    return metadata.version(package).partition("+")[0]


def git_revision() -> str | None:
    """Revision of the source tree that this program runs from, with `+changes` if files differ from it.

    None for an installed package, even if it is installed below somebody's repository.
    """
    here = Path(__file__).parent
    try:
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        return f"{head}+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    # `status` would lock the index of the repository to refresh it, in which somebody may be at work.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
