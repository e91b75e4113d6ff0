"""Names of pairs in MLflow: readable, accepted there, and never the same for two pairs."""

from __future__ import annotations

import re

from search.compare.results import MAX_NAME_CHARS, pair_names


def test_names_of_pairs() -> None:
    assert pair_names([("", "lstm 16 (trial 3)", "ecrnn/cnn"), ("", "gru", "ecrnn/cnn")]) == [
        "lstm 16 trial 3 vs ecrnn:cnn",
        "gru vs ecrnn:cnn",
    ]
    assert pair_names([("one", "a", "b"), ("two", "a", "b"), ("two", "a", "c")]) == [
        "one: a vs b",
        "two: a vs b",
        "a vs c",
    ]


def test_names_that_mlflow_would_merge_are_numbered() -> None:
    names = pair_names([("", "a+b", "c"), ("", "a&b", "c"), *(("", "x" * 300, other) for other in "de")])
    assert names[:2] == ["a_b vs c", "a_b vs c 2"]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[\w.\- :]+", name) and len(name) <= MAX_NAME_CHARS + 3 for name in names)
