"""Suggest studies for a path that does not lead to one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from search.storage.working_copy import JOURNAL, RESOLVED

DEFAULT_STORAGE = "runs"
"""Default storage folder of studies."""
MAX_LOOKED_AT = 1000
"""Maximum number of folder entries to examine."""
MAX_OFFERED = 3


def did_you_mean(path: Path) -> str | None:
    """Suggest nearby studies and study files with similar names, else list nearby studies; None if there are none.

    >>> did_you_mean(Path("digits"))  # doctest: +SKIP
    'did you mean runs/digits?'
    """
    places = dict.fromkeys((path.parent, Path(), Path(DEFAULT_STORAGE), path.parent / DEFAULT_STORAGE))
    found: dict[Path, str] = {}
    for place in places:
        for candidate in _studies(place):
            found.setdefault(candidate, candidate.stem if candidate.suffix in {".yaml", ".yml"} else candidate.name)
    wanted = path.stem if path.suffix in {".yaml", ".yml"} else path.name
    near = dict.fromkeys(difflib.get_close_matches(wanted, list(found.values()), n=MAX_OFFERED, cutoff=0.7))
    offered = [os.path.relpath(candidate) for name in near for candidate, of in found.items() if of == name]
    if offered:
        return f"did you mean {' or '.join(offered[:MAX_OFFERED])}?"
    begun = [os.path.relpath(candidate) for candidate in found if candidate.is_dir()]
    more = f" and {len(begun) - MAX_OFFERED} more" if len(begun) > MAX_OFFERED else ""
    return f"existing studies: {', '.join(begun[:MAX_OFFERED])}{more}" if begun else None


def _studies(place: Path) -> Iterator[Path]:
    """Yield the study files and study folders in a folder."""
    try:
        entries = sorted(entry.name for entry, _ in zip(os.scandir(place), range(MAX_LOOKED_AT), strict=False))
    except OSError:
        return
    for name in entries:
        path = place / name
        if path.suffix in {".yaml", ".yml"} or (path / RESOLVED).is_file() or (path / JOURNAL).is_file():
            yield path
