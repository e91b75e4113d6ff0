"""Protect Ray from other users: isolate a local cluster, and keep the token of a shared one private."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search.console.messages import warn

MAX_TEMPORARY = 30
"""Maximum length of the temporary folder's path: a Unix socket's path below it has at most 107 characters."""
MAX_CHOSEN = 39
"""Maximum length of RAY_TMPDIR in bytes; Ray adds `/ray/session_<time>_<process>/sockets/plasma_store`."""


@contextlib.contextmanager
def alone() -> Iterator[dict[str, Any]]:
    """Provide options for `ray.init` of a local cluster; call it and shut Ray down inside the context.

    Ray's servers listen on loopback instead of on every interface. Its session folder, which is otherwise writable by
    all users, is inside a folder that only this user can enter, and is deleted at the end. RAY_TMPDIR selects another
    folder, which is kept; if Ray cannot use it, it is ignored with a warning. Since Ray 2.60 a token is required by
    default; the token's file is made readable by this user only.

    Yields:
        Keyword arguments for `ray.init`.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # the public variable is read on import, before this
    options = {"address": "local", "dashboard_host": "127.0.0.1", "_node_ip_address": "127.0.0.1"}
    try:
        with _session_folder() as folder:
            yield options | folder
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _session_folder() -> Iterator[dict[str, str]]:
    chosen = os.environ.get("RAY_TMPDIR")
    if chosen:
        fault = _fault_of(chosen)
        if fault is None:
            yield {}
            return
        warn(f"RAY_TMPDIR is ignored: {chosen} {fault}")
    os.environ.pop("RAY_TMPDIR", None)  # parts of Ray read it again
    place = tempfile.gettempdir() if len(tempfile.gettempdir()) <= MAX_TEMPORARY else "/tmp"  # noqa: S108  fresh below
    with tempfile.TemporaryDirectory(prefix="hs-", dir=place, ignore_cleanup_errors=True) as folder:
        # Ray opens its own folder to all users; the one around it stays private.
        yield {"_temp_dir": str(Path(folder, "ray"))}


def _fault_of(chosen: str) -> str | None:
    """Return why Ray cannot keep its session in a folder; None if it can."""
    length = len(os.fsencode(chosen))
    if length > MAX_CHOSEN:
        return f"has {length} bytes, but Ray's sockets below it allow at most {MAX_CHOSEN}"
    if not Path(chosen).is_absolute():
        return "is not an absolute path"
    try:
        Path(chosen).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=chosen).close()
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return None


def hide_token() -> None:
    """Make Ray's token file readable by this user only: the token allows running code as this user."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    with contextlib.suppress(OSError):
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def asks_for_token() -> bool:
    """Return whether this process, and so the cluster that accepted it, requires a token."""
    from ray._raylet import AuthenticationMode, get_authentication_mode  # type: ignore[attr-defined]

    return bool(get_authentication_mode() == AuthenticationMode.TOKEN)
