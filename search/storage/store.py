"""Read and write whole files on an object store or another file system supported by pyarrow or fsspec."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from search.errors import StoreAwayError, StoreError
from search.storage.location import join, options_of, shown, with_options
from search.text.names import is_relative_path

Stamp = tuple[int | None, int]
"""Modification time of a file (nanoseconds; None if the file system does not provide it) and its size in bytes."""

NUM_THREADS = 12
"""Number of concurrent requests; most of the time of a request is latency."""
_S3_OPTIONS = {"region", "scheme", "endpoint_override", "tls_ca_file_path", "force_virtual_addressing", "role_arn"}
_WHOLE_WRITES = {"s3", "gcs", "abfs"}
"""File systems whose writes are atomic."""
_REFUSALS = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|UNRECOGNIZED_CLIENT"
    r"|\b40[13]\b|[Cc]redential|[Ff]orbidden|PERMISSION_DENIED"
)


class Store:
    """Files below a URI. Thread-safe.

    All methods raise StoreError if the store refuses access, and StoreAwayError if it cannot be reached.

    Args:
        uri: `s3://bucket/prefix?endpoint_override=host:port&scheme=http`, `gs://...`, `file:///...` or any other URI
            that pyarrow or fsspec supports. Credentials are part of the URI or of the environment.

    Raises:
        StoreError: The URI is not supported.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        base, _, rest = uri.partition("://")
        host, _, path = rest.partition("?")[0].partition("/")
        with _translated(uri):
            self._fs, root = _open(with_options(f"{base}://{host}", options_of(uri)))
        self._root = f"{root.rstrip('/')}/{unquote(path).strip('/')}".rstrip("/")

    def below(self, *names: str) -> Store:
        """Return the store of a subfolder."""
        return Store(join(self.uri, *names))

    def __str__(self) -> str:
        """Return the URI for display, without credentials."""
        return shown(self.uri)

    def check(self) -> None:
        """Check that the store exists and is readable.

        Raises:
            StoreError: The bucket does not exist, or access is refused.
            StoreAwayError: The store cannot be reached.
        """
        bucket = self._root.partition("/")[0]
        with _translated(self.uri):
            is_new = not _is_there(self._fs.get_file_info(self._root))
            if is_new and self._fs.type_name in _WHOLE_WRITES and not _is_there(self._fs.get_file_info(bucket)):
                raise StoreError(f"{self}: expected the bucket {bucket}, found none; create it, or correct its name")

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it does not exist."""
        with _translated(self.uri), contextlib.suppress(FileNotFoundError), self._stream(name) as stream:
            content: bytes = stream.read()
            return content
        return None

    def _stream(self, name: str) -> Any:  # noqa: ANN401  pyarrow has no types
        return self._fs.open_input_stream(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        path = self._path(name)
        folder, _, file = path.rpartition("/")
        with _translated(self.uri):
            if self._fs.type_name in _WHOLE_WRITES:
                self._put(path, content)
                return
            self._fs.create_dir(folder, recursive=True)
            temporary = f"{folder}/.{file}.{uuid.uuid4().hex[:8]}"
            self._put(temporary, content)
            self._fs.move(temporary, path)

    def _put(self, path: str, content: bytes) -> None:
        with self._fs.open_output_stream(path) as stream:
            stream.write(content)

    def list(self, under: str = "") -> dict[str, Stamp]:
        """Return the stamps of all files below a folder, without hidden files."""
        from pyarrow.fs import FileSelector

        root = self._path(under) if under else self._root
        with _translated(self.uri):
            found = self._fs.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
        names = {item.path.strip("/").removeprefix(self._root.strip("/")).strip("/"): item for item in found}
        files = {name: item for name, item in names.items() if item.is_file}
        odd = next((name for name in files if not is_relative_path(name)), None)
        if odd is not None:
            raise StoreError(f"{self}: expected names of files below it, found {odd!r}; remove that file")
        return {
            name: (item.mtime_ns, item.size)
            for name, item in files.items()
            if not name.rpartition("/")[2].startswith(".")
        }

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders directly below, without hidden ones."""
        from pyarrow.fs import FileSelector, FileType

        with _translated(self.uri):
            found = self._fs.get_file_info(FileSelector(self._root, recursive=False, allow_not_found=True))
        names = [item.path.rstrip("/").rpartition("/")[2] for item in found if item.type == FileType.Directory]
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def copy_all(self, names: Mapping[str, str]) -> None:
        """Copy many files concurrently, each to its new name, without downloading them."""

        def copy(name: str) -> None:
            target = self._path(names[name])
            with _translated(self.uri):
                if self._fs.type_name not in _WHOLE_WRITES:
                    self._fs.create_dir(target.rpartition("/")[0], recursive=True)
                self._fs.copy_file(self._path(name), target)

        _at_once(copy, names)

    def stamps(self, names: Iterable[str]) -> dict[str, Stamp]:
        """Return the stamps of the given files; missing files are left out."""
        wanted = list(names)
        if not wanted:
            return {}
        with _translated(self.uri):
            found = self._fs.get_file_info([self._path(name) for name in wanted])
        return {name: (item.mtime_ns, item.size) for name, item in zip(wanted, found, strict=True) if _is_there(item)}

    def delete(self, name: str) -> None:
        """Delete a file, or a folder if the name ends with /; does nothing if it does not exist."""
        with _translated(self.uri), contextlib.suppress(FileNotFoundError):
            if name.endswith("/"):
                self._fs.delete_dir(self._path(name))
            else:
                self._fs.delete_file(self._path(name))

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield the names and contents of many files, read concurrently; None for missing files."""
        wanted = list(names)
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            yield from zip(wanted, pool.map(self.read, wanted), strict=True)

    def write_all(self, contents: dict[str, bytes]) -> None:
        """Write many files concurrently."""
        _at_once(lambda name: self.write(name, contents[name]), contents)

    def delete_all(self, names: Iterable[str]) -> None:
        """Delete many files and folders concurrently."""
        _at_once(self.delete, names)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name.strip('/')}"


def _at_once(act: Any, names: Iterable[str]) -> None:  # noqa: ANN401
    wanted = list(names)
    if len(wanted) < 2:
        for name in wanted:
            act(name)
        return
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for _ in pool.map(act, wanted):
            pass


def _is_there(info: Any) -> bool:  # noqa: ANN401
    from pyarrow.fs import FileType

    return bool(info.type != FileType.NotFound)


@functools.lru_cache(maxsize=16)
def _open(uri: str) -> tuple[Any, str]:
    """Connect to a file system, once per process and URI."""
    import pyarrow
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    scheme = uri.partition("://")[0]
    if scheme == "s3":
        return _open_s3(uri)
    if scheme == "gs":  # the default is 15 minutes
        uri = with_options(uri, {"retry_limit_seconds": "5", **options_of(uri)})
    try:
        file_system, root = FileSystem.from_uri(uri if "?" in uri else f"{uri}/")
    except pyarrow.ArrowInvalid as error:
        if "Unrecognized filesystem" not in str(error) or options_of(uri):
            raise
    else:
        return file_system, root
    import fsspec

    file_system, root = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    return PyFileSystem(FSSpecHandler(file_system)), root


def _open_s3(uri: str) -> tuple[Any, str]:
    """Open S3 as pyarrow does for the URI, but with short timeouts: by default, a hanging server blocks for minutes."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    options: dict[str, Any] = {
        name: {"true": True, "false": False}.get(value, value) for name, value in options_of(uri).items()
    }
    if unknown := sorted(options.keys() - _S3_OPTIONS):
        raise ValueError(f"unknown option {unknown[0]}; known are {', '.join(sorted(_S3_OPTIONS))}")
    user, _, bucket = uri.partition("?")[0].partition("://")[2].rpartition("@")
    if not bucket:
        raise ValueError("expected s3://bucket/prefix, found no bucket")
    if user:
        name, _, password = user.partition(":")
        options |= {"access_key": unquote(name), "secret_key": unquote(password)}
    if not {"region", "endpoint_override"} & options.keys() and not os.environ.get("AWS_REGION"):
        options["region"] = os.environ.get("AWS_DEFAULT_REGION") or resolve_s3_region(bucket)
    patience = {
        "connect_timeout": 3,
        "request_timeout": 5,
        "retry_strategy": AwsStandardS3RetryStrategy(max_attempts=2),
    }
    # Delayed opening writes a small file with one request instead of three.
    return S3FileSystem(allow_delayed_open=True, **patience, **options), bucket


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Convert the errors of all file systems to StoreError or StoreAwayError."""
    try:
        yield
    except (StoreError, StoreAwayError):
        raise
    except Exception as error:  # noqa: BLE001  the file systems of fsspec raise errors of their own libraries
        lines = str(error).splitlines() or [type(error).__name__]
        reason = re.sub(r"^When .*?: (AWS Error )?|\s*\(Request ID: .*?\)", "", lines[0]).strip()
        refused = isinstance(error, PermissionError | ValueError | NotImplementedError | ImportError)
        if refused or _REFUSALS.search(reason):
            raise StoreError(
                f"{shown(uri)}: refused ({reason}); correct the address, the bucket or the credentials"
            ) from None
        raise StoreAwayError(
            f"{shown(uri)}: unreachable ({reason}); run the same command again when it is reachable"
        ) from None
