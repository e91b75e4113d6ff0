"""What keeps others out of Ray: of a cluster for this machine alone entirely, of a shared one with its token."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search.console.messages import warn

MAX_TEMPORARY = 30
"""Characters: what lies below must fit into the 107 of a Unix socket's path."""
MAX_CHOSEN = 39
"""The same for RAY_TMPDIR, in bytes; Ray adds `/ray/session_<time>_<process>/sockets/plasma_store`."""


@contextlib.contextmanager
def alone() -> Iterator[dict[str, Any]]:
    """Options for `ray.init`, to be called and shut down inside.

    Ray's servers listen on loopback instead of on every interface, as they do on macOS; its session, which any user of
    the machine could write to, lies in a folder that only this user enters, and is gone afterwards. RAY_TMPDIR names
    another one, which is kept; where Ray cannot use it, a warning says so and it is ignored. That Ray asks for a token
    is its default since 2.60; the file of the token is made readable for this user only.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # the public way is a variable that is read on import, too early
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
        # Ray opens its own folder to all; the one around it stays shut.
        yield {"_temp_dir": str(Path(folder, "ray"))}


def _fault_of(chosen: str) -> str | None:
    """Why Ray cannot keep its session in a folder, if it cannot."""
    length = len(os.fsencode(chosen))
    if length > MAX_CHOSEN:
        return f"has {length} bytes, and only {MAX_CHOSEN} leave room for the sockets below it"
    if not Path(chosen).is_absolute():
        return "is not an absolute path"
    try:
        Path(chosen).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=chosen).close()
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return None


def hide_token() -> None:
    """Take away everybody else's right to read Ray's token, with which code can be run as this user."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    with contextlib.suppress(OSError):
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def asks_for_token() -> bool:
    """Whether this process, and so the cluster that took it in, speaks only to who has the token."""
    from ray._raylet import AuthenticationMode, get_authentication_mode  # type: ignore[attr-defined]

    return bool(get_authentication_mode() == AuthenticationMode.TOKEN)
