"""The journal on an object store, which supports no appending: segments named by their byte range.

Segment `000000000004711-000000000004800-1f3a9c0b.jsonl` holds bytes 4711 up to but excluding 4800 of the journal; the
last part of the name identifies the writer. Two writers therefore never overwrite each other, and a delayed request
never overwrites a longer segment. Merged segments are written before the segments they replace are deleted, so
overlapping segments must have equal content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.errors import StoreError
from search.storage.store import Store

MAX_SEGMENTS = 64
"""Maximum number of segments, of which each takes one request to read; more are merged."""


@dataclass(frozen=True, order=True)
class Segment:
    """A part of the journal: bytes from `start` up to `end`, excluding `end`."""

    start: int
    end: int
    name: str


class Segments:
    """Reads and writes the segments of a journal. Call `look` before `read`.

    Args:
        store: Folder of the segments.
        writer: Identifies this process.
    """

    def __init__(self, store: Store, writer: str) -> None:
        self._store, self._writer = store, writer
        self._known: list[Segment] = []

    def refresh(self) -> int:
        """List the segments.

        Returns:
            Length of the journal in bytes.
        """
        found = []
        for name, (_, size) in self._store.list().items():
            start = name.partition("-")[0]
            if start.isdigit() and size:
                found.append(Segment(int(start), int(start) + size, name))
        self._known = sorted(found)
        return max((item.end for item in found), default=0)

    def read(self, start: int) -> bytes:
        """Return the journal from a byte on, as of the last `look`.

        Raises:
            StoreError: A part is missing, or two writers wrote different content.
        """
        for attempts_left in (2, 1, 0):
            try:
                return self._read(start)
            except StoreError:
                if not attempts_left:
                    raise
                self.refresh()  # the driver may have merged segments meanwhile
        raise AssertionError

    def _read(self, start: int) -> bytes:
        wanted = [item for item in self._known if item.end > start]
        content = b""
        for item, (_, part) in zip(wanted, self._store.read_all(item.name for item in wanted), strict=True):
            at = start + len(content)
            if part is None or len(part) != item.end - item.start or item.start > at:
                raise StoreError(
                    f"{self._store}: expected the journal's bytes from {at} on, found none; restore the missing "
                    "segment, or continue from a complete working copy"
                )
            seen = content[max(item.start - start, 0) :]
            new = part[max(start - item.start, 0) :]
            if new[: len(seen)] != seen[: len(new)]:
                raise StoreError(
                    f"{self._store}/{item.name}: expected a continuation of the segments before it, found something "
                    "else: two commands wrote this study; move the segments of one of them away"
                )
            content += new[len(seen) :]
        return content

    def append(self, start: int, content: bytes) -> None:
        """Write the next part of the journal as a segment."""
        self._known.append(self._write(start, content))

    def merge(self, journal: Path) -> None:
        """Replace the last segments by one if there are too many; each byte is rewritten only a few times.

        Args:
            journal: The local file with the whole journal.
        """
        if len(self._known) <= MAX_SEGMENTS:
            return
        first = _first_to_merge(self._known)
        old = self._known[first:]
        start, end = old[0].start, max(item.end for item in old)
        with journal.open("rb") as stream:
            stream.seek(start)
            merged = self._write(start, stream.read(end - start))
        self._store.delete_all(item.name for item in old if item.name != merged.name)
        self._known = [*self._known[:first], merged]

    def _write(self, start: int, content: bytes) -> Segment:
        end = start + len(content)
        name = f"{start:015d}-{end:015d}-{self._writer}.jsonl"
        self._store.write(name, content)
        return Segment(start, end, name)


def _first_to_merge(segments: Sequence[Segment]) -> int:
    """Return the index of the first segment to merge: the last half, and earlier ones no longer than all after them."""
    first = len(segments) - MAX_SEGMENTS // 2
    while first and segments[first - 1].end - segments[first - 1].start <= segments[-1].end - segments[first].start:
        first -= 1
    return first
