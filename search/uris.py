"""Addresses that may hold a password: it reaches the tool that connects, and nothing that is written or shown."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""A variable of the environment: where it is written, its value is not."""
_PASSWORD = re.compile(
    r"""(?P<scheme>[A-Za-z][\w+.-]*)://
        (?P<user>[^\s/@:?\#'"]*)
        :(?P<password>[^@\s]*(?:@[^\s/?\#@'"]+)*)@""",
    re.VERBOSE,
)
"""As SQLAlchemy reads it: a password that should have been percent-encoded ends no sooner than the first @."""
_PORT = re.compile(r"\d*[/?#]")
_DATABASES = re.compile(r"postgres|mysql|mariadb|oracle|mssql", re.IGNORECASE)
_KEYS = re.compile(r"(s3|s3a|gs|gcs|oss|r2)$", re.IGNORECASE)
"""Object stores, where the user is the key's name and of no use without the key."""
_QUERY = re.compile(r"\?[^\s'\"<>#]*")
_ODD = re.compile(r"[\s'\"<>#]")
"""What ends a query, as `redacted` looks for one in any text."""
_SECRET_NAME = re.compile(
    r"passw|pwd|secret|token|credential|signature|(access|account|api|private)_?key|^sig$", re.IGNORECASE
)


def redacted(text: str) -> str:
    """A text without the passwords and keys of the addresses in it; an address stays usable with them set elsewhere.

    `${NAME}` stays: it says where the password is, not what it is.
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
    """Copy plain data, every text in it `redacted`."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


class Uri(str):
    """An address as tools take it, with `${NAME}` filled in from the environment; shown and stored it has no secret.

    Args:
        text: As the user wrote it.
        fill: Whether variables of the environment are filled in. They are not for a study that is only looked at:
            whoever wrote its file would choose which of this user's secrets are sent where.

    Attributes:
        text: As the user wrote it.
        written: What may be shown and stored: the same without a password.
        filled: Whether variables were filled in.
    """

    text: str
    written: str
    filled: bool

    def __new__(cls, text: str, fill: bool = True) -> Uri:
        """Fill in and keep what was written."""
        uri = super().__new__(cls, _fill(text) if fill else text)
        # A path is no address: nothing in it is a password.
        uri.text, uri.written, uri.filled = text, redacted(text) if "://" in text else text, fill
        return uri

    def __repr__(self) -> str:
        """Shown in records and tracebacks."""
        return repr(self.written)

    def __reduce__(self) -> tuple[type[Uri], tuple[str, bool]]:
        """Travel as it is written: another process fills it in from its own environment."""
        return Uri, (self.written, self.filled)

    def __copy__(self) -> Uri:
        """Keep the password: copies do not leave."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Uri:
        """Keep the password: copies do not leave."""
        return self

    @property
    def holds_secret(self) -> bool:
        """Whether a password or key is written out in it, which no other process will hear of."""
        return self.text != self.written

    @property
    def unset(self) -> tuple[str, ...]:
        """Variables of the environment that it names and that are not set."""
        return tuple(name for name in _REFERENCE.findall(self.written) if name not in os.environ)

    @property
    def withheld(self) -> tuple[str, ...]:
        """Variables of the environment that it names and that were not filled in."""
        return () if self.filled else tuple(_REFERENCE.findall(self.written))


def _fill(text: str) -> str:
    # In the place of a password or of an option's value, a value may hold any character.
    filled = re.sub(
        rf"(?<=:){_REFERENCE.pattern}(?=@)|(?<==){_REFERENCE.pattern}(?=&|$)",
        lambda found: _quoted(found[1] or found[2]) or found[0],
        text,
    )
    return _REFERENCE.sub(lambda found: os.environ.get(found[1], found[0]), filled)


def _quoted(name: str) -> str | None:
    return quote(os.environ[name], safe="") if name in os.environ else None


def fault_of(uri: str) -> str | None:
    """What is wrong with an address as it is written, without a word of what may be a password."""
    text = uri.text if isinstance(uri, Uri) else uri
    odd = sorted(set(_ODD.findall(text.partition("?")[2])))
    if not odd:
        return None
    return f"after ?, expected no {' '.join(odd)} as it is; write {', '.join(quote(one, safe='') for one in odd)}"


def withheld_fault(path: str, uri: str | None) -> str | None:
    """Why an address cannot be used by a command that was given a study's folder, if it names variables."""
    if not isinstance(uri, Uri) or not uri.withheld:
        return None
    names = " and ".join(f"${{{name}}}" for name in dict.fromkeys(uri.withheld))
    return (
        f"{path}: names {names}, and nothing of the environment is filled in for a study given by its folder, which "
        f"others may have written; give the study file that began it, or the whole address with --set {path}=..."
    )
