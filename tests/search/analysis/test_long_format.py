"""Tables as people have them: read right, or refused with the rows that a spreadsheet shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search.analysis import csv_file
from search.analysis.faults import rows_in_words, some

HEAD = "config,block,score"
GOOD = ("a,0,0.5", "a,1,0.6", "b,0,0.7", "b,1,0.8")
BITS = "config,block,image,correct"


def test_one_row_per_repeat(read: Any) -> None:
    found = read("score,block,config", "0.5,s1,a", "0.25,s0,b", "1,s0,a", "0,s1,b")
    (results,) = found.results
    assert (results.dataset, results.configs, dict(results.correct)) == ("", ("a", "b"), {})
    assert results.blocks == {"a": ("s1", "s0"), "b": ("s1", "s0")}
    assert {name: scores.tolist() for name, scores in results.scores.items()} == {"a": [0.5, 1.0], "b": [0.0, 0.25]}
    assert found.source["rows"] == 4
    assert found.notes == ()


def test_every_data_set_names_all_configurations(read: Any) -> None:
    found = read(f"dataset,{HEAD}", "x,a,0,0.5", "x,b,0,0.6", "y,a,0,0.7", "y,a,1,0.1")
    assert [item.dataset for item in found.results] == ["x", "y"]
    assert [item.configs for item in found.results] == [("a", "b")] * 2
    assert found.results[1].blocks == {"a": ("0", "1"), "b": ()}
    assert found.notes == (
        "y: some configurations lack blocks: b lacks blocks 0 and 1; each pair is compared on its common blocks",
    )


def test_one_row_per_image_in_any_order(read: Any) -> None:
    rows = [
        f"{config},{block},{image},{(ord(image) + block + (config == 'b')) % 2}"
        for config in "ab"
        for block in range(2)
        for image in "xyz"
    ]
    (results,) = read(BITS, *rows).results
    shuffled = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    (again,) = read(BITS, rows[0], *(row for row in shuffled if row != rows[0])).results
    assert [row.tolist() for row in results.correct["a"]] == [[0, 1, 0], [1, 0, 1]]
    assert [row.tolist() for row in results.correct["b"]] == [[1, 0, 1], [0, 1, 0]]
    assert results.correct["a"][0].dtype == np.uint8
    for config in "ab":
        ours = {block: row.sum() for block, row in zip(again.blocks[config], again.correct[config], strict=True)}
        theirs = {block: row.sum() for block, row in zip(results.blocks[config], results.correct[config], strict=True)}
        assert ours == theirs


def test_what_is_written_otherwise_means_the_same(read: Any) -> None:
    plain = read(HEAD, *GOOD)
    other = read('\ufeff"config", block,score', " a ,0, 5e-1", "", '"a",1,0.60', ",,", "b,0,.7", "b,1,0.8")
    for first, second in zip(plain.results, other.results, strict=True):
        assert first.blocks == second.blocks
        assert {name: scores.tolist() for name, scores in first.scores.items()} == {
            name: scores.tolist() for name, scores in second.scores.items()
        }


def test_rows_keep_their_number_across_empty_lines_and_chunks(write: Any, faults_of: Any, monkeypatch: Any) -> None:
    path = write(HEAD, "a,0,0.5", "", "a,1,2", ",,", *GOOD[2:], "b,2,x")
    for chunk in (1, 2, 3, 200_000):
        monkeypatch.setattr(csv_file, "CHUNK", chunk)
        assert [line.partition(":")[0] for line in faults_of(path)] == ["row 8", "row 4"]


FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "empty": ((), ("expected a line of headings with results below it, found an empty file",)),
    "header only": ((HEAD,), ("expected results below the headings, found none",)),
    "missing column": (
        ("config,blok,score", "a,0,1"),
        ("row 1: expected a column block, found config, blok and score; if you mean blok, add --block-column blok",),
    ),
    "correct without image": (("config,block,correct", "a,0,1"), ("row 1: expected a column image, found",)),
    "image without correct": (
        ("config,block,image", "a,0,1"),
        (
            (
                "row 1: expected a column score, found config, block and image; name it with --score-column, or add "
                "columns"
            ),
        ),
    ),
    "nothing to judge": (
        ("config,block", "a,0"),
        ("expected a column score, found config and block; name it with --score-column, or add columns image and",),
    ),
    "heading twice": (
        (f"{HEAD},score", "a,0,1,1"),
        ("row 1: expected the column score once, found two; remove one",),
    ),
    "failed and diverged": (
        (f"{HEAD},failed,diverged", "a,0,1,1,1"),
        ("row 1: expected the column failed and diverged once",),
    ),
    "per cent": (
        (HEAD, "a,0,91.2", "a,1,92", "b,0,93", "b,1,90.5"),
        (
            "rows 2 to 5: score: expected a number from 0 to 1, found '91.2', '92', '93' and 1 more; scores look like "
            "percent: add --scale 100",
        ),
    ),
    "outside": (
        (HEAD, "a,0,-0.1", *GOOD[1:], "a,2,400"),
        ("rows 2 and 6: score: expected a number from 0 to 1, found '-0.1' and '400'; give accuracies",),
    ),
    "not a number": (
        (HEAD, "a,0,good", *GOOD[1:]),
        ("row 2: score: expected a number from 0 to 1, found 'good'; leave the cell empty",),
    ),
    "decimal comma": ((HEAD, 'a,0,"0,5"', *GOOD[1:]), ("row 2", "found '0,5'; write decimals after a point")),
    "percent sign": ((HEAD, "a,0,50%", *GOOD[1:]), ("found '50%'; remove the percent sign and add --scale 100",)),
    "endless": ((HEAD, "a,0,inf", *GOOD[1:]), ("row 2: score: expected a number from 0 to 1, found 'inf'",)),
    "underscore": ((HEAD, "a,0,1_0", *GOOD[1:]), ("found '1_0'",)),
    "twice": (
        (HEAD, *GOOD, "a,1,0.6"),
        ("rows 3 and 6: config 'a', block '1': expected once, found 2 times; keep one",),
    ),
    "many twice": (
        (HEAD, *(f"{config},{block},0.{block}" for _ in "12" for config in "ab" for block in range(3))),
        ("rows 2 and 8: config 'a', block '0'", "rows 3 and 9", "rows 4 and 10", "3 more occur several times"),
    ),
    "no names": (
        (HEAD, ",0,0.5", "a,,0.5", "b,0,0.5"),
        (
            "row 2: config: expected a printable name, found ''; give it a name",
            "row 3: block: expected a printable name",
        ),
    ),
    "one configuration": (
        (HEAD, *GOOD[:2]),
        ("expected at least two configurations in the column config, found 'a' only; add another",),
    ),
    "ragged": (
        (HEAD, "a,0", *GOOD[1:], "b,2,0,7"),
        (
            "row 2: expected 3 cells as in the header, found 2; put text that contains a comma in quotes",
            "row 6: expected 3 cells as in the header, found 4",
        ),
    ),
    "open quote": (
        (HEAD, 'a,0,"0.5', *GOOD[1:]),
        ("not CSV: unexpected end of data; fix or remove this line",),
    ),
    "bit of another kind": (
        (BITS, "a,0,x,1", "b,0,x,0.9"),
        ("row 3: correct: expected 0 or 1, found '0.9'; use 1 for an image",),
    ),
    "image twice": (
        (BITS, "a,0,x,1", "a,0,y,1", "a,0,x,0", "b,0,x,1", "b,0,y,0"),
        ("rows 2 and 4: config 'a', block '0', image 'x': expected once, found 2 times; keep one",),
    ),
    "image lacking": (
        (BITS, "a,0,x,1", "a,0,y,1", "b,0,x,1"),
        ("row 4: config 'b', block '0': expected all 2 images of the data set, found 1, missing 'y'; add",),
    ),
    "bits lacking": (
        (BITS, "a,0,x,1", "a,0,y,", "b,0,x,1", "b,0,y,1"),
        ("row 3: config 'a', block '0': expected the correctness of all 2 images or of none, found it missing for 1",),
    ),
    "image without a name": (
        (BITS, "a,0,x,1", "a,0,,1", "b,0,x,1"),
        ("row 3: expected the name of an image, found nothing",),
    ),
    "repeat without images beside its images": (
        (BITS, "a,0,x,1", "a,0,,", "b,0,x,1"),
        ("row 3: expected the name of an image, found nothing",),
    ),
    "far outside": (
        (HEAD, "a,0,400", *GOOD[1:]),
        ("row 2: score: expected a number from 0 to 1, found '400'; give accuracies as fractions of 1",),
    ),
    "failed in part": (
        (f"{BITS},failed", "a,0,x,1,1", "a,0,y,1,0", "b,0,x,1,", "b,0,y,1,"),
        ("row 2: config 'a', block '0': expected failed to be the same in all rows of a repeat, found both",),
    ),
    "failed otherwise": (
        (f"{HEAD},failed", "a,0,1,maybe", "b,0,1,0"),
        ("row 2: failed: expected 0 or 1, found 'maybe'",),
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_is_named_with_its_rows(write: Any, faults_of: Any, case: str) -> None:
    lines, words = FAULTS[case]
    faults = faults_of(write(*lines))
    whole = "\n".join(faults)
    for word in words:
        assert word in whole
    starts = [word for word in words if word.startswith("row")]
    assert len(faults) >= len(starts)


def test_all_faults_at_once(write: Any, faults_of: Any) -> None:
    faults = faults_of(write(HEAD, "a,0,1.5", "a,0,0.5", ",1,x", "b,,0.5"))
    assert [fault.partition(":")[0] for fault in faults] == ["row 4", "row 5", "row 4", "row 2", "rows 2 and 3"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("config,block,score\na,0,0.5\nb\xe9,0,0.6\n".encode("latin-1"), "line 3: expected UTF-8, found the byte 0xe9"),
        ("config,block,score\na,0,0.5\n".encode("utf-16"), "expected UTF-8, found UTF-16; save it as `CSV UTF-8`"),
        (b"PK\x03\x04\xff\xfe", "found a spreadsheet or an archive"),
        (b"PAR1\x15\xff", "expected CSV, found Parquet; name it .parquet"),
        (b"config,block,score\na,\x000,1\nb,1,1\n", "row 2: block: expected a printable name, found '\\x000'"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_csv(tmp_path: Any, faults_of: Any, content: bytes, words: str) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    (fault,) = faults_of(path)
    assert words in fault


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Any, write: Any, faults_of: Any) -> None:
    assert faults_of(tmp_path / "no.csv") == ["no such file; give a file of results, such as results.csv"]
    assert "found a folder" in faults_of(tmp_path)[0]
    assert (
        "expected a name that ends with .csv, .tsv, .txt, .jsonl, .ndjson, .json, .parquet, .pq, .npz, found .doc"
        in faults_of(write("x", name="r.doc"))[0]
    )


def test_a_missing_result_is_noted_and_stays_missing(read: Any) -> None:
    found = read(f"{HEAD},comment", "a,0,0.5,", "a,1,,lost", "a,2,NaN,", "b,0,0.5,", "b,1,0.4,", "b,2,0.1,")
    assert np.isnan(found.results[0].scores["a"]).tolist() == [False, True, True]
    assert found.notes == ("columns that were not used: comment", "a has no result on blocks 1 and 2")


def test_a_repeat_without_images(read: Any) -> None:
    found = read(
        f"{BITS},failed",
        "a,0,x,1,0",
        "a,0,y,0,0",
        "a,1,,,1",
        "b,0,x,1,0",
        "b,0,y,1,0",
        "b,1,x,,0",
        "b,1,y,,0",
        "b,2,,,",
    )
    (results,) = found.results
    assert results.correct["a"][1] is None
    assert results.correct["b"][1:] == [None, None]
    assert results.diverged == {"a": frozenset({"1"}), "b": frozenset()}
    assert found.notes == (
        "some configurations lack blocks: a lacks block 2; each pair is compared on its common blocks",
        "b has no result on blocks 1 and 2",
    )


@pytest.mark.parametrize("column", ["failed", "diverged"])
def test_divergence_is_an_outcome(read: Any, column: str) -> None:
    found = read(f"{HEAD},{column}", "a,0,0.5,1", "a,1,,true", "b,0,0.5,", "b,1,0.4,False")
    assert found.results[0].diverged == {"a": frozenset({"0", "1"}), "b": frozenset()}
    assert found.notes == ()


def test_what_never_varies_is_noted_with_its_rows(read: Any) -> None:
    found = read(HEAD, "a,0,0.5", "a,1,0.50", "b,0,0.5", "a,2,0.5", "b,1,0.4", "b,2,0.4")
    words = "the training has no randomness, or does not use the seeds"
    assert found.notes == (f"a: the score is 0.5 in all 3 blocks: {words} (rows 2, 3 and 5)",)
    bits = read(BITS, "a,0,x,1", "a,0,y,0", "a,1,x,1", "a,1,y,0", "b,0,x,1", "b,0,y,0", "b,1,x,0", "b,1,y,1")
    assert bits.notes == (f"a: the correctness of every image is the same in all 2 blocks: {words} (rows 2 to 5)",)


def test_a_score_beside_correctness_is_not_read(read: Any) -> None:
    found = read(f"{BITS},score", "a,0,x,1,nonsense", "b,0,x,1,7")
    assert found.notes == ("columns that were not used: score",)
    alone = read(f"{HEAD},image", "a,0,0.5,x", "b,0,0.5,")
    assert alone.notes == ("columns that were not used: image",)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([7], "row 7"),
        ([3, 2], "rows 2 and 3"),
        ([4, 2, 3], "rows 2 to 4"),
        ([2, 3, 4, 9, 11], "rows 2 to 4, 9 and 11"),
        ([2, 4, 6, 8, 9], "rows 2, 4, 6 and 2 more"),
        ([5, 5], "row 5"),
    ],
)
def test_rows_in_words(rows: list[int], words: str) -> None:
    assert rows_in_words(rows) == words


def test_some() -> None:
    assert [some("abcd"[:count]) for count in (1, 2, 3, 4)] == ["a", "a and b", "a, b and c", "a, b, c and 1 more"]
