"""Print what CHANGELOG.md says of a release: `python docs/release_notes.py 0.2.0`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(version: str, *, root: Path = ROOT) -> str:
    """Return the section of a version, without its heading.

    Args:
        version: `X.Y.Z`.
        root: Folder of `pyproject.toml` and `CHANGELOG.md`.

    Raises:
        ValueError: It is not the version of `pyproject.toml`, or the CHANGELOG has nothing on it.
    """
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if version != declared:
        raise ValueError(f"pyproject.toml has version {declared}, not {version}")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with notes")
    return found[1].strip()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{notes(sys.argv[1])}\n")
    except ValueError as error:
        sys.exit(f"error: {error}")
