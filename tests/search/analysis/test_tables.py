"""Tables as people have them: the command gives an answer, or one sentence that leads to one."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.cli import main

TABLES = Path(__file__).with_name("tables")
THREE = {("resnet18", "vgg11"): "better", ("resnet18", "vit_tiny"): "better", ("vgg11", "vit_tiny"): "better"}
TWO = {("resnet18", "vgg11"): "better"}
NOT_SURE = {("resnet18", "vgg11"): "better", ("resnet18", "vit_tiny"): None, ("vgg11", "vit_tiny"): None}
"""None: one pair of eight is missing."""

ANSWERS: dict[str, tuple[dict[tuple[str, str], str | None] | int, str]] = {
    "block_1_vs_1.0.csv": (TWO, "config, block, score"),
    "comment.csv --all-pairs": (THREE, "config, block, score"),
    "cv_wide.csv --all-pairs": (THREE, "one column per config (resnet18, vgg11 and vit_tiny), block = fold"),
    "dataset_no_block.csv --all-pairs": (6, "config, score, dataset, no block: one score per data set"),
    "datasets_wide.csv --all-pairs": (6, "one column per config (C4.5, C4.5+m, C4.5+cf and C4.5+m+cf), dataset"),
    "ds7.csv --all-pairs": (
        {("A", "B"): "better", ("A", "C"): "better", ("B", "C"): "practically equivalent"},
        "config, block",
    ),
    "error_as_score.csv --all-pairs --lower-is-better": (THREE, "config, block, score"),
    "euro.csv --all-pairs": (THREE, "config, block, score"),
    "fail12.npz --num-classes 10": ({("A", "B"): "inconclusive"}, "correct (2, 12, 500), configs, blocks"),
    "inf.csv": ({("A", "B"): "inconclusive"}, "config, block, score"),
    "k8.csv --all-pairs": (28, "config, block, score"),
    "loss.csv --all-pairs --lower-is-better": (THREE, "config, block, score = loss"),
    "missing1.csv --all-pairs": (3, "config, block, score"),
    "missing_row.csv --all-pairs": (3, "config, block, score"),
    "mlflow_search_runs.csv --all-pairs": (
        THREE,
        "config = params.model, block = params.seed, score = metrics.val_acc",
    ),
    "nzv.csv": (1, "config, block, score"),
    "optuna_trials.csv --all-pairs": (THREE, "config = params_model, block = params_seed, score = value, state"),
    "p0497.csv": ({("A", "B"): "better"}, "config, block, score"),
    "p0503.csv": ({("A", "B"): "inconclusive"}, "config, block, score"),
    "preds_wide.csv": ({("resnet18", "vgg11"): "refused"}, "one column of predictions per config (resnet18 and vgg11)"),
    "preds_wide.csv --method mcnemar": (
        {("resnet18", "vgg11"): "inconclusive"},
        "one column of predictions per config",
    ),
    "pseudo.csv": ({("A", "B"): "better"}, "config, block, score"),
    "r3.npz": (1, "correct (2, 3, 500), configs, blocks"),
    "ray_tune.csv --all-pairs": (THREE, "config = config/model, block = config/seed, score = val_accuracy"),
    "same3.npz": (1, "correct (2, 5, 500), configs, blocks"),
    "scores_npz.npz --all-pairs": (THREE, "scores (3, 8), configs, blocks"),
    "sepline.csv --all-pairs": (THREE, "config, block, score"),
    "shuf.csv": ({("A", "B"): "better"}, "config, block, score"),
    "sklearn_gridsearch.csv --all-pairs": (THREE, "config = param_kernel, one column per block (split0_test_score, "),
    "tensorboard_long.csv --at last --all-pairs": (
        THREE,
        "config and block = run, split before the seed, score = val",
    ),
    "unb.csv": (1, "config, block, score"),
    "unpaired.csv": ({("resnet18", "vgg11"): "refused"}, "config, block, score"),
    "unpaired.csv --unpaired": (TWO, "config, block, score"),
    "wandb_export.csv --score-column val/acc --all-pairs": (NOT_SURE, "config = model, block = seed, score = val/acc"),
    "wandb_export.csv --score-column test/acc --scale 100 --all-pairs": (NOT_SURE, "score = test/acc"),
    "zero.csv": ({("A", "B"): "inconclusive"}, "config, block, score"),
}
"""Command -> its verdicts, or their number; and what the first line says."""

REFUSED = {
    "error_as_score.csv": "expected a declared family of comparisons",
    "fail12.npz": "diverged without a result, which is scored as chance; give --num-classes",
    "loss.csv --all-pairs": "the name 'loss' suggests that lower values are better, .*; add --lower-is-better",
    "mixed_percent.csv --all-pairs": r"look like percent \(rows 5 to 7\), others like fractions of 1 .*; use one unit",
    "plusminus.csv --all-pairs": "found '91.14 ± 0.3'; a mean with its spread has no repeats: give one row per",
    "tensorboard_long.csv --all-pairs": "a learning curve; add --at last",
    "wandb_export.csv --all-pairs": "test/acc and val/acc may each be the score; choose with --score-column test/acc",
    "wandb_export.csv --score-column test/acc --all-pairs": "scores look like percent: add --scale 100",
}
NOTES = {
    "block_1_vs_1.0.csv": (
        "blocks 0 and 0.0, 1 and 1.0, 2 and 2.0 and 5 more are the same number: use one name per block"
    ),
    "comment.csv --all-pairs": "1 comment line above the headings ignored",
    "cv_wide.csv --all-pairs": "the blocks are folds, whose trainings share images: without --ratio",
    "pseudo.csv": "copies count as one repeat: block 0 is repeated as blocks 1 and 2, .*; 8 of 24 blocks are compared",
    "same3.npz": "copies count as one repeat: A, block a is repeated as blocks b and c; 3 of 5 blocks are compared",
    "sklearn_gridsearch.csv --all-pairs": "the blocks are splits, whose trainings share images",
    "wandb_export.csv --score-column val/acc --all-pairs": r"left out: 1 run with the state crashed \(row 25\)",
    "zero.csv": "A, block 3: the score 0 is far from the others .*; if that training crashed or diverged",
}

Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command as it is typed: exit code, standard output and standard error."""

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.chdir(TABLES)
        monkeypatch.setattr(sys, "argv", ["hybrid-search", "analyze", *shlex.split(line)])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


def test_every_table_is_tried() -> None:
    tried = {line.split()[0] for line in (*ANSWERS, *REFUSED)}
    assert tried == {path.name for path in TABLES.iterdir()}
    assert len(tried) == 35


@pytest.mark.parametrize("line", ANSWERS)
def test_an_answer(run: Run, line: str) -> None:
    code, out, err = run(f"{line} --json")
    assert code == 0, err
    document = json.loads(out)
    found = {(item["a"], item["b"]): item["verdict"] for item in document["comparisons"]}
    wanted, taken = ANSWERS[line]
    if isinstance(wanted, int):
        assert len(document["comparisons"]) == wanted
    else:
        assert {pair: found[pair] for pair, verdict in wanted.items() if verdict} == {
            pair: verdict for pair, verdict in wanted.items() if verdict
        }
        assert set(found) == set(wanted)
    assert err.splitlines()[0].startswith("read: ")
    assert taken in err.splitlines()[0]
    assert document["source"]["read_as"] in err.splitlines()[0]
    if line in NOTES:
        assert any(re.search(NOTES[line], note) for note in document["notes"]), document["notes"]


@pytest.mark.parametrize("line", REFUSED)
def test_one_sentence_that_leads_to_an_answer(run: Run, line: str) -> None:
    code, _, err = run(line)
    (fault,) = err.splitlines()
    assert code == 2
    assert re.search(REFUSED[line], fault)


def test_the_first_line_says_what_was_taken_for_what(run: Run) -> None:
    _, out, _ = run("mlflow_search_runs.csv --all-pairs")
    assert out.startswith(
        "read: config = params.model, block = params.seed, score = metrics.val_accuracy, state = status\n"
    )


def test_one_fact_has_one_outcome(run: Run) -> None:
    documents: list[Any] = []
    for name in ("missing1.csv", "missing_row.csv"):
        _, out, _ = run(f"{name} --all-pairs --json")
        documents.append(json.loads(out))
    for first, second in zip(documents[0]["comparisons"], documents[1]["comparisons"], strict=True):
        for key in ("verdict", "estimate", "p", "adjusted_p", "num_blocks"):
            assert first[key] == second[key], (first["sentence"], second["sentence"])
