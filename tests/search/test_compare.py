from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.bind import DataFacts
from search.compare import (
    Repeats,
    declare_family,
    judge_repeats,
    load_correct,
    pick_contenders,
    to_table,
    write_results,
)
from search.data.splits import SplitConfig
from search.errors import NothingToDoError, StudyError
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord
from search.runners import inline
from search.seeds import make_block
from search.study import StudyConfig, claim_folder
from search.tracking.journal import Journal, read_events, read_records

MakeStudy = Callable[..., StudyConfig]
MakeRecord = Callable[..., TrialRecord]


@pytest.fixture
def study(make_study: MakeStudy, cnn: dict[str, Any]) -> StudyConfig:
    """Two configurations, three blocks, one epoch."""
    return make_study("train.epochs=1", "search.trials=2", compare={"baselines": [{**cnn, "lr": 0.01}], "repeats": 3})


@pytest.fixture
def nominee(
    make_record: MakeRecord, make_epoch: Callable[..., EpochMetrics], gru: dict[str, Any]
) -> Callable[..., Any]:
    """Make a completed trial of the sweep."""

    def make(key: str, accuracy: float, **point: Any) -> TrialRecord:
        values = {**gru, "lr": 0.005, **point}
        return make_record(
            key, number=int(key), point=values, curve=(make_epoch(1, accuracy),), outcome=Completed(), finished_at=1.0
        )

    return make


def compare(
    study: StudyConfig,
    facts: DataFacts,
    trials: list[TrialRecord],
    watch: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What the verb does, without tracker and display."""
    with Journal(claim_folder(study)) as journal:
        repeats = Repeats(
            study=study,
            facts=facts,
            journal=journal,
            contenders=pick_contenders(study, trials),
            num_blocks=study.compare.repeats,
            on_change=watch,
        )
        inline.run(repeats, study.resources)
        return write_results(study, facts, repeats, judge_repeats(study, facts, repeats), journal)


def test_everybody_is_trained_once_on_the_same_fresh_blocks(
    study: StudyConfig, facts: DataFacts, nominee: Any, count_epochs: list[tuple[str, int]]
) -> None:
    document = compare(study, facts, [nominee("0", 0.8)])
    records = read_records(study.folder)
    assert len(records) == len(count_epochs) == 6
    assert {record.kind for record in records.values()} == {"repeat"}
    assert [record.blocks[0] for record in records.values()] == [f"compare-{i}" for i in (0, 0, 1, 1, 2, 2)]
    blocks = [make_block(study.seed, "compare", index) for index in range(3)]
    assert [item["init_seed"] for item in document["blocks"]] == [block.init_seed for block in blocks]
    for contender in document["contenders"]:
        assert [run["block"] for run in contender["repeats"]] == [block.name for block in blocks]
        assert contender["mean_test_accuracy"] == pytest.approx(
            np.mean([run["test_accuracy"] for run in contender["repeats"]])
        )
    assert len({run["val_accuracy"] for run in document["contenders"][0]["repeats"]}) > 1


def test_the_document_holds_what_a_reader_needs(study: StudyConfig, facts: DataFacts, nominee: Any) -> None:
    document = compare(study, facts, [nominee("0", 0.8)])
    folder = study.folder / "comparison"
    assert json.loads((folder / "comparison.json").read_text()) == document
    assert document["declared"] == {"family": "baselines", "alpha": 0.05, "rope": 0.005, "repeats": 3}
    assert document["data"] == {"name": "digits", "digest": facts.key, "num_test": 50}
    finalist, baseline = document["contenders"]
    assert (finalist["name"], finalist["finalist"], finalist["sweep_trial"]) == ("crnn gru 8 (trial 0)", True, 0)
    assert finalist["selection_val_accuracy"] == 0.8
    assert (baseline["finalist"], baseline["sweep_trial"]) == (False, None)
    (comparison,) = document["comparisons"]
    assert (comparison["a"], comparison["b"]) == (finalist["name"], baseline["name"])
    # The estimate is the mean difference of the test accuracies over shared blocks, exactly.
    difference = finalist["mean_test_accuracy"] - baseline["mean_test_accuracy"]
    assert comparison["estimate"] == pytest.approx(difference)
    assert 0 <= comparison["adjusted_p"] <= 1
    assert comparison["interval"]["low"] <= comparison["estimate"] <= comparison["interval"]["high"]
    assert finalist["name"] in comparison["sentence"]
    assert comparison["sentence"] in (folder / "table.md").read_text()
    assert (folder / "forest.png").read_bytes().startswith(b"\x89PNG")
    note = [event for event in read_events(study.folder / "journal.jsonl") if event["event"] == "comparison"][-1]
    assert sorted(note["repeats"]) == sorted(read_records(study.folder))
    assert all((study.folder / path).is_file() for path in note["artifacts"])


def test_stored_bits_give_the_stored_accuracy(study: StudyConfig, facts: DataFacts, nominee: Any) -> None:
    compare(study, facts, [nominee("0", 0.8)])
    for record in read_records(study.folder).values():
        bits = load_correct(study.folder, record, facts.num_test)
        assert bits.shape == (50,)
        assert bits.mean() == record.test_accuracy


def test_a_killed_comparison_goes_on_and_ends_alike(
    study: StudyConfig,
    facts: DataFacts,
    nominee: Any,
    killed: type[BaseException],
    count_epochs: list[tuple[str, int]],
    make_study: MakeStudy,
) -> None:
    trials = [nominee("0", 0.8)]
    calm = compare(study, facts, trials)
    trained = list(count_epochs)
    count_epochs.clear()
    other = study.model_copy(update={"name": "cut"})
    changes = 0

    def kill() -> None:
        nonlocal changes
        changes += 1
        if changes % 4 == 0:
            raise killed

    for _ in range(20):
        try:
            document = compare(other, facts, trials, watch=kill)
            break
        except killed:
            continue
    assert changes > 8
    assert count_epochs == trained
    assert document["contenders"] == calm["contenders"]
    assert document["comparisons"] == calm["comparisons"]


def test_without_a_validation_part_the_test_set_judges_alone(
    study: StudyConfig, facts: DataFacts, nominee: Any
) -> None:
    document = compare(study.model_copy(update={"split": SplitConfig(method="none")}), facts, [nominee("0", 0.8)])
    (comparison,) = document["comparisons"]
    assert comparison["test"] == "crossed repeats x images"
    assert comparison["secondary"] is None
    runs = [run for contender in document["contenders"] for run in contender["repeats"]]
    assert {run["val_accuracy"] for run in runs} == {None}
    assert None not in {run["test_accuracy"] for run in runs}


def test_more_repeats_train_only_what_is_missing(
    study: StudyConfig, facts: DataFacts, nominee: Any, count_epochs: list[tuple[str, int]]
) -> None:
    trials = [nominee("0", 0.8)]
    two = study.model_copy(update={"compare": study.compare.model_copy(update={"repeats": 2})})
    first = compare(two, facts, trials)
    assert len(count_epochs) == 4
    second = compare(study, facts, trials)
    assert len(count_epochs) == 6
    for before, after in zip(first["contenders"], second["contenders"], strict=True):
        assert after["repeats"][:2] == before["repeats"]


def test_a_nominee_that_is_a_baseline_is_passed_over(study: StudyConfig, nominee: Any, cnn: dict[str, Any]) -> None:
    baseline = dict(study.compare.baselines[0])
    same = dataclasses.replace(nominee("0", 0.9), point=baseline)
    contenders = pick_contenders(study, [same, nominee("1", 0.7), nominee("2", 0.8)])
    assert [(item.is_finalist, item.trial.number if item.trial else None) for item in contenders] == [
        (True, 2),
        (False, None),
    ]
    with pytest.raises(NothingToDoError, match="no trial to compare with the baselines"):
        pick_contenders(study, [same])


def test_a_baseline_may_leave_out_what_the_space_fixes(
    make_study: MakeStudy, nominee: Any, gru: dict[str, Any]
) -> None:
    short = {"rnn": "gru", "nodes": 8, "dropout": 0.0, "lr": 0.005}
    study = make_study(compare={"baselines": [short], "repeats": 3})
    contenders = pick_contenders(study, [nominee("0", 0.9), nominee("1", 0.8, nodes=4)])
    assert [item.trial.number if item.trial else None for item in contenders] == [1, None]
    assert contenders[1].point == {**gru, "lr": 0.005}


def test_failed_unfinished_and_repeated_trials_are_no_finalists_and_stopped_ones_come_last(
    study: StudyConfig, nominee: Any
) -> None:
    def change(record: TrialRecord, **fields: Any) -> TrialRecord:
        return dataclasses.replace(record, **fields)

    stopped = change(nominee("5", 0.9, nodes=4), outcome=Stopped(epoch=1))
    good = nominee("4", 0.1)
    others = [
        change(nominee("1", 0.9), outcome=Failed(reason="x")),
        change(nominee("2", 0.9), outcome=None),
        change(nominee("3", 0.9), kind="repeat"),
    ]
    finalist = pick_contenders(study, [stopped, *others, good])[0]
    assert finalist.trial == good
    assert pick_contenders(study, [*others, stopped])[0].trial == stopped
    with pytest.raises(NothingToDoError, match="no trial to compare"):
        pick_contenders(study, others)


def test_the_family_is_declared(make_study: MakeStudy, nominee: Any, cnn: dict[str, Any]) -> None:
    baselines = [{**cnn, "lr": 0.01}, {**cnn, "lr": 0.002}]
    trials = [nominee("0", 0.9), nominee("1", 0.8, nodes=4)]
    options = {"baselines": baselines, "finalists": 2}
    study = make_study(compare=options)
    names = [item.name for item in pick_contenders(study, trials)]
    assert len(set(names)) == 4
    a, b, x, y = names
    assert declare_family(study, pick_contenders(study, trials)) == [(a, x), (a, y), (b, x), (b, y)]
    every = make_study(compare={**options, "family": "all-pairs"})
    assert declare_family(every, pick_contenders(every, trials)) == [
        (a, b), (a, x), (a, y), (b, x), (b, y), (x, y),
    ]  # fmt: skip
    alone = make_study(compare={"finalists": 2})
    assert declare_family(alone, pick_contenders(alone, trials)) == [(a, b)]


def test_nothing_to_compare_with_is_said(make_study: MakeStudy, nominee: Any) -> None:
    with pytest.raises(NothingToDoError, match=r"nothing to compare it with; name compare\.baselines"):
        pick_contenders(make_study(), [nominee("0", 0.9)])


def test_an_impossible_baseline_is_named(
    make_study: MakeStudy, facts: DataFacts, nominee: Any, cnn: dict[str, Any], tmp_path: Path
) -> None:
    study = make_study(compare={"baselines": [{**cnn, "lr": 0.1, "nodes": 3}], "repeats": 2})
    with pytest.raises(StudyError, match=r"compare: cnn .*nodes: expected no value unless rnn is not none, found 3"):
        compare(study, facts, [nominee("0", 0.9)])
    assert read_records(study.folder) == {}


def test_what_failed_is_tried_again_and_what_diverged_stays(
    study: StudyConfig, facts: DataFacts, nominee: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.errors import DivergedError
    from search.training import loop

    original = loop._train_epoch

    def fragile(spec: Any, learners: Any, epoch: int) -> EpochMetrics:
        if spec.model.rnn == "gru" and spec.blocks[0].index == 0:
            raise RuntimeError("lost")
        if spec.model.rnn == "gru" and spec.blocks[0].index == 1:
            raise DivergedError(1, float("nan"))
        return original(spec, learners, epoch)

    trials = [nominee("0", 0.8)]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", fragile)
        first = compare(study, facts, trials)
    assert [run["state"] for run in first["contenders"][0]["repeats"]] == ["failed", "failed", "completed"]
    assert "failed" not in {run["state"] for run in first["contenders"][1]["repeats"]}
    table = to_table(first)
    assert "| crnn gru 8 (trial 0) |" in table
    second = compare(study, facts, trials)
    assert [run["state"] for run in second["contenders"][0]["repeats"]] == ["completed", "failed", "completed"]
    assert Counter(type(record.outcome) for record in read_records(study.folder).values()) == {Completed: 5, Failed: 1}
