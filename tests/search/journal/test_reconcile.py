"""Differences, from what was read; and `status --check` on real stores."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.cli import app as cli
from search.commands.check import check, to_lines
from search.errors import InputError
from search.journal.journal import Journal
from search.journal.mlflow_run import PREFIX, MlflowRun
from search.journal.reading import FILE_NAME, read_id, read_records
from search.journal.reconcile import (
    Difference,
    OptunaTrial,
    Repair,
    describe_repairs,
    mlflow_differences,
    optuna_differences,
)
from search.records import NOT_KNOWN, Completed, Draw, EpochMetrics, Failed, Stopped, TrialRecord
from search.sampling.optuna_copy import OptunaCopy
from search.sampling.optuna_storage import to_records as copied
from search.sampling.trials import TrialMaker
from search.storage.working_copy import is_driven
from search.study.load import parse_study
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import connect, default_uri
from search.tracking.run_values import values_of
from spaces.space import Space

MakeRecord = Callable[..., TrialRecord]
MakeEpoch = Callable[..., EpochMetrics]
POINT = {"rnn": "gru", "nodes": 8}


@pytest.fixture
def record(make_record: MakeRecord, make_epoch: MakeEpoch) -> TrialRecord:
    """A completed trial of two epochs."""
    curve = (make_epoch(1, 0.5), make_epoch(2, 0.75))
    return make_record("a", number=0, point=POINT, curve=curve, outcome=Completed(), finished_at=110.0)


TRIAL = OptunaTrial(number=0, state="COMPLETE", value=0.75, params=POINT, curve={1: 0.5, 2: 0.75})


def run_of(status: str = "FINISHED", outcome: str = "completed", num_epochs: int = 2, **accuracies: float) -> MlflowRun:
    """The run of the record above, with what is given instead."""
    metrics = {"epoch": float(num_epochs), "val_accuracy": 0.75, **accuracies}
    return MlflowRun(run_id="r", name="", status=status, tags={f"{PREFIX}outcome": outcome}, metrics=metrics)


RUN = run_of()


SPACE = Space.from_dict("s", {"rnn": ["none", "gru"], "nodes": {"choice": [8, 16, 99]}})


def differences(
    records: dict[str, TrialRecord], found: list[OptunaTrial], draws: dict[int, Draw] | None = None
) -> list[Difference]:
    expected = copied(TrialMaker(SPACE).known(records, draws or {}).values())
    return optuna_differences(expected, found, records.values())


@pytest.mark.parametrize(
    ("changes", "found", "repair"),
    [
        ({"state": "RUNNING", "value": None, "curve": {}}, "RUNNING", Repair.TELL),
        ({"state": "RUNNING", "value": None, "curve": {1: 0.5}}, "RUNNING", Repair.TELL),
        ({"state": "WAITING", "value": None, "curve": {}}, "WAITING", Repair.REWRITE),
        ({"state": "FAIL", "value": None}, "FAIL", Repair.REWRITE),
        ({"state": "PRUNED"}, "PRUNED (0.7500)", Repair.REWRITE),
        ({"value": 0.7}, "COMPLETE (0.7000)", Repair.REWRITE),
        ({"params": {"rnn": "gru", "nodes": 16}}, "another point", Repair.REWRITE),
        ({"params": {"nodes": 8}}, "another point", Repair.REWRITE),
        ({"curve": {1: 0.5}}, "another curve", Repair.REWRITE),
        ({"curve": {1: 0.5, 2: 0.75, 3: 0.8}}, "another curve", Repair.REWRITE),
        ({"number": 1}, "no such trial", Repair.REWRITE),
    ],
)
def test_each_difference_of_a_trial(record: TrialRecord, changes: dict[str, Any], found: str, repair: Repair) -> None:
    assert differences({"a": record}, [TRIAL]) == []
    difference = differences({"a": record}, [dataclasses.replace(TRIAL, **changes)])[0]
    assert (difference.journal, difference.found, difference.repair) == ("completed (0.7500)", found, repair)
    (missing,) = differences({"a": record}, [])
    assert (missing.found, missing.repair) == ("no such trial", Repair.ADD)


def test_what_each_outcome_is_in_optuna(record: TrialRecord, make_epoch: MakeEpoch) -> None:
    def agree(changed: TrialRecord, **trial: Any) -> bool:
        return not differences({"a": changed}, [dataclasses.replace(TRIAL, **trial)])

    stopped = dataclasses.replace(record, outcome=Stopped(epoch=2))
    assert agree(stopped, state="PRUNED", value=0.75)
    assert not agree(stopped)
    assert agree(dataclasses.replace(record, outcome=Failed(reason="x")), state="FAIL", value=None)
    unfinished = dataclasses.replace(record, outcome=None)
    assert agree(unfinished, state="RUNNING", value=None, curve={})
    assert not agree(unfinished)
    blind = dataclasses.replace(record, curve=(make_epoch(1, 0.5), make_epoch(2, None)), outcome=Stopped(epoch=2))
    assert agree(blind, state="PRUNED", value=0.5, curve={1: 0.5})


def test_of_a_trial_whose_best_epoch_counts_optuna_has_the_best_so_far_and_mlflow_the_last(
    record: TrialRecord, make_epoch: MakeEpoch
) -> None:
    curve = (make_epoch(1, 0.75), make_epoch(2, 0.5))
    best = dataclasses.replace(record, curve=curve, keep="best")
    assert differences({"a": best}, [dataclasses.replace(TRIAL, curve={1: 0.75, 2: 0.75})]) == []
    assert differences({"a": best}, [dataclasses.replace(TRIAL, curve={1: 0.75, 2: 0.5})])
    assert mlflow_differences([best], {"a": [run_of(val_accuracy=0.5)]}) == []
    assert mlflow_differences([best], {"a": [run_of(val_accuracy=0.75)]})
    assert values_of(curve[1], 0.75)["best_val_accuracy"] == 0.75
    assert list(values_of(curve[1], 0.75))[-1] == "epoch", "its latest value tells how far the copy came"
    assert "best_val_accuracy" not in values_of(curve[1])


def test_what_the_journal_does_not_know(record: TrialRecord) -> None:
    fail = dataclasses.replace(TRIAL, state="FAIL", value=None, curve={})
    second = dataclasses.replace(TRIAL, number=1)
    records = {"a": dataclasses.replace(record, number=1)}
    assert differences(records, [fail, second]) == [], "a draw that a journal of before does not have"
    (unknown,) = differences(records, [TRIAL, second])
    assert (unknown.trial, unknown.journal, unknown.found) == ("trial 0", "never started", "COMPLETE (0.7500)")
    last = dataclasses.replace(fail, number=2)
    (left,) = differences(records, [fail, second, last])
    assert (left.number, left.found, left.repair) == (2, "FAIL", Repair.REWRITE)


def test_a_draw_that_became_no_trial_is_a_failed_trial_there() -> None:
    draws = {0: Draw(number=0, rejected=NOT_KNOWN)}
    assert differences({}, [dataclasses.replace(TRIAL, state="FAIL", value=None, curve={})], draws) == []
    (difference,) = differences({}, [TRIAL], draws)
    assert (difference.trial, difference.journal) == ("trial 0", "a draw without a trial")


def test_a_twin_is_held_against_its_record(record: TrialRecord) -> None:
    twin = dataclasses.replace(TRIAL, number=1, params={"rnn": "gru", "nodes": 99})
    draws = {1: Draw(number=1, point={"rnn": "gru", "nodes": 99}, twin="a")}
    assert differences({"a": record}, [TRIAL, twin], draws) == []
    (difference,) = differences({"a": record}, [TRIAL, dataclasses.replace(twin, value=0.1)], draws)
    assert difference.number == 1


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"status": "RUNNING"}, "RUNNING, completed"),
        ({"outcome": ""}, "FINISHED, no outcome"),
        ({"num_epochs": 1}, "1 epoch instead of 2"),
        ({"val_accuracy": 0.7}, "val_accuracy 0.7 instead of 0.75"),
        ({"test_accuracy": 0.7}, "test_accuracy 0.7 instead of None"),
    ],
)
def test_each_difference_of_a_run(record: TrialRecord, changes: dict[str, Any], found: str) -> None:
    assert mlflow_differences([record], {"a": [RUN]}) == []
    (difference,) = mlflow_differences([record], {"a": [run_of(**changes)]})
    assert (difference.trial, difference.found, difference.store) == ("trial a", found, "MLflow")


def test_runs_that_are_too_many_missing_or_left(record: TrialRecord) -> None:
    def found(records: list[TrialRecord], driven: bool = False, **runs: list[MlflowRun]) -> list[str]:
        return [item.found for item in mlflow_differences(records, runs, driven=driven)]

    running = run_of(status="RUNNING", outcome="running", num_epochs=0)
    killed = run_of(status="KILLED", outcome="unfinished")
    unfinished = dataclasses.replace(record, outcome=None)
    assert found([record]) == ["no run"]
    assert found([record], a=[RUN, RUN]) == ["2 runs"]
    assert found([record], a=[RUN], sweep=[running]) == ["RUNNING"]
    assert found([record], a=[RUN], sweep=[running], driven=True) == []
    assert found([record], a=[RUN], sweep=[RUN, RUN]) == ["2 runs"]
    assert found([record], a=[RUN], b=[RUN]) == ["FINISHED"]
    assert found([record], a=[RUN], b=[killed]) == []
    assert found([unfinished], a=[killed]) == []
    assert found([unfinished], a=[running]) == ["RUNNING, running"]
    assert found([unfinished], a=[running], driven=True) == []
    waiting = run_of(status="RUNNING", outcome="waiting", num_epochs=0)
    assert found([unfinished], a=[waiting]) == ["RUNNING, waiting"]
    assert found([unfinished], a=[waiting], driven=True) == []
    (difference,) = mlflow_differences([], {}, running_comparisons=["0123456789abcdef"])
    assert (difference.trial, difference.journal, difference.found) == ("comparison 0123", "over", "RUNNING")


def test_the_line_about_what_was_mended(record: TrialRecord) -> None:
    found = mlflow_differences([record], {})
    assert describe_repairs([], "trial") == ""
    assert describe_repairs(found, "trial") == "repaired from the journal: 1 trial"
    assert describe_repairs(found * 3, "run") == "repaired from the journal: 3 runs"


@pytest.fixture
def swept(study_data: dict[str, Any], driver: Any, empty_database: Path) -> Path:
    """The folder of a small finished sweep, in Optuna and MLflow."""
    study_data["search"] |= {"trials": 4, "sampler": "random"}
    study_data["train"]["epochs"] = 2
    study_data["tracking"] = {}
    study = parse_study(study_data, "study.yaml")
    study.folder.mkdir(parents=True)
    shutil.copy(empty_database, study.folder.parent / "mlflow.db")
    start(study.folder)
    driver.sweep(study)
    bring(study.folder)
    return study.folder


def start(folder: Path) -> None:
    """A driver starts."""
    with Journal(folder) as journal:
        journal.note("session", verb="sweep")


def bring(folder: Path) -> list[str]:
    """Let both copies follow; what they said."""
    said: list[str] = []
    study = parse_study(yaml.safe_load((folder / "study.yaml").read_text()), "study.yaml")
    OptunaCopy(folder, name="tiny", space=study.build_space(), print_line=said.append).finish()
    Mirror(folder, uri=default_uri(folder.parent), experiment="tiny", print_line=said.append).finish()
    return said


def run_cli(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["hybrid-search", *arguments])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    return int(raised.value.code or 0), capsys.readouterr().out


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".db"}


def test_status_check_from_agreement_to_differences_and_back(
    swept: Path, driver: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*more: str) -> tuple[int, str]:
        return run_cli("status", str(swept), "--check", *more, capsys=capsys, monkeypatch=monkeypatch)

    before = snapshot(swept)
    assert ask() == (0, "journal, Optuna and MLflow agree on 4 trials\n")
    assert snapshot(swept) == before
    records = read_records(swept)
    client = connect(default_uri(swept.parent))
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.data.tags["hybrid_search.key"]: run for run in client.search_runs([experiment.experiment_id])}
    first, second, *_ = records
    client.update_run(runs[first].info.run_id, status="RUNNING")
    client.delete_run(runs[second].info.run_id)
    (swept / "optuna.log").unlink()
    before = snapshot(swept)
    code, text = ask()
    assert code == 1
    lines = text.splitlines()
    assert len(lines) == 4 + 2 + 1
    assert (
        lines[0] == f"Optuna  {records[first].label}: {in_words(records[first])} in the journal, but no such trial in "
        "Optuna"
    )
    assert "RUNNING, " in lines[4]
    assert lines[5].endswith("no run in MLflow")
    assert lines[6] == "6 differences over 4 trials; the next start of the study repairs the copies"
    assert snapshot(swept) == before
    code, text = ask("--json")
    document = json.loads(text)
    assert (code, document["agree"], len(document["differences"])) == (1, False, 6)
    assert {"store", "trial", "journal", "found", "cure", "number"} == document["differences"][0].keys()
    # The next start mends what was shown.
    study = parse_study(yaml.safe_load((swept / "study.yaml").read_text()), "study.yaml")
    start(swept)
    driver.sweep(study)
    assert bring(swept) == ["repaired from the journal: 2 runs"]
    assert ask() == (0, "journal, Optuna and MLflow agree on 4 trials\n")
    start(swept)
    assert bring(swept) == []


def in_words(record: TrialRecord) -> str:
    if isinstance(record.outcome, Stopped):
        return f"stopped after epoch {record.outcome.epoch}"
    return f"completed ({record.val_accuracy:.4f})"


def test_a_store_that_is_away_or_damaged_is_said(
    swept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*more: str) -> tuple[int, list[str]]:
        options = [item for setting in more for item in ("--set", setting)]
        code, text = run_cli("status", str(swept), "--check", *options, capsys=capsys, monkeypatch=monkeypatch)
        return code, text.splitlines()

    code, lines = ask("tracking.uri=http://127.0.0.1:9")
    assert code == 2
    assert lines[0].startswith("not read: MLflow: http://127.0.0.1:9: connection refused")
    assert lines[1] == "journal and Optuna agree on 4 trials"
    assert ask("tracking.enabled=false") == (0, ["journal and Optuna agree on 4 trials"])
    log = swept / "optuna.log"
    whole = log.read_bytes()
    log.write_bytes(b"rubbish\n" + whole)
    code, lines = ask("tracking.enabled=false")
    assert code == 2
    assert lines[0].startswith(f"not read: Optuna: {log}: cannot be read (")
    # A half line at the end is nothing: the next start cuts it.
    log.write_bytes(whole + b'{"op')
    assert ask("tracking.enabled=false")[0] == 0
    log.write_bytes(whole)
    wrong = "postgresql//me:secret@host/db"
    code, lines = ask("tracking.enabled=false", f"search.database={wrong}")
    assert (code, lines) == (
        2,
        ["not read: Optuna: search.database: expected a URL, such as sqlite:////home/me/optuna.db"],
    )
    log.write_bytes(whole.replace(read_id(swept).encode(), b"0" * 16).replace(str(swept).encode(), b"/else"))
    code, lines = ask("tracking.enabled=false")
    assert (code, lines) == (2, [f"not read: Optuna: the study tiny there belongs to /else on {socket.gethostname()}"])


def test_a_driver_at_work_is_said(swept: Path) -> None:
    study = parse_study(yaml.safe_load((swept / "study.yaml").read_text()), "study.yaml")
    (swept / "optuna.log").unlink()
    assert not is_driven(swept)
    with Journal(swept):
        assert is_driven(swept)
        lines = to_lines(check(study))
    assert lines[-1] == "a driver is running: its latest changes may not have reached every store yet"
    assert not is_driven(swept)
    assert not is_driven(swept / "nowhere")


def test_a_comparison_that_a_kill_left_running_in_mlflow_is_said(swept: Path) -> None:
    study = parse_study(yaml.safe_load((swept / "study.yaml").read_text()), "study.yaml")
    client = connect(default_uri(swept.parent))
    experiment = client.get_experiment_by_name("tiny")
    marks = {"journal": read_id(swept), "key": "0123456789abcdef", "kind": "comparison"}
    tags = {f"hybrid_search.{name}": value for name, value in marks.items()}
    run = client.create_run(experiment.experiment_id, tags=tags)
    (difference,) = check(study).differences
    assert (difference.trial, difference.found) == ("comparison 0123", "RUNNING")
    with Journal(swept):
        assert check(study).differences == (), "it is being sent"
    client.set_terminated(run.info.run_id)
    assert check(study).differences == ()


def test_an_epoch_of_a_trial_that_never_began_is_a_damaged_journal(swept: Path) -> None:
    path = swept / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    begin = next(index for index, line in enumerate(lines) if b'"begin"' in line)
    path.write_bytes(b"".join(lines[:begin] + lines[begin + 1 :]))
    with pytest.raises(
        InputError, match=r"trial '\w+' was never started; the journal was damaged, restore it from a copy"
    ):
        Journal(swept)
