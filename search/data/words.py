"""Class names (goldfish) of WordNet identifiers (n01443537), read from a data set's list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from search.data.files import read_lines


def read_words(lists: Iterable[Path], wnids: Iterable[str]) -> dict[str, str]:
    """Return the name of each identifier: its first synonym, or the identifier itself if it is not listed.

    Identifiers that share a name (crane the bird, crane the machine) have the identifier appended.

    Args:
        lists: Files with an identifier and its comma-separated synonyms per line; missing files are skipped.
        wnids: The requested identifiers.
    """
    known: dict[str, str] = {}
    for path in lists:
        if path.is_file():
            for line in read_lines(path):
                wnid, _, synonyms = line.strip().replace("\t", " ").partition(" ")
                known[wnid] = synonyms.split(",")[0].strip()
    words = {wnid: known.get(wnid) or wnid for wnid in wnids}
    uses = Counter(words.values())
    return {wnid: word if uses[word] == 1 else f"{word} ({wnid})" for wnid, word in words.items()}
