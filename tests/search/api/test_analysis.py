from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import search
from search.analysis.options import Options
from search.analysis.run import analyze
from search.errors import InputError

SCORES = np.array([[0.90, 0.95], [0.91, 0.96], [0.89, 0.955], [0.90, 0.95], [0.92, 0.97], [0.91, 0.955]])


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two configurations on six seeds."""
    rows = [(name, seed, SCORES[seed, at]) for seed in range(6) for at, name in enumerate(("small", "large"))]
    return pd.DataFrame(rows, columns=["model", "seed", "accuracy"], index=range(100, 112))


def test_frame_array_and_file_have_the_same_verdicts(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "results.csv", index=False)
    by_file = analyze(tmp_path / "results.csv", Options())
    by_frame = search.analyze(frame, tell=lambda _: None)
    by_array = search.analyze(SCORES, names=["small", "large"], tell=lambda _: None)
    assert by_frame.comparisons == by_file.comparisons
    assert by_frame.data["comparisons"] == by_file.document["comparisons"]
    assert by_array.comparisons == by_file.comparisons
    assert by_array.comparisons[0].estimate == pytest.approx(float(np.mean(SCORES[:, 0] - SCORES[:, 1])))


def test_options_are_those_of_the_command(frame: pd.DataFrame) -> None:
    told: list[str] = []
    found = search.analyze(frame, rope=0.2, score="accuracy", ratio=3 / 7, tell=told.append)
    assert found.data["declared"]["rope"] == 0.2
    assert found.data["declared"]["ratio"] == pytest.approx(3 / 7)
    assert "config = model" in told[0]


def test_missing_cells_and_types_are_read(frame: pd.DataFrame) -> None:
    frame["model"] = frame["model"].astype("category")
    frame["seed"] = frame["seed"].astype("Int64")
    frame.loc[100, "accuracy"] = None
    assert search.analyze(frame, tell=lambda _: None).comparisons[0].num_blocks == 5


def test_rows_are_named_by_position(frame: pd.DataFrame) -> None:
    frame["accuracy"] = frame["accuracy"].astype(object)
    frame.iloc[4, 2] = "high"
    with pytest.raises(InputError, match=r"the data frame.*row 4.*high"):
        search.analyze(frame, score="accuracy", tell=lambda _: None)


def test_a_notebook_shows_the_verdicts(frame: pd.DataFrame) -> None:
    shown = search.analyze(frame, tell=lambda _: None)
    assert shown._repr_html_().count("<img") == 1
    assert shown.comparisons[0].sentence in repr(shown)


@pytest.mark.parametrize(
    ("results", "options", "words"),
    [
        (SCORES, {}, "names: expected 2 different names"),
        (SCORES, {"names": ["a", "a"]}, "names: expected 2 different names"),
        (SCORES[0], {"names": ["a"]}, "expected numbers of shape"),
        (SCORES, {"names": ["a", "b"], "config": "c"}, "config: expected none with an array"),
        ([[0.9, 0.8]], {}, "expected a pandas.DataFrame, an array or a path, found list"),
        (pd.DataFrame(), {}, "found no rows"),
        (pd.DataFrame({"a": [1]}), {"names": ["a"]}, "names: expected none beside DataFrame"),
    ],
)
def test_other_input_is_refused(results: object, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        search.analyze(results, **options)  # type: ignore[arg-type]
