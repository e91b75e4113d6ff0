"""WordNet identifiers (n01443537) in words (goldfish), where a data set brings the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from search.data.files import read_lines


def read_words(lists: Iterable[Path], wnids: Iterable[str]) -> dict[str, str]:
    """Say what each identifier means: the first of its synonyms, or itself where no list has it.

    Two identifiers of the same word (crane the bird, crane the machine) keep their identifiers beside it.

    Args:
        lists: Files with one identifier and its synonyms, separated by commas, per line; those that exist are read.
        wnids: The identifiers that are wanted.
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
