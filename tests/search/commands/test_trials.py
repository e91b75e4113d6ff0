"""The table of a study's trials."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search.commands import trials as listing
from search.errors import InputError, StorageFaultError
from search.journal.journal import Journal
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord
from search.study.config import StudyConfig
from search.study.folder import claim_folder


@pytest.fixture
def study(
    make_study: Callable[..., StudyConfig],
    make_record: Callable[..., TrialRecord],
    make_epoch: Callable[..., EpochMetrics],
    cnn: dict[str, Any],
    gru: dict[str, Any],
) -> StudyConfig:
    """A study with one trial of each outcome."""
    study = make_study()
    data = {"name": "digits", "digest": "d", "num_train": 100, "num_test": 30, "num_val": 0, "height": 8, "width": 8}
    points = [{**cnn, "lr": 0.001}, {**gru, "lr": 0.002}, {**gru, "nodes": 4, "lr": 0.003}, {**cnn, "lr": 0.004}]
    ends = [Completed(), Stopped(epoch=1, by_hand=True), Failed(reason="broke"), None]
    with Journal(claim_folder(study)) as journal:
        journal.note("session", version=2, verb="sweep", data=data, classes=list("0123456789"))
        for number, (point, end) in enumerate(zip(points, ends, strict=True)):
            key = "abcd"[number]
            journal.begin(make_record(key, number=number, point=point))
            for epoch in range(1, number + 1):
                journal.epoch(key, make_epoch(epoch, number / 10 + epoch / 100), "node")
            if end is not None:
                journal.end(key, end)
    return study


def column(table: listing.TrialTable, name: str) -> list[Any]:
    return [row[name] for row in table.rows]


def test_every_trial_is_a_row(study: StudyConfig) -> None:
    table = listing.make_table(study)
    assert column(table, "number") == [0, 1, 2, 3]
    assert column(table, "state") == ["completed", "stopped by hand", "failed", "unfinished"]
    assert column(table, "epochs") == [0, 1, 2, 3]
    assert column(table, "val_accuracy") == pytest.approx([None, 0.11, 0.22, 0.33])
    assert column(table, "secs") == [0, 2, 4, 6]
    assert column(table, "nodes") == [None, 8, 4, None]
    assert column(table, "sequential_steps") == [0, 1, 1, 0]
    assert column(table, "backbone") == ["cnn4"] * 4
    assert table.notes == ()


def test_counts_are_those_of_the_built_model(study: StudyConfig) -> None:
    from hybrid_models.build import build
    from hybrid_models.counting import torch_trainable

    table = listing.make_table(study)
    facts = listing.facts_in(listing.read_history(study.folder))
    assert facts is not None
    for row, record in zip(table.rows, listing.read_history(study.folder).records.values(), strict=True):
        spec = listing.bind(study, record.point, facts, ())
        assert row["num_parameters"] == torch_trainable(build(spec.model, generator=torch.Generator()))


def test_a_journal_without_image_size_has_no_counts(study: StudyConfig) -> None:
    path = study.folder / "journal.jsonl"
    path.write_text(path.read_text().replace('"height":8,', ""))
    table = listing.make_table(study)
    assert column(table, "num_parameters") == [None] * 4
    assert table.notes == (
        "num_parameters, sequential_steps: not known, as the journal does not have the size of the images",
    )


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        (None, [0, 1, 2, 3]),
        ("val_accuracy", [3, 2, 1, 0]),
        ("-val_accuracy", [1, 2, 3, 0]),
        ("lr", [0, 1, 2, 3]),
        ("-lr", [3, 2, 1, 0]),
        ("nodes", [2, 1, 0, 3]),
    ],
)
def test_scores_are_sorted_highest_first_and_missing_values_come_last(
    study: StudyConfig, sort: str | None, found: list[int]
) -> None:
    assert column(listing.make_table(study, sort=sort), "number") == found


def test_an_unknown_column_is_refused_with_near_ones(study: StudyConfig) -> None:
    with pytest.raises(InputError, match=r"--sort: expected a column, found 'val_acuracy'; did you mean val_accuracy"):
        listing.make_table(study, sort="val_acuracy")
    with pytest.raises(InputError, match=r"--where: expected a column, found 'epoch'; did you mean epochs"):
        listing.make_table(study, where="epoch > 1")


def test_the_table_has_the_varied_parameters_and_the_file_all(study: StudyConfig, tmp_path: Path) -> None:
    table = listing.make_table(study, where="state = 'stopped by hand'")
    lines = listing.to_lines(table)
    assert lines[0].split() == [
        *("number", "state", "epochs", "val_accuracy", "num_parameters", "sequential_steps", "secs"),
        *("rnn", "nodes", "dropout", "lr"),
    ]
    assert "stopped by hand" in lines[1]
    assert lines[-1] == "1 trial of 4"
    listing.write_csv(table, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["backbone"], row["nodes"], row["lr"], row["enc_on"]) == ("cnn4", "8", "0.002", "false")
    with pytest.raises(StorageFaultError, match=r"missing/trials\.csv"):
        listing.write_csv(table, tmp_path / "missing" / "trials.csv")


def test_every_measure_is_a_column_if_any_trial_has_it(
    study: StudyConfig, make_epoch: Callable[..., EpochMetrics], tmp_path: Path
) -> None:
    with Journal(study.folder) as journal:
        key = listing.read_history(study.folder).records["d"].key
        journal.epoch(key, make_epoch(4, 0.4, val_loss=0.25, val_macro_f1=0.5, latency_ms=1.5), "node")
    table = listing.make_table(study, sort="-val_loss", where="macs > 0")
    names = [column.name for column in table.columns]
    assert names[3:12] == [
        *("val_accuracy", "val_macro_f1", "val_loss", "num_parameters", "macs", "sequential_steps"),
        *("latency_ms", "train_secs_per_epoch", "secs"),
    ]
    assert column(table, "val_loss") == [1.1, 1.1, 0.25, None]
    assert column(table, "latency_ms") == [None, None, 1.5, None]
    assert column(table, "train_secs_per_epoch") == [2.0, 2.0, 2.0, None]
    assert [row["number"] for row in listing.make_table(study, where="val_macro_f1 >= 0.5").rows] == [3]
    assert listing.make_table(study, where="val_auroc > 0").rows == ()
    listing.write_csv(table, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert (rows[2]["val_loss"], rows[2]["latency_ms"], rows[0]["latency_ms"]) == ("0.25", "1.5", "")
    assert "val_auroc" not in rows[0]
    assert "val_auroc" not in listing.to_dict(table)["trials"][0]
    assert "val_loss" not in listing.to_lines(table)[0]


def test_goals_are_printed(study: StudyConfig) -> None:
    search = study.search.model_copy(update={"objectives": {"val_accuracy": "max", "macs": "min"}})
    table = listing.make_table(study.model_copy(update={"search": search}))
    assert listing.to_lines(table)[0].split()[3:7] == ["val_accuracy", "num_parameters", "macs", "sequential_steps"]


def test_recorded_counts_are_shown_though_the_image_size_is_not_known(
    study: StudyConfig, make_record: Callable[..., TrialRecord], cnn: dict[str, Any]
) -> None:
    with Journal(study.folder) as journal:
        journal.begin(make_record("e", number=4, point={**cnn, "lr": 0.005}, counts={"num_parameters": 7, "macs": 8}))
    assert column(listing.make_table(study), "macs")[4] == 8
    path = study.folder / "journal.jsonl"
    path.write_text(path.read_text().replace('"height":8,', ""))
    assert column(listing.make_table(study), "num_parameters") == [None] * 4 + [7]


def test_the_file_behind_a_link_is_written(study: StudyConfig, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real.csv").write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "disk" / "real.csv")
    listing.write_csv(listing.make_table(study), link)
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.csv").read_text().startswith("number,state,")


def test_a_pipe_is_written_and_stays(study: StudyConfig, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        listing.write_csv(listing.make_table(study), link)
        assert os.read(reader, 1 << 16).startswith(b"number,state,")
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_a_narrow_terminal_drops_parameters_first(study: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    lines = listing.to_lines(listing.make_table(study))
    assert max(map(len, lines)) <= 90
    assert "val_accuracy" in lines[0]
    assert any(line.startswith("Columns that do not fit: lr") for line in lines)
