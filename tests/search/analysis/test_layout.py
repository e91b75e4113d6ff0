"""What columns are taken for: detected, stated, or refused where two are plausible; never guessed."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.analysis.direction import says_lower
from search.analysis.faults import AnalysisError
from search.analysis.read_options import ReadOptions
from search.analysis.reading import Reading
from search.analysis.sources import read_file

Read = Callable[..., tuple[Reading, str]]


@pytest.fixture
def take(write: Any) -> Read:
    """Write lines, read them, and keep the line that says what was taken for what."""

    def read(*lines: str, name: str = "results.csv", **asked: Any) -> tuple[Reading, str]:
        told: list[str] = []
        reading = read_file(write(*lines, name=name), ReadOptions(**asked), tell=told.append)
        return reading, told[0]

    return read


TWO = ("a,0,.1", "a,1,.2", "b,0,.3", "b,1,.4")
TAKEN: dict[str, tuple[tuple[str, ...], str]] = {
    "params.model,params.seed,metrics.val_acc": (TWO, "config = params.model, block = params.seed, score = metrics."),
    "Config,BLOCK,Score": (TWO, "config = Config, block = BLOCK, score = Score"),
    "config/arch,config/random_state,top1": (TWO, "config = config/arch, block = config/random_state, score = top1"),
    "name,seed,value": (TWO, "config = name, block = seed, score = value"),
    "model,seed0,seed1": (("a,.1,.2", "b,.3,.4"), "config = model, one column per block (seed0 and seed1)"),
    "method,0,1": (("a,.1,.2", "b,.3,.4"), "config = method, one column per block (0 and 1)"),
    "seed,a,b": (("0,.1,.3", "1,.2,.4"), "one column per config (a and b), block = seed"),
    "a_seed0,a_seed1,b_seed0,b_seed1": ((".1,.2,.3,.4",), "config and block = the headings, split before the seed"),
    "model,run,acc": (TWO, "config = model, block = run, score = acc"),
    "model,seed,acc,Name,lr,std_acc": (
        tuple(f"{row},x{at},1,.1" for at, row in enumerate(TWO)),
        "config = model, block",
    ),
    "fixed,model,method,seed,acc": (tuple(f"z,same,{row}" for row in TWO), "config = method, block = seed"),
}


@pytest.mark.parametrize("head", TAKEN)
def test_what_is_taken_is_told_and_read(take: Read, head: str) -> None:
    rows, words = TAKEN[head]
    reading, told = take(head, *rows)
    assert words in told
    assert reading.configs == ("a", "b")
    assert [reading.results[0].scores[name].tolist() for name in "ab"] == [[0.1, 0.2], [0.3, 0.4]]


REFUSED: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "two scores": (("model,seed,test_acc,val_acc", "a,0,.1,.2", "b,0,.3,.4"), {}, "--score-column test_acc"),
    "two configs": (("model,method,seed,acc", "a,x,0,.1", "b,y,0,.3"), {}, "model and method may each be the config"),
    "two blocks": (("model,seed,fold,acc", "a,0,0,.1", "a,0,1,.2", "b,1,0,.3"), {}, "--block-column seed"),
    "no block": (("model,acc", "a,.1", "b,.2"), {}, r"name it with --block-column .*, or add --unpaired"),
    "metrics are no configurations": (("fold,accuracy,loss", "0,.1,.2", "1,.3,.4"), {}, "expected a column config"),
    "unknown column": (
        ("model,seed,acc", "a,0,.1"),
        {"config": "modle"},
        "no column is called 'modle'; did you mean 'mod",
    ),
    "wide without block": (("resnet,vgg", ".1,.2"), {}, "add --block-column row, else --unpaired"),
    "no headings": (("a,0,.5", "b,0,.3"), {}, "expected a line of headings, found results; add one"),
    "curves": (('"Step","run - acc","run - acc__MIN"', "0,.1,.1"), {}, "export the table of runs instead"),
    "spread": (("model,seed,acc", "a,0,0.91 +/- 0.02"), {}, "a mean with its spread has no repeats"),
    "spread in brackets": (("model,acc", "a,91.2 (0.3)"), {}, "a mean with its spread has no repeats"),
    "probabilities": (
        ("model,id,y_true,y_pred", "a,1,1,.93", "a,2,0,.1", "b,1,1,.5", "b,2,0,.4"),
        {},
        "expected predicted labels like",
    ),
    "fractions scaled": (
        ("model,seed,acc", "a,0,.1", "b,0,.2"),
        {"scale": 100},
        ("no score is above 1, so the scores are already"),
    ),
    "thousands": (
        ("model,seed,mse", 'a,0,"1,234"', 'b,0,"2,345"'),
        {"direction": "lower"},
        "the comma may separate thousands",
    ),
    "metrics in rows": (
        ("run,tag,value", "a_seed0,acc,.1", "a_seed0,loss,.2", "b_seed0,acc,.1", "b_seed0,loss,.2"),
        {},
        "the column tag names several metrics, acc and loss; choose one by --metric acc",
    ),
    "curve": (("model,seed,step,acc", "a,0,1,.1", "a,0,2,.2", "b,0,1,.3"), {}, "a learning curve; add --at last"),
    "terminal escapes": (("mod\x1b[31mel,seed", "a,0"), {}, r"found mod\\x1b\[31mel and seed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_clear_line(take: Read, case: str) -> None:
    lines, asked, words = REFUSED[case]
    with pytest.raises(AnalysisError, match=words) as caught:
        take(*lines, **asked)
    assert len(caught.value.faults) == 1


def test_the_size_of_a_model_is_no_seed(take: Read) -> None:
    names = ("vit_s16", "vit_s32", "deit_s16", "deit_s32")
    reading, told = take("model,dataset,acc", *(f"{name},d{at},.{at + 1}" for name in names for at in range(6)))
    assert reading.configs == names
    assert told == "read: config = model, score = acc, dataset, no block: one score per data set"


def test_what_is_stated_is_taken(take: Read) -> None:
    lines = ("model,method,seed,fold,test_acc,val_acc", "a,x,0,0,.1,.2", "b,y,0,0,.3,.4")
    reading, told = take(*lines, config="model,method", block="seed,fold", score="val_acc")
    assert told == "read: config = model + method, block = seed + fold, score = val_acc"
    assert reading.results[0].blocks == dict.fromkeys(reading.configs, ("seed=0, fold=0",))
    assert reading.configs == ("model=a, method=x", "model=b, method=y")
    assert reading.results[0].scores["model=b, method=y"].tolist() == [0.4]


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        *((name, True) for name in ("loss", "val_loss", "trainLoss", "val/Error", "top1_err", "NLL", "ppl", "valloss")),
        *((name, True) for name in ("brier-score", "ECE", "metrics.rmse", "test MAE", "neg_log_loss", "cross_entropy")),
        *(
            (name, True)
            for name in ("1-acc", "1 - accuracy", "one_minus_auc", "val/1-f1", "num_parameters", "inference_ms")
        ),
        *((name, True) for name in ("latency_ms", "testmse")),
        *(
            (name, False)
            for name in (
                "accuracy",
                "score",
                "glossary",
                "terrible",
                "lossless",
                "val_acc",
                "ecernn",
                "top-1-accuracy",
                "rouge-1-f",
            )
        ),
    ],
)
def test_names_that_say_lower(name: str, lower: bool) -> None:
    assert says_lower(name) == lower


def test_a_loss_is_asked_for_its_direction_and_never_renamed(take: Read) -> None:
    lines = ("model,seed,loss", "a,0,2.1", "b,0,0.3")
    with pytest.raises(AnalysisError, match="the name 'loss' suggests that lower values are better") as caught:
        take(*lines)
    assert "rename" not in str(caught.value)
    reading, _ = take(*lines, direction="lower")
    assert reading.results[0].scores["a"].tolist() == [2.1]
    assert not reading.results[0].bounded


SAME = ("model,seed,acc", "a,0,0.5", "a,1,0.25", "b,0,0.75", "b,1,0.5")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("r.tsv", [line.replace(",", "\t").replace(".", ",") for line in SAME]),
        ("r.csv", [line.replace(",", ";").replace(".", ",") for line in SAME]),
        ("r.csv", ["sep=;", *(line.replace(",", ";") for line in SAME)]),
        ("r.txt", ["# made by me", "#", *SAME]),
        ("r.csv", [*SAME[:2], "# half of it", *SAME[2:]]),
        ("r.csv", [SAME[0], *(re.sub(r"([\d.]+)$", r"np.float64(\1)", line) for line in SAME[1:])]),
        ("r.csv", [SAME[0], "a,0,50%", "a,1,25 %", "b,0,75%", "b,1,50%"]),
        ("r.jsonl", [f'{{"model": "{m}", "seed": {s}, "acc": {x}}}' for m, s, x in (r.split(",") for r in SAME[1:])]),
    ],
)
def test_the_same_scores_in_every_spelling(take: Read, name: str, lines: list[str]) -> None:
    reading, _ = take(*lines, name=name)
    assert {key: value.tolist() for key, value in reading.results[0].scores.items()} == {
        "a": [0.5, 0.25],
        "b": [0.75, 0.5],
    }
    assert reading.results[0].blocks["a"] == ("0", "1")


def test_packed_text(tmp_path: Path) -> None:
    path = tmp_path / "results.csv.gz"
    path.write_bytes(gzip.compress("\n".join(SAME).encode()))
    assert read_file(path).configs == ("a", "b")
    path.write_bytes(b"no gzip")
    with pytest.raises(AnalysisError, match="expected a gzip file, but it cannot be unpacked"):
        read_file(path)


def test_predictions_in_long_and_wide_tables_are_the_same(take: Read) -> None:
    long, _ = take("model,id,y_true,y_pred", "a,1,cat,cat", "a,2,dog,cat", "b,1,cat,", "b,2,dog,")
    wide, _ = take("id,y_true,a,b", "1,cat,cat,cat", "2,dog,cat,dog")
    assert [row.tolist() for row in long.results[0].correct["a"]] == [[1, 0]]
    assert long.results[0].correct["b"] == [None]
    assert {name: rows[0].tolist() for name, rows in wide.results[0].correct.items()} == {"a": [1, 0], "b": [1, 1]}


def test_a_step_of_a_curve(take: Read) -> None:
    lines = ("model,seed,epoch,acc", "a,0,2,.2", "a,0,1,.1", "b,0,1,.3", "b,0,10,.4")
    reading, _ = take(*lines, at="last")
    assert {name: scores.tolist() for name, scores in reading.results[0].scores.items()} == {"a": [0.2], "b": [0.4]}
    assert "the last steps differ between repeats, 2 to 10" in reading.notes
    first, _ = take(*lines, at="1")
    assert {name: scores.tolist() for name, scores in first.results[0].scores.items()} == {"a": [0.1], "b": [0.3]}
    with pytest.raises(AnalysisError, match="no row has this step; the steps are 1 to 10"):
        take(*lines, at="3")


def test_runs_that_did_not_finish_are_left_out_and_named(take: Read) -> None:
    reading, _ = take("model,seed,acc,State", "a,0,.5,finished", "a,1,.1,crashed", "b,0,.5,", "b,1,.6,FINISHED")
    assert reading.results[0].blocks == {"a": ("0",), "b": ("0", "1")}
    assert "left out: 1 run with the state crashed (row 3)" in reading.notes
    other, _ = take("model,seed,acc,state", "a,0,.5,Ohio", "b,0,.5,Utah")  # no state of a run
    assert other.results[0].blocks["a"] == ("0",)


def test_numbers_of_blocks_are_compared_without_rounding(take: Read) -> None:
    reading, _ = take("model,seed,acc", "a,9007199254740993,.5", "a,9007199254740992,.4", "b,9007199254740993.0,.6")
    assert reading.results[0].blocks == {"a": ("9007199254740993", "9007199254740992"), "b": ("9007199254740993",)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("r.xlsx", "a spreadsheet; save the sheet as CSV UTF-8"),
        ("r.json", "one JSON document; write one object per line"),
        ("r.pkl", "a pickle, which may execute code"),
        ("r.npy", "a single array; write it with np.savez"),
        ("r.zip", "an archive; unpack it"),
        ("r.db", "a database; for MLflow: --mlflow"),
    ],
)
def test_other_files_have_a_way_out(write: Any, name: str, words: str) -> None:
    with pytest.raises(AnalysisError, match=words):
        read_file(write("x", name=name))


def test_folders_and_addresses(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="found a folder; give the file in it"):
        read_file(tmp_path)
    for address in ("s3://bucket/r.csv", "https://host/r.csv"):
        with pytest.raises(AnalysisError, match="found an address; download it and give the file"):
            read_file(Path(address))


def test_scores_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    np.savez(path, scores=[[0.5, np.nan], [0.25, 1]], configs=["a", "b"], blocks=[0, 1])
    reading = read_file(path)
    assert np.isnan(reading.results[0].scores["a"]).tolist() == [False, True]
    np.savez(path, scores=[[0.5, np.inf], [0.25, 1]], configs=["a", "b"], blocks=[0, 1])
    with pytest.raises(AnalysisError, match="'a' on block '1': scores: expected a number from 0 to 1, found 'inf'"):
        read_file(path)


@pytest.mark.parametrize("column", ["fold", "dataset"])
def test_rows_that_sum_up_others_are_no_repeats(take: Read, column: str) -> None:
    names = {"fold": ("mean", "STD"), "dataset": ("Avg. rank", "mean ± std")}[column]
    with pytest.raises(AnalysisError, match=f"rows 4 and 5: .*found '{re.escape(names[0])}' and .*remove them"):
        take(f"{column},a,b", "0,.1,.3", "1,.2,.4", f"{names[0]},.15,.35", f"{names[1]},.01,.01")
    reading, _ = take("dataset,a,b", "max-cut,.1,.3", "meaning,.2,.4")
    assert [len(item.configs) for item in reading.results] == [2, 2]


def test_metrics_that_are_logged_in_rows_of_their_own(take: Read) -> None:
    head = "run,epoch,step,val_acc,train_loss"
    rows = [
        row
        for run, score in (("a_seed0", 0.5), ("a_seed1", 0.6), ("b_seed0", 0.7), ("b_seed1", 0.8))
        for epoch in (0, 1)
        for row in (f"{run},{epoch},9,{score + epoch / 10:g},", f"{run},{epoch},9,,.3")
    ]
    with pytest.raises(AnalysisError, match="a learning curve; add --at last"):
        take(head, *rows)
    reading, _ = take(head, *rows, at="last")
    assert reading.results[0].scores["a"].tolist() == [0.6, 0.7]
    assert reading.results[0].scores["b"].tolist() == [0.8, 0.9]


def test_a_last_step_without_a_score_is_not_replaced_by_the_step_before(take: Read) -> None:
    rows = ("a,0,0,.5", "a,0,1,", "a,1,0,.5", "a,1,1,.6", "b,0,0,.5", "b,0,1,.7", "b,1,0,.5", "b,1,1,.8")
    reading, _ = take("model,seed,epoch,acc", *rows, at="last")
    assert np.isnan(reading.results[0].scores["a"]).tolist() == [True, False]


def test_objects_within_objects_are_columns(take: Read) -> None:
    """As Ray Tune writes result.json: lines, with the configuration as an object."""
    rows = [
        f'{{"val_acc": {acc}, "config": {{"model": "{model}", "seed": {seed}, "layers": [1, 2]}}, "hist": [1]}}'
        for model, seed, acc in (("a", 0, 0.1), ("a", 1, 0.2), ("b", 0, 0.3), ("b", 1, 0.4))
    ]
    for name in ("result.json", "result.jsonl"):
        reading, told = take(*rows, name=name)
        assert told == "read: config = config/model, block = config/seed, score = val_acc"
        assert reading.results[0].scores["b"].tolist() == [0.3, 0.4]
    for text in ('[{"model": "a"}]', "[", "{", '{"model": {"0": "a"}, "seed": {"0": 1}, "acc": {"0": 0.5}}'):
        with pytest.raises(AnalysisError, match="found one JSON document; write one object per line"):
            take(text, name="records.json")


def test_means_beside_their_spread_hold_no_repeats(take: Read) -> None:
    with pytest.raises(AnalysisError, match=r"std_acc beside mean_acc: .* one row per repeat"):
        take("model,mean_acc,std_acc", "a,.9,.01", "b,.8,.01")
    reading, _ = take("model,seed,mean_return,return_std,score", "a,0,1,1,.5", "b,0,1,1,.6")
    assert reading.configs == ("a", "b")


def test_the_best_of_a_curve_is_not_the_first_to_be_offered(take: Read) -> None:
    with pytest.raises(AnalysisError, match=r"best_acc and val_acc may each .* --score-column val_acc"):
        take("model,seed,best_acc,val_acc", "a,0,.9,.8", "b,0,.9,.8")


def test_negated_losses_are_not_called_losses(take: Read) -> None:
    with pytest.raises(AnalysisError, match=r"add --scale 1 .* do not need --lower-is-better"):
        take("model,seed,score", "a,0,-.9", "b,0,-.8")


def test_per_cent_signs_after_decimal_commas(take: Read) -> None:
    reading, _ = take("model;seed;acc", "a;0;91,5 %", "a;1;90,25%", "b;0;80 %", "b;1;81,5 %")
    assert reading.results[0].scores["a"].tolist() == [0.915, 0.9025]
