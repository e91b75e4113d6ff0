"""Convert SQLite file paths to URIs and back. SQLAlchemy decodes a URI's path and ends it at a question mark."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

SQLITE = "sqlite:///"


def sqlite_uri(file: Path) -> str:
    """Return the URI of an SQLite file; `path_of` is the inverse.

    >>> sqlite_uri(Path("/data/50%/mlflow.db"))
    'sqlite:////data/50%25/mlflow.db'
    """
    return SQLITE + re.sub("[%?#]", lambda found: quote(found[0]), str(file))


def path_of(uri: str) -> Path:
    """Return the file of an SQLite URI."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))
