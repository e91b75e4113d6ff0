from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.compare.contenders import declare_families, pick_contenders, unfinished_sweep
from search.compare.interim import key_of
from search.compare.repeats import Repeats, judge_repeats, load_correct
from search.compare.results import pair_names, write_results
from search.console.tables import to_markdown, to_table
from search.data.splits import SplitConfig
from search.errors import NothingToDoError, StudyError
from search.journal.comparison import ComparisonDocument
from search.journal.comparison_file import from_json, to_dict
from search.journal.journal import Journal
from search.journal.reading import read_events, read_history, read_records
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord
from search.runners import inline
from search.seeds import make_block
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.training import loop
from search.training.learner import Learner

pytestmark = pytest.mark.usefixtures("undrawn")

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
    """What the command does, without tracker and display; what comparison.json then holds."""
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
        document = write_results(study, facts, repeats, judge_repeats(study, facts, repeats), journal)
        return to_dict(document)


def looks(study: StudyConfig) -> list[dict[str, Any]]:
    """The comparisons that the journal knows."""
    return [event for event in read_events(study.folder / "journal.jsonl") if event["event"] == "comparison"]


def change_settings(study: StudyConfig, **settings: Any) -> StudyConfig:
    """The same study compared otherwise."""
    return study.model_copy(update={"compare": study.compare.model_copy(update=settings)})


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


def test_a_repeat_starts_when_it_is_handed_out(
    study: StudyConfig, facts: DataFacts, nominee: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(1000.0, 60.0)
    with Journal(claim_folder(study)) as journal:
        contenders = pick_contenders(study, [nominee("0", 0.8)])
        repeats = Repeats(study=study, facts=facts, journal=journal, contenders=contenders, num_blocks=2)
        monkeypatch.setattr("search.runners.dispatcher.time.time", lambda: next(clock))
        handed_out = []
        while (assignment := repeats.next()) is not None:
            handed_out.append(journal.records[assignment.spec.key].started_at)
    assert len(handed_out) == 4
    assert all(late - early >= 60.0 for early, late in itertools.pairwise(handed_out))


def test_the_document_holds_what_a_reader_needs(study: StudyConfig, facts: DataFacts, nominee: Any) -> None:
    document = compare(study, facts, [nominee("0", 0.8)])
    folder = study.folder / "comparison"
    assert json.loads((folder / "comparison.json").read_text()) == document
    assert document["declared"] == {
        "family": "baselines",
        "families": [
            {"name": "", "pairs": [[item["name"] for item in document["contenders"]]], "adjust": "holm"},
        ],
        "estimand": "new-data",
        "adjust": "holm",
        "error_rate": "family-wise error rate",
        "alpha": 0.05,
        "rope": 0.005,
        "repeats": 3,
        "confirm": 3,
    }
    assert document["data"] == {"name": "digits", "digest": facts.key, "num_test": 50, "num_classes": 10}
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
    (note,) = looks(study)
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


def train(study: StudyConfig, facts: DataFacts, trials: list[TrialRecord]) -> list[TrialRecord]:
    """Carry out what is missing of a comparison, without judging it."""
    with Journal(claim_folder(study)) as journal:
        contenders, num_blocks = pick_contenders(study, trials), study.compare.repeats
        repeats = Repeats(study=study, facts=facts, journal=journal, contenders=contenders, num_blocks=num_blocks)
        inline.run(repeats, study.resources)
        return repeats.wanted_records


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Let the machine lose each training at a moment, as long as the context lasts."""

    @contextlib.contextmanager
    def losing(method: str, num_epochs: int) -> Iterator[None]:
        original = getattr(loop._Training, method)

        def lost(self: Any, *args: Any) -> Any:
            result = yield from original(self, *args)
            if len(self.curve) == num_epochs:
                raise RuntimeError("its worker process died")
            return result

        with monkeypatch.context() as patch:
            patch.setattr(loop._Training, method, lost)
            yield

    return losing


@pytest.mark.parametrize(("method", "num_epochs"), [("advance", 2), ("finish", 3)])
def test_a_repeat_that_the_machine_lost_goes_on_from_its_checkpoint(
    study: StudyConfig,
    facts: DataFacts,
    nominee: Any,
    lose: Any,
    count_epochs: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    num_epochs: int,
) -> None:
    scored: list[Learner] = []
    score = Learner.score_test

    def count(self: Learner, images: Any) -> Any:
        scored.append(self)
        return score(self, images)

    monkeypatch.setattr(Learner, "score_test", count)
    trials = [nominee("0", 0.8)]
    study = change_settings(study.model_copy(update={"train": dataclasses.replace(study.train, epochs=3)}), repeats=1)
    with lose(method, num_epochs):
        lost = train(study, facts, trials)
    assert [type(record.outcome) for record in lost] == [Failed] * 2
    assert {path.parent.name for path in study.folder.glob("trials/*/checkpoint.pt")} == {item.key for item in lost}
    assert [record.outcome for record in train(study, facts, trials)] == [Completed()] * 2
    assert len(count_epochs) == len(set(count_epochs)) == 6, "no epoch is trained twice"
    assert len(scored) == 2, "the test set is scored once per repeat"
    assert not list(study.folder.glob("trials/*/checkpoint*"))


def test_what_a_lost_repeat_left_goes_once_no_comparison_wants_it(
    study: StudyConfig, facts: DataFacts, nominee: Any, lose: Any
) -> None:
    trials = [nominee("0", 0.8)]
    with lose("advance", 1):
        lost = train(change_settings(study, repeats=2), facts, trials)
    kept, gone = ({item.key for item in lost if item.blocks == (f"compare-{block}",)} for block in (0, 1))
    assert {path.name for path in (study.folder / "trials").iterdir()} == kept | gone
    train(change_settings(study, repeats=1), facts, trials)
    assert {path.name for path in (study.folder / "trials").iterdir()} == kept
    assert not list(study.folder.glob("trials/*/checkpoint*"))


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
    first = compare(change_settings(study, repeats=2), facts, trials)
    assert len(count_epochs) == 4
    second = compare(study, facts, trials)
    assert len(count_epochs) == 6
    for before, after in zip(first["contenders"], second["contenders"], strict=True):
        assert after["repeats"][:2] == before["repeats"]


def test_every_comparison_keeps_its_files_and_the_newest_lies_on_top(
    study: StudyConfig, facts: DataFacts, nominee: Any
) -> None:
    trials = [nominee("0", 0.8)]
    names = ("comparison.json", "table.md", "table.tex", "methods.tex", "forest.png")
    place = study.folder / "comparison"
    first = compare(change_settings(study, repeats=2), facts, trials)
    before = {name: (place / first["key"] / name).read_bytes() for name in names}
    second = compare(study, facts, trials)
    assert first["key"] != second["key"]
    assert {name: (place / first["key"] / name).read_bytes() for name in names} == before
    for name in names:
        newest = (place / name).read_bytes()
        assert newest == (place / second["key"] / name).read_bytes() != before[name]
    assert [event["key"] for event in looks(study)] == [first["key"], second["key"]]
    for event, document in zip(looks(study), (first, second), strict=True):
        folder = place / document["key"]
        assert event["artifacts"][:5] == [f"comparison/{document['key']}/{name}" for name in names]
        assert {study.folder / name for name in event["artifacts"]} == set(folder.iterdir())
    assert {path.name for path in place.glob("*.png")} == {path.name for path in folder.glob("*.png")}

    # Again with nothing changed: the same results, and nothing for MLflow.
    assert compare(study, facts, trials) == second
    assert compare(change_settings(study, repeats=2), facts, trials) == first
    assert json.loads((place / "comparison.json").read_text()) == first
    assert len(looks(study)) == 2


def test_a_comparison_is_known_by_contenders_blocks_and_settings(
    study: StudyConfig, facts: DataFacts, nominee: Any, make_study: MakeStudy
) -> None:
    trials = [nominee("0", 0.8), nominee("1", 0.7, nodes=4)]
    two = change_settings(study, finalists=2)

    def key(study: StudyConfig, trials: list[TrialRecord]) -> str:
        with Journal(claim_folder(study)) as journal:
            contenders = pick_contenders(study, trials)
            num_blocks = study.compare.repeats
            repeats = Repeats(study=study, facts=facts, journal=journal, contenders=contenders, num_blocks=num_blocks)
            return key_of(study, repeats)

    swapped = [dataclasses.replace(trials[0], curve=trials[1].curve), trials[1]]
    swapped[1] = dataclasses.replace(trials[1], curve=trials[0].curve)
    assert key(two, trials) == key(two, swapped)
    others = (
        study,
        change_settings(two, repeats=4),
        change_settings(two, alpha=0.01),
        change_settings(two, rope=0.01),
        change_settings(two, family="all-pairs"),
        change_settings(two, baselines=(*two.compare.baselines, {**two.compare.baselines[0], "lr": 0.002})),
    )
    assert len({key(two, trials), *(key(other, trials) for other in others)}) == 7


def test_a_second_look_is_counted_and_said(study: StudyConfig, facts: DataFacts, nominee: Any) -> None:
    trials = [nominee("0", 0.8)]
    clause = "This is analysis 2 of these repeats, undeclared: p-values are no longer exact."
    first = compare(study, facts, trials)
    assert first["num_looks"] == 1
    assert "undeclared" not in first["comparisons"][0]["sentence"]
    second = compare(change_settings(study, repeats=4), facts, trials)
    assert second["num_looks"] == 2
    assert second["comparisons"][0]["sentence"].endswith(clause)
    assert clause in (study.folder / "comparison" / "table.md").read_text()
    event = looks(study)[-1]
    assert event["num_looks"] == event["metrics"]["num_looks"] == 2
    judged = second["comparisons"][0]
    (pair,) = pair_names([("", judged["a"], judged["b"])])
    assert event["tags"][f"verdict: {pair}"].endswith(clause)
    assert event["metrics"][f"estimate: {pair}"] == judged["estimate"]
    # MLflow shows the verdict first, and then the table.
    assert event["description"].index(clause) < event["description"].index("| a | b |")
    # One run of each has no p-value that could be less exact.
    third = compare(change_settings(study, repeats=1), facts, trials)
    assert third["num_looks"] == 3
    assert "undeclared" not in third["comparisons"][0]["sentence"]


def test_that_the_first_nominee_is_a_baseline_is_said(study: StudyConfig, facts: DataFacts, nominee: Any) -> None:
    same = dataclasses.replace(nominee("0", 0.9), point=dict(study.compare.baselines[0]))
    one = change_settings(study, repeats=1)
    document = compare(one, facts, [same, nominee("1", 0.8)])
    name = document["contenders"][1]["name"]
    line = f"Nominee 1 of the sweep is the baseline {name}; the next nominee is compared in its place."
    assert [item["sweep_rank"] for item in document["contenders"]] == [2, 1]
    whole = from_json(json.dumps(document).encode())
    assert to_table(whole).count(line) == to_markdown(whole).count(line) == 1
    # A baseline that is behind the finalist takes nobody's place.
    behind = compare(one, facts, [same, nominee("1", 0.95)])
    assert [item["sweep_rank"] for item in behind["contenders"]] == [1, 2]
    assert "in its place" not in to_table(from_json(json.dumps(behind).encode()))


def test_a_nominee_that_is_a_baseline_is_passed_over(study: StudyConfig, nominee: Any, cnn: dict[str, Any]) -> None:
    baseline = dict(study.compare.baselines[0])
    same = dataclasses.replace(nominee("0", 0.9), point=baseline)
    contenders = pick_contenders(study, [same, nominee("1", 0.7), nominee("2", 0.8)])
    assert [(item.is_finalist, item.trial.number if item.trial else None) for item in contenders] == [
        (True, 2),
        (False, None),
    ]
    with pytest.raises(NothingToDoError, match="no completed trial to compare with the baselines"):
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
    with pytest.raises(NothingToDoError, match="no completed trial to compare"):
        pick_contenders(study, others)


def test_the_family_is_declared(make_study: MakeStudy, nominee: Any, cnn: dict[str, Any]) -> None:
    baselines = [{**cnn, "lr": 0.01}, {**cnn, "lr": 0.002}]
    trials = [nominee("0", 0.9), nominee("1", 0.8, nodes=4)]
    options = {"baselines": baselines, "finalists": 2}

    def pairs(study: StudyConfig) -> list[tuple[str, str]]:
        (family,) = declare_families(study, pick_contenders(study, trials))
        assert family.name == ""
        return list(family.pairs)

    study = make_study(compare=options)
    names = [item.name for item in pick_contenders(study, trials)]
    assert len(set(names)) == 4
    a, b, x, y = names
    assert pairs(study) == [(a, x), (a, y), (b, x), (b, y)]
    every = make_study(compare={**options, "family": "all-pairs"})
    assert pairs(every) == [(a, b), (a, x), (a, y), (b, x), (b, y), (x, y)]
    alone = make_study(compare={"finalists": 2})
    assert pairs(alone) == [(a, b)]


def test_named_families_are_judged_apart(
    make_study: MakeStudy, facts: DataFacts, nominee: Any, cnn: dict[str, Any]
) -> None:
    options = {
        "baselines": [{**cnn, "lr": 0.01}, {**cnn, "lr": 0.002}],
        "family": {
            "wins": [["finalist-1", "baseline-1"], ["finalist-1", "baseline-2"]],
            "rates": [["baseline-2", "baseline-1"]],
        },
        "repeats": 3,
        "alpha": 0.1,
    }
    study = make_study("train.epochs=1", compare=options)
    document = compare(study, facts, [nominee("0", 0.8)])
    f, x, y = (item["name"] for item in document["contenders"])
    found = [(item["family"], item["a"], item["b"], item["family_size"]) for item in document["comparisons"]]
    assert found == [("wins", f, x, 2), ("wins", f, y, 2), ("rates", y, x, 1)]
    assert document["declared"]["families"] == [
        {"name": "wins", "pairs": [[f, x], [f, y]], "adjust": "holm"},
        {"name": "rates", "pairs": [[y, x]], "adjust": "holm"},
    ]
    # Holm within each family: alone, the raw p stays.
    alone = document["comparisons"][2]
    assert alone["adjusted_p"] == alone["p"]
    lines = to_table(from_json(json.dumps(document).encode())).splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("family", "wins", "rates"))] == [
        "family",
        "wins",
        "wins",
        "rates",
    ]

    two = make_study(compare={**options, "finalists": 2, "family": {"wins": [["finalist-2", "baseline-1"]]}})
    with pytest.raises(
        NothingToDoError, match=(r"family\.wins: finalist-2 is declared, but the sweep has nominated only 1")
    ):
        declare_families(two, pick_contenders(two, [nominee("0", 0.8)]))


def test_what_is_declared_decides_the_test(make_study: MakeStudy, facts: DataFacts, nominee: Any) -> None:
    options = {"baselines": ["ecrnn/cnn"], "repeats": 3, "estimand": "this-data"}
    study = make_study("train.epochs=1", compare=options)
    trials = [nominee("0", 0.8)]
    document = compare(study, facts, trials)
    (comparison,) = document["comparisons"]
    assert comparison["estimand"] == "this data set"
    assert (document["declared"]["estimand"], document["declared"]["adjust"]) == ("this-data", "holm")
    bh = compare(change_settings(study, estimand="new-data", adjust="bh"), facts, trials)
    assert bh["declared"]["error_rate"] == "false discovery rate"
    assert bh["comparisons"][0]["adjust_method"] == "bh"
    assert (
        len({document["key"], bh["key"], compare(change_settings(study, estimand="new-data"), facts, trials)["key"]})
        == 3
    )


def test_nothing_to_compare_with_is_said(make_study: MakeStudy, nominee: Any) -> None:
    with pytest.raises(NothingToDoError, match=r"no other configuration to compare it with; set compare\.baselines"):
        pick_contenders(make_study(), [nominee("0", 0.9)])


def test_an_impossible_baseline_is_named(
    make_study: MakeStudy, facts: DataFacts, nominee: Any, cnn: dict[str, Any], tmp_path: Path
) -> None:
    study = make_study(compare={"baselines": [{**cnn, "lr": 0.1, "nodes": 3}], "repeats": 2})
    with pytest.raises(StudyError, match=r"compare: cnn .*nodes: expected no value unless rnn is not none, found 3"):
        compare(study, facts, [nominee("0", 0.9)])
    assert read_records(study.folder) == {}


def test_a_diverged_repeat_is_judged_by_its_last_finite_checkpoint(
    study: StudyConfig, facts: DataFacts, nominee: Any, monkeypatch: pytest.MonkeyPatch, count_epochs: Any
) -> None:
    study = study.model_copy(update={"train": dataclasses.replace(study.train, epochs=3)})
    trials = [nominee("0", 0.8)]
    spoil = {("gru", 0): 3, ("gru", 1): 1}  # (cell, block) -> epoch from which the weights are not finite
    original = Learner.train_epoch

    def fragile(self: Learner, epoch: int) -> tuple[float, float, int]:
        if epoch >= spoil.get((self.model.config.rnn, self.block.index), 4):  # type: ignore[union-attr]
            next(self.model.parameters()).data.fill_(float("nan"))
        return original(self, epoch)

    monkeypatch.setattr(Learner, "train_epoch", fragile)
    document = compare(study, facts, trials)
    finalist, baseline = document["contenders"]
    runs = finalist["repeats"]
    assert [run["state"] for run in runs] == ["failed", "failed", "completed"]
    assert [run["diverged_in_epoch"] for run in runs] == [3, 1, None]
    assert (finalist["num_diverged"], baseline["num_diverged"]) == (2, 0)
    # Block 0 counts with its second epoch, block 1 ended none and counts as chance.
    records = read_records(study.folder)
    assert records[runs[0]["key"]].outcome == Failed(
        reason="diverged in epoch 3: the loss was nan", diverged=True, epoch=3
    )
    kept = load_correct(study.folder, records[runs[0]["key"]], facts.num_test).mean()
    assert kept == runs[0]["test_accuracy"]
    (comparison,) = document["comparisons"]
    assert comparison["scores_a"] == pytest.approx([kept, 0.1, runs[2]["test_accuracy"]])
    assert (comparison["failures_a"], comparison["failures_b"]) == (2, 0)
    assert "Diverged: crnn gru 8 (trial 0) 2," in comparison["sentence"]
    # The folder keeps what the verdict rests on, and nothing else; nothing is trained or scored again.
    names = {path.name for path in (study.folder / "trials" / runs[0]["key"]).iterdir()}
    assert names == {"predictions.npy", "correct.npy", "test_confusion.npy"}
    assert not (study.folder / "trials" / runs[1]["key"]).exists()
    num_trained = len(count_epochs)
    assert compare(study, facts, trials)["comparisons"] == document["comparisons"]
    assert len(count_epochs) == num_trained


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
    assert "| crnn gru 8 (trial 0) |" in to_markdown(from_json(json.dumps(first).encode()))
    second = compare(study, facts, trials)
    assert [run["state"] for run in second["contenders"][0]["repeats"]] == ["completed", "failed", "completed"]
    assert Counter(type(record.outcome) for record in read_records(study.folder).values()) == {Completed: 5, Failed: 1}
    # One comparison, looked at twice: what it rests on has changed.
    assert first["key"] == second["key"]
    assert [event["num_looks"] for event in looks(study)] == [1, 2]


class Terminal(io.StringIO):
    """Standard output that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def document(make_document: Callable[..., ComparisonDocument]) -> ComparisonDocument:
    """What `compare` found out, as far as tables show it."""
    contenders = [
        {"name": name, "finalist": name != "cnn", "sweep_rank": rank, "mean_test_accuracy": mean, "repeats": []}
        for name, rank, mean in (("ecrnn [lstm] 16-16 (trial 12)", 1, 0.9125), ("cnn", None, None))
    ]
    pair = {"a": contenders[0]["name"], "b": "cnn", "verdict": "better", "sentence": "A sentence. " * 20}
    numbers = {"estimate": 0.0125, "interval": {"low": -0.001, "high": 0.02, "level": 0.95}, "adjusted_p": 0.25}
    rest = {"p_a_gt_b": 2 / 3, "num_blocks": 3, "provisional": True}
    return make_document({"contenders": contenders, "comparisons": [pair | numbers | rest]})


def test_a_table_in_a_file_is_aligned_plain_text(document: ComparisonDocument, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    lines = to_table(document).splitlines()
    assert lines == [
        "configuration                  test accuracy, mean  repeats",
        "ecrnn [lstm] 16-16 (trial 12)              91.25 %        0",
        "cnn                                              -        0",
        "",
        "a                              b    difference, pp  95 % interval, pp     p  repeats won  verdict",
        "ecrnn [lstm] 16-16 (trial 12)  cnn           +1.25     -0.10 to +2.00  .250       2 of 3  better, provisional",
        "",
        ("A sentence. " * 20).strip(),
    ]


@pytest.mark.parametrize("columns", [80, 160])
def test_a_table_on_a_terminal_fits(
    document: ComparisonDocument, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = to_table(document)
    assert "\x1b" not in text, "what is printed shows escape sequences as text"
    assert "|---|" not in text
    assert "─" in text
    assert "+1.25" in text
    assert "[lstm]" in text
    assert max(map(len, text.splitlines())) <= columns


def test_an_unfinished_sweep_is_said(make_study: MakeStudy, make_record: Callable[..., TrialRecord]) -> None:
    study = make_study("search.trials=4")
    records = [make_record(key, number=number, outcome=Completed()) for number, key in enumerate("abcd")]
    assert list(unfinished_sweep(study, records, read_history(study.folder).marks)) == []
    assert list(unfinished_sweep(study, records[:2], read_history(study.folder).marks)) == [
        "the sweep has 2 of 4 trials (search.trials); a later one may change the nominee"
    ]
    assert list(unfinished_sweep(study, [], read_history(study.folder).marks)) == []
    grid = make_study("search.trials=4", "space={lr: [0.001, 0.002], backbone: cnn4, rnn: none, fc: '-', dropout: 0}")
    assert list(unfinished_sweep(grid, records[:2], read_history(grid.folder).marks)) == [], (
        "the space has only two points"
    )
    with Journal(claim_folder(study)) as journal:
        journal.note("command", id="a", verb="extend", trials=2, total=6, done=True, answer="6 trials instead of 4")
    assert list(unfinished_sweep(study, records, read_history(study.folder).marks)) == [
        "the sweep has 4 of 6 trials (extended); a later one may change the nominee"
    ]
