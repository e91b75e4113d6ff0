"""A switch in front of a server: passes everything on, answers late, answers 500, or is not there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

SLOW_SECS = 30.0
CHUNK_BYTES = 1 << 16
ERROR = "\r\n".join(
    ("HTTP/1.1 500 Internal Server Error", "Content-Length: 5", "Connection: close", "", "oops\n")
).encode()
MODES = ("pass", "slow", "error", "gone")


class Proxy:
    """Listens on a port of its own from the beginning to the end, or not while it is `gone`.

    Args:
        port: Of the server behind, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._mode = "pass"
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._accept()

    @property
    def uri(self) -> str:
        """Where clients look for the server."""
        return f"http://127.0.0.1:{self.port}"

    def switch(self, mode: str) -> None:
        """Behave otherwise from now on; connections of before are dropped, as by a server that went."""
        assert mode in MODES, f"modes: {', '.join(MODES)}"
        before, self._mode = self._mode, mode
        if mode == "gone":
            _close(self._listener)
        elif before == "gone":
            self._listener = _listen(self.port)
            self._accept()
        self._drop()

    def close(self) -> None:
        """Let go of everything."""
        self._mode = "gone"
        _close(self._listener)
        self._drop()

    def _drop(self) -> None:
        with self._guard:
            dropped, self._open = self._open, set()
        for connection in dropped:
            _close(connection)

    def _accept(self) -> None:
        listener = self._listener

        def run() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:  # closed
                    return
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    @contextlib.contextmanager
    def _held(self, connection: socket.socket) -> Iterator[None]:
        with self._guard:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._guard:
                self._open.discard(connection)
            connection.close()

    def _serve(self, client: socket.socket) -> None:
        with self._held(client), contextlib.suppress(OSError):
            if self._mode == "error":
                client.recv(CHUNK_BYTES)
                client.sendall(ERROR)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(1.0)
                while client.recv(CHUNK_BYTES):
                    pass
            elif self._mode in {"pass", "slow"}:
                server = socket.create_connection(("127.0.0.1", self._behind))
                with self._held(server):
                    back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                    back.start()
                    self._pump(client, server)
                    back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        to_client = source.getpeername()[1] == self._behind
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if to_client and self._mode == "slow":
                    # The server has done what it was asked to; only its answer is late.
                    threading.Event().wait(SLOW_SECS)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in another thread; closing alone does not
    connection.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener
