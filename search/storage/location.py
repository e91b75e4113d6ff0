"""Locations of studies: a folder, or a URI with the folder of its working copy."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from search.uris import Uri, redacted

ARCHIVE = ".archive"
"""Folder of archived studies in a storage."""
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<options>.*))?$")


@dataclass(frozen=True)
class Location:
    """Where a study is stored.

    Attributes:
        storage: Folder or URI that contains studies.
        name: The study's name.
    """

    storage: str
    name: str

    @property
    def uri(self) -> str | None:
        """The study's URI, including the endpoint set in the environment; None if the storage is a folder."""
        return join(resolved(self.storage), self.name) if is_uri(self.storage) else None

    @property
    def folder(self) -> Path:
        """The study's folder on this machine; for a URI, the working copy."""
        if not is_uri(self.storage):
            return Path(self.storage).expanduser() / self.name
        return state_folder() / digest_of(self.storage) / self.name

    def __str__(self) -> str:
        """Return the location for display, without passwords."""
        return shown(join(self.storage, self.name)) if is_uri(self.storage) else str(self.folder)


def is_uri(text: str) -> bool:
    """Return whether a text is a URI and not a path.

    >>> is_uri("s3://bucket/runs"), is_uri("runs/digits")
    (True, False)
    """
    return bool(_URI.match(text))


def locate(uri: str) -> Location:
    """Return the location of a study from its URI."""
    base, mark, options = uri.partition("?")
    storage, _, name = base.rstrip("/").rpartition("/")
    return Location(Uri(storage + mark + options), name)


def join(uri: str, *names: str) -> str:
    """Append names to a URI; options after ? remain at the end.

    >>> join("s3://bucket/runs?region=eu-west-1", "digits")
    's3://bucket/runs/digits?region=eu-west-1'
    """
    base, mark, options = _text_of(uri).partition("?")
    return _alike("/".join((base.rstrip("/"), *(quote(name) for name in names))) + mark + options, uri)


def unarchived(storage: str) -> str:
    """Return the storage that an archive belongs to; any other storage as it is.

    >>> unarchived("runs/.archive"), unarchived("s3://bucket/runs/.archive?region=eu-west-1"), unarchived("runs")
    ('runs', 's3://bucket/runs?region=eu-west-1', 'runs')
    """
    if not is_uri(storage):
        path = Path(storage)
        return str(path.parent) if path.name == ARCHIVE else storage
    base, mark, options = _text_of(storage).partition("?")
    parent, _, last = base.rstrip("/").rpartition("/")
    return _alike(parent + mark + options, storage) if last == ARCHIVE else storage


def options_of(uri: str) -> dict[str, str]:
    """Return the options of a URI, after ?."""
    return dict(parse_qsl(uri.partition("?")[2]))


def with_options(uri: str, options: dict[str, str]) -> str:
    """Replace the options of a URI."""
    base = _text_of(uri).partition("?")[0]
    return _alike(f"{base}?{urlencode(options, safe=':/${}')}" if options else base, uri)


def _text_of(uri: str) -> str:
    return uri.text if isinstance(uri, Uri) else uri


def _alike(text: str, uri: str) -> str:
    """Keep the type of the original URI, so that a text derived from a `Uri` hides its secrets, too."""
    return Uri(text) if isinstance(uri, Uri) else text


def resolved(uri: str) -> str:
    """Add the S3 endpoint set in the environment to a URI, as other nodes may have another one or none."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    options = options_of(_text_of(uri))
    if not uri.startswith("s3://") or not endpoint or "endpoint_override" in options:
        return uri
    scheme, _, host = endpoint.rpartition("://")
    return with_options(uri, options | {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"})


def bare(uri: str) -> str:
    """Remove user, password and keys from a URI."""
    uri = redacted(uri)
    found = _URI.match(uri)
    if not found or "@" not in found["host"] or found["scheme"].startswith(("abfs", "az")):  # container@account
        return uri
    return uri.replace(f"//{found['host']}", f"//{found['host'].rpartition('@')[2]}", 1)


def shown(uri: str) -> str:
    """Format a URI for display, without credentials and options."""
    return bare(uri.partition("?")[0])


def digest_of(uri: str) -> str:
    """Return a digest that identifies a storage, regardless of credentials and the order of options."""
    options = options_of(resolved(uri))
    which = [shown(uri).rstrip("/"), *(options.get(name, "") for name in ("endpoint_override", "scheme"))]
    return hashlib.sha256("\n".join(which).encode()).hexdigest()[:12]


def state_folder() -> Path:
    """Return the folder of working copies: $HYBRID_SEARCH_STATE, else hybrid-search/ in the user's state folder."""
    chosen = os.environ.get("HYBRID_SEARCH_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser().absolute() / "hybrid-search"
