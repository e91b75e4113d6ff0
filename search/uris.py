"""Addresses that may contain a password: only the connecting tool receives it; it is never written or displayed."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""A reference to an environment variable, which may be written and displayed in place of its value."""
_PASSWORD = re.compile(
    r"""(?P<scheme>[A-Za-z][\w+.-]*)://
        (?P<user>[^\s/@:?\#'"]*)
        :(?P<password>[^@\s]*(?:@[^\s/?\#@'"]+)*)@""",
    re.VERBOSE,
)
"""The same interpretation as SQLAlchemy's: a password may contain @ even if it is not percent-encoded."""
_PORT = re.compile(r"\d*[/?#]")
_DATABASES = re.compile(r"postgres|mysql|mariadb|oracle|mssql", re.IGNORECASE)
_KEYS = re.compile(r"(s3|s3a|gs|gcs|oss|r2)$", re.IGNORECASE)
"""Object stores, where the user is the name of a key and useless without the key."""
_QUERY = re.compile(r"\?[^\s'\"<>#]*")
_ODD = re.compile(r"[\s'\"<>#]")
"""Characters that end a query in `redacted`."""
_SECRET_NAME = re.compile(
    r"passw|pwd|secret|token|credential|signature|(access|account|api|private)_?key|^sig$", re.IGNORECASE
)


def redacted(text: str) -> str:
    """Remove the passwords and keys of all addresses in a text; references such as `${NAME}` are kept.

    >>> redacted("postgresql://me:secret@host/db")
    'postgresql://me@host/db'
    """
    return _QUERY.sub(_without_secrets, _PASSWORD.sub(_without_password, text))


def _without_password(found: re.Match[str]) -> str:
    scheme, user, password = found["scheme"], found["user"], found["password"]
    is_port = _PORT.match(password) and not _DATABASES.match(scheme)
    if is_port or _REFERENCE.fullmatch(password):
        return found[0]
    if not user or _KEYS.match(scheme):
        return f"{scheme}://"
    return f"{scheme}://{user}@"


def _without_secrets(found: re.Match[str]) -> str:
    pairs = found[0][1:].split("&")
    kept = [pair for pair in pairs if not _is_secret(*pair.partition("="))]
    if kept == pairs:
        return found[0]
    return "?" + "&".join(kept) if kept else ""


def _is_secret(name: str, _: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) and value and not _REFERENCE.fullmatch(value))


def without_secrets(value: Any) -> Any:  # noqa: ANN401  plain data of any shape
    """Copy plain data with all texts `redacted`."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


class Uri(str):
    """An address with `${NAME}` replaced by environment variables; displayed and stored without secrets.

    Args:
        text: The address as written by the user.
        fill: Whether to replace references to environment variables. False for studies that are only read, as their
            author would otherwise choose which of this user's secrets are sent where.

    Attributes:
        text: The address as written by the user.
        written: The address without passwords, to be displayed and stored.
        filled: Whether references were replaced.
    """

    text: str
    written: str
    filled: bool

    def __new__(cls, text: str, fill: bool = True) -> Uri:
        """Create the address from its text."""
        uri = super().__new__(cls, _fill(text) if fill else text)
        # A path contains no password.
        uri.text, uri.written, uri.filled = text, redacted(text) if "://" in text else text, fill
        return uri

    def __repr__(self) -> str:
        """Return the address without secrets, for records and tracebacks."""
        return repr(self.written)

    def __reduce__(self) -> tuple[type[Uri], tuple[str, bool]]:
        """Pickle the address without secrets; the receiving process uses its own environment."""
        return Uri, (self.written, self.filled)

    def __copy__(self) -> Uri:
        """Return the same object, including secrets: copies stay in this process."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Uri:
        """Return the same object, including secrets: copies stay in this process."""
        return self

    @property
    def holds_secret(self) -> bool:
        """Whether the text contains a password or key, which other processes will not receive."""
        return self.text != self.written

    @property
    def unset(self) -> tuple[str, ...]:
        """Environment variables that the address refers to and that are not set."""
        return tuple(name for name in _REFERENCE.findall(self.written) if name not in os.environ)

    @property
    def withheld(self) -> tuple[str, ...]:
        """Environment variables that the address refers to and that were not replaced."""
        return () if self.filled else tuple(_REFERENCE.findall(self.written))


def _fill(text: str) -> str:
    # Percent-encoded, as the value of a password or option may contain any character.
    filled = re.sub(
        rf"(?<=:){_REFERENCE.pattern}(?=@)|(?<==){_REFERENCE.pattern}(?=&|$)",
        lambda found: _quoted(found[1] or found[2]) or found[0],
        text,
    )
    return _REFERENCE.sub(lambda found: os.environ.get(found[1], found[0]), filled)


def _quoted(name: str) -> str | None:
    return quote(os.environ[name], safe="") if name in os.environ else None


def fault_of(uri: str) -> str | None:
    """Return the fault of an address as written, or None; the message contains no possible password."""
    text = uri.text if isinstance(uri, Uri) else uri
    odd = sorted(set(_ODD.findall(text.partition("?")[2])))
    if not odd:
        return None
    return (
        f"after ?, expected {' '.join(odd)} to be percent-encoded; write "
        f"{', '.join(quote(one, safe='') for one in odd)}"
    )


def withheld_fault(path: str, uri: str | None) -> str | None:
    """Return why an address cannot be used by a command that was given a study's folder, or None."""
    if not isinstance(uri, Uri) or not uri.withheld:
        return None
    names = " and ".join(f"${{{name}}}" for name in dict.fromkeys(uri.withheld))
    return (
        f"{path}: refers to {names}, and environment variables are not used for a study that is given by its folder, "
        "because others may have written that file; give the study file that started it, or the whole address with "
        f"--set {path}=..."
    )
