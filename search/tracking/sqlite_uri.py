"""SQLite files as URIs, and back: SQLAlchemy decodes the path of a URI, and ends it at a question mark."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

SQLITE = "sqlite:///"


def sqlite_uri(file: Path) -> str:
    """The URI of an SQLite file; `path_of` reads it back.

    >>> sqlite_uri(Path("/data/50%/mlflow.db"))
    'sqlite:////data/50%25/mlflow.db'
    """
    return SQLITE + re.sub("[%?#]", lambda found: quote(found[0]), str(file))


def path_of(uri: str) -> Path:
    """The file behind an SQLite URI."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))
