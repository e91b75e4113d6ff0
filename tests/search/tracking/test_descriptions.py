"""Descriptions of runs, and that they are kept up to date but never overwrite what somebody wrote in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from search.journal.mlflow_run import MlflowRun
from search.records import Completed, Failed, Infeasible, Outcome, Stopped
from search.tracking.descriptions import NOTE_TAG, WRITTEN_TAG, describe_record, describe_sweep, description_tags
from search.tracking.mirror import Mirror
from search.tracking.run_values import StudyFacts
from spaces.space import Space

if TYPE_CHECKING:
    from conftest import Server, Study

SPACE = Space.from_dict("s", {"cell": ["gru", "lstm"]})


def sync(study: Study, server: Server, facts: StudyFacts | None = None) -> None:
    read = None if facts is None else lambda: facts
    Mirror(study.folder, uri=server.uri, experiment=server.experiment, facts=read).finish()


def note(server: Server, key: str) -> str:
    return server.run(key).data.tags[NOTE_TAG]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Completed(), "completed after 9 epochs; validation accuracy 50.00 %."),
        (Stopped(epoch=9), "stopped early by the scheduler after epoch 9; validation accuracy"),
        (Stopped(epoch=9, by_hand=True), "stopped early by hand after epoch 9"),
        (Stopped(epoch=9, reason="2 GPU hours are used up"), "stopped early after epoch 9: 2 GPU hours are used up"),
        (Failed(reason="CUDA | <b>"), r"failed: CUDA | &lt;b>"),
        (Infeasible(measure="latency_ms", value=3.0, limit=2.0), r"infeasible: latency\_ms 3 is above the limit 2"),
    ],
)
def test_a_trial_says_how_it_ended(study: Study, outcome: Outcome, words: str) -> None:
    study.session()
    study.trial("a", num_epochs=9, outcome=outcome)
    record = study.journal.records["a"]
    text = describe_record(record, "any")
    assert text.startswith("**label of a**: ")
    assert words in text
    assert "| encoder.depth | 2 |" in text
    curve = text.partition("| epoch |")[2].partition("\n\n")[0]
    epochs = [line.split(" ")[1] for line in curve.splitlines()[2:]]
    assert epochs[0] == "1"
    assert epochs[-1] == "**9**"
    assert len(epochs) == 6


def test_a_sweep_says_what_to_do_next(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", accuracy=0.5)
    study.trial("b", accuracy=0.9)
    study.trial("c", outcome=Stopped(epoch=1))
    study.begin("d")
    sync(study, server)
    text = note(server, "sweep")
    assert text.startswith("**4 trials**: 2 completed, 1 stopped early, 1 without an outcome.")
    assert "Nominee: **label of b**, validation accuracy 90.00 %." in text
    assert f"hybrid-search sweep {study.folder}" in text
    study.session()
    study.journal.resume("d")
    study.epochs("d", 1, 1)
    study.journal.end("d", Completed())
    study.journal.note("stop")
    sync(study, server)
    assert f"hybrid-search compare {study.folder}" in note(server, "sweep")
    study.session("compare")
    study.trial("r", kind="repeat", test_accuracy=0.5)
    tags = {"verdict: b vs a": "b beats a", "choice": "b", "choice.state": "confirmed"}
    study.journal.note("comparison", key="k1", repeats=["r"], metrics={}, tags=tags, description="**b** beats a")
    study.journal.note("stop")
    sync(study, server)
    assert "Comparison k1 chooses **b**: confirmed." in note(server, "sweep")
    # A copy that is made afterwards has it end before the comparison began.
    server.experiment = "later"
    sync(study, server)
    assert server.run("sweep").info.end_time < server.run("compare").info.start_time
    assert f"hybrid-search export {study.folder}" in note(server, "sweep")
    assert note(server, "compare").startswith("**1 repeat**: 1 completed.")
    assert note(server, "k1") == "**b** beats a"


def test_a_comparison_of_an_earlier_version_has_its_verdicts(study: Study, server: Server) -> None:
    study.session("compare")
    study.trial("r", kind="repeat")
    tags = {"verdict.0": "b beats a", "verdict.1": "b loses to c", "choice": "c", "choice.state": "confirmed"}
    study.journal.note("comparison", key="k1", repeats=["r"], metrics={"estimate.0": 0.1}, tags=tags)
    sync(study, server)
    assert note(server, "k1") == "b beats a\n\nb loses to c\n\n`export` chooses **c**: confirmed."


def test_a_copy_of_an_earlier_version_is_brought_up_to_date(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", num_epochs=2, point={"cell": "gru"})
    study.session("compare")
    study.trial("r", kind="repeat")
    study.journal.note("comparison", key="k1", repeats=["r"], metrics={"gain": 0.25}, tags={"verdict.0": "b beats a"})
    study.journal.note("stop")
    sync(study, server)
    for key in ("a", "r", "k1", "sweep", "compare"):
        for tag in (NOTE_TAG, WRITTEN_TAG):
            server.client.delete_tag(server.run(key).info.run_id, tag)
    facts = StudyFacts(space=SPACE, recipe={"epochs": 3, "batch": 32, "optimizer": "adam"})
    for _ in range(2):
        sync(study, server, facts)
        assert all(note(server, key) for key in ("a", "r", "k1", "sweep", "compare"))
        assert server.run("a").data.params == {"cell": "gru", "epochs": "3", "batch": "32", "optimizer": "adam"}
        assert server.history("a", "epoch") == [(1, 1), (2, 2)]
        assert server.history("k1", "gain") == [(1, 0.25)]


def test_what_somebody_wrote_in_mlflow_stays(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    study.begin("b")
    sync(study, server)
    server.client.set_tag(server.run("a").info.run_id, NOTE_TAG, "my own words")
    study.session()
    for key in ("a", "b"):
        study.journal.resume(key)
        study.epochs(key, 1, 1)
        study.journal.end(key, Completed())
    sync(study, server)
    assert note(server, "a") == "my own words"
    assert "completed after 1 epoch" in note(server, "b")
    assert server.run("a").data.tags["hybrid_search.outcome"] == "completed"


def test_a_long_description_is_cut() -> None:
    tags = description_tags(None, "x" * 6000)
    assert len(tags[NOTE_TAG]) == 5000
    run = MlflowRun(run_id="1", name="a", status="FINISHED", tags=tags)
    assert description_tags(run, "x" * 6000) == tags


def test_the_point_comes_before_the_recipe(study: Study, server: Server) -> None:
    study.session()
    study.begin("a", point={"lr_sgd": 0.5, "batch": 64})
    study.journal.epoch("a", study.metrics(1), "node-1", {"precision": "bfloat16"})
    study.journal.end("a", Completed())
    facts = StudyFacts(space=SPACE, recipe={"epochs": 3, "batch": 32, "lr": 0.1}, same={"lr_sgd": "lr"})
    sync(study, server, facts)
    params = {"lr_sgd": "0.5", "batch": "64", "epochs": "3", "precision": "bfloat16"}
    assert server.run("a").data.params == params


def test_the_validation_accuracy_is_the_first_metric_that_a_run_receives(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    mirror = Mirror(study.folder, uri=server.uri, experiment=server.experiment)
    mirror.sync()
    study.epochs("a", 1, 1)
    mirror.sync()
    # The order in which MLflow's page receives them, which decides what its parallel coordinates show.
    assert next(iter(server.run("a").data.metrics)) == "val_accuracy"


def test_a_sweep_without_trials_is_described(study: Study) -> None:
    from search.journal.follower import Follower

    study.session()
    journal = Follower(study.folder)
    journal.read()
    assert describe_sweep(journal, study.folder, "RUNNING").startswith("**0 trials**: none yet.")
