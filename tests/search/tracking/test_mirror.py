"""The journal is told by hand; what MLflow then holds is read back with MLflow's own client."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from search.errors import InputError, TrackingError
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME
from search.records import Completed, Failed, Stopped
from search.tracking import mirror as mirror_module
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import RejectedError
from search.tracking.mlflow_tracker import Store

if TYPE_CHECKING:
    from conftest import Server, Study


def make(study: Study, server: Server, said: list[str] | None = None) -> Mirror:
    lines = said if said is not None else []
    return Mirror(study.folder, uri=server.uri, experiment=server.experiment, print_line=lines.append)


def test_a_trial_becomes_a_child_run(study: Study, server: Server) -> None:
    study.session()
    study.trial("aa11", num_epochs=3, accuracy=0.75)
    assert make(study, server).sync() == 1

    run, parent = server.run("aa11"), server.run("sweep")
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.info.run_name == "label of aa11"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"cell": "lstm", "nodes": "16", "encoder.depth": "2"}
    assert run.data.tags["hybrid_search.blocks"] == "block-0"
    assert run.data.tags["hybrid_search.outcome"] == "completed"
    assert run.data.tags["hybrid_search.node"] == "node-1"
    assert server.history("aa11", "val_loss") == [(1, 2.0), (2, 1.0), (3, 2 / 3)]
    assert run.data.metrics["val_accuracy"] == 0.75
    assert run.data.metrics["images_per_sec"] == 200
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "d1g3st")
    assert json.loads(data.dataset.profile) == {"num_train": 1437, "num_test": 360}
    assert {tag.key: tag.value for tag in data.tags} == {"mlflow.data.context": "training"}


def test_an_epoch_without_validation_has_no_validation_metrics(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    study.epochs("a", 1, 2, accuracy=None)
    study.epochs("a", 3, 3, accuracy=0.7)
    study.epochs("a", 4, 4, accuracy=None)
    study.journal.end("a", Completed())
    study.trial("blind", num_epochs=2, accuracy=None)
    mirror = make(study, server)
    mirror.sync()
    assert server.history("a", "val_accuracy") == [(3, 0.7)]
    assert server.history("a", "val_loss") == [(3, 2 / 3)]
    assert [step for step, _ in server.history("a", "train_loss")] == [1, 2, 3, 4]
    assert "val_accuracy" not in server.run("blind").data.metrics
    assert server.run("sweep").data.tags["hybrid_search.nominated"] == "label of a"
    study.journal.note("stop")
    mirror.finish()
    assert server.files("blind") == {"1_curves.png"}


def test_what_a_run_was_computed_with_becomes_its_tags(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    machine = {"device": "cuda NVIDIA H200", "precision": "bfloat16", "threads": 4, "torch": "2.12.0"}
    study.journal.epoch("a", study.metrics(1), "node-1", machine)
    study.journal.end("a", Completed())
    make(study, server).sync()
    tags = server.run("a").data.tags
    assert {name: tags[f"hybrid_search.{name}"] for name in machine} == {**machine, "threads": "4"}


def test_repeats_say_what_was_trained_and_whether_it_diverged(study: Study, server: Server) -> None:
    study.session("compare")
    study.trial("done", kind="repeat", test_accuracy=1.0)
    study.trial("nan", kind="repeat", outcome=Failed(reason="diverged", diverged=True, epoch=1))
    study.trial("lost", kind="repeat", outcome=Failed(reason="lost"))
    study.trial("other", kind="trial")
    record = study.journal.records["done"]
    renamed = dataclasses.replace(record, label="crnn, two layers (trial 3), block-0", key="named")
    study.journal.begin(renamed)
    make(study, server).sync()
    assert server.run("named").data.tags["hybrid_search.config"] == "crnn, two layers (trial 3)"
    assert server.run("done").data.tags["hybrid_search.config"] == "label of done"
    diverged = {key: server.run(key).data.tags.get("hybrid_search.diverged") for key in ("done", "nan", "lost")}
    assert diverged == {"done": None, "nan": "true", "lost": "false"}
    assert "hybrid_search.config" not in server.run("other").data.tags


def test_a_repeat_shows_its_confusion_on_the_test_set(study: Study, server: Server) -> None:
    study.session("compare")
    folder = study.folder / "trials" / "r"
    folder.mkdir(parents=True)
    artifacts = {name: f"trials/r/{name}.npy" for name in ("confusion", "test_confusion", "predictions")}
    for name in ("confusion", "test_confusion"):
        np.save(folder / f"{name}.npy", np.eye(2, dtype=np.int64))
    study.trial("r", kind="repeat", test_accuracy=1.0, artifacts=artifacts)
    make(study, server).sync()
    assert server.files("r") == {"2_confusion.png", "3_test_confusion.png"}


def test_the_sweep_becomes_the_parent_run(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", accuracy=0.5)
    study.trial("b", accuracy=0.9, outcome=Stopped(epoch=1))
    study.trial("c", accuracy=0.7)
    study.trial("d", accuracy=0.6)
    mirror = make(study, server)
    mirror.sync()
    run = server.run("sweep")
    assert run.info.status == "RUNNING"
    assert run.data.tags["version.torch"] == "2.12.0"
    assert run.data.tags["mlflow.source.git.commit"] == "0123abcd"
    assert run.data.tags["hybrid_search.device"] == "cpu"
    assert run.data.tags["hybrid_search.nominated"] == "label of c"
    assert len(run.inputs.dataset_inputs) == 1
    # A stopped trial is no candidate, whatever its last value.
    assert server.history("sweep", "nominated_val_accuracy") == [(1, 0.5), (2, 0.5), (3, 0.7), (4, 0.7)]
    assert server.history("sweep", "num_stopped") == [(1, 0), (2, 1), (3, 1), (4, 1)]
    assert server.files("sweep") == {"study.yaml"}

    study.journal.note("stop")
    mirror.finish()
    assert server.run("sweep").info.status == "FINISHED"
    assert server.files("sweep") == {"study.yaml", "2_sweep.png"}


def test_outcomes(study: Study, server: Server) -> None:
    study.session()
    study.trial("done")
    study.trial("stopped", outcome=Stopped(epoch=1))
    study.trial("failed", num_epochs=0, outcome=Failed(reason="diverged in epoch 1", diverged=True))
    study.begin("waits")
    mirror = make(study, server)
    mirror.sync()
    expected = {"done": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "waits": "RUNNING", "sweep": "RUNNING"}
    assert server.statuses() == expected
    assert server.run("failed").data.tags["hybrid_search.reason"] == "diverged in epoch 1"
    assert server.run("stopped").data.tags["hybrid_search.outcome"] == "stopped"

    mirror.finish()
    assert server.statuses() == expected | {"waits": "KILLED", "sweep": "KILLED"}
    assert server.run("waits").data.tags["hybrid_search.outcome"] == "unfinished"


def test_an_unfinished_trial_goes_on(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    study.epochs("a", 1, 3)
    make(study, server).finish()

    # The driver starts again; the trial's last checkpoint was one epoch back.
    study.session()
    mirror = make(study, server)
    mirror.sync()
    assert server.run("a").info.status == "KILLED"
    study.journal.resume("a")
    study.epochs("a", 3, 4)
    mirror.sync()
    assert server.statuses() == {"a": "RUNNING", "sweep": "RUNNING"}
    assert server.run("a").data.tags["hybrid_search.outcome"] == "running"
    study.epochs("a", 5, 5)
    study.journal.end("a", Stopped(epoch=5))
    mirror.finish()
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED"}
    assert server.history("a", "val_loss") == [(epoch, 2 / epoch) for epoch in range(1, 6)]
    assert server.run("a").data.tags["hybrid_search.resumed"] == "1"


def test_nothing_new_sends_nothing(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study.session()
    study.trial("a", num_epochs=2)
    study.trial("b")
    mirror = make(study, server)
    mirror.sync()
    mirror.finish()
    before = [run.to_dictionary() for run in server.runs()]

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a request was sent")

    for name in ("create", "log", "log_dataset", "log_file"):
        monkeypatch.setattr(Store, name, refuse)
    assert mirror.sync() == 0
    monkeypatch.undo()
    assert make(study, server).finish() == 2
    assert [run.to_dictionary() for run in server.runs()] == before
    assert server.history("a", "val_loss") == [(1, 2.0), (2, 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_request(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Whatever the moment: the next mirror makes it as if nothing had happened."""
    monkeypatch.setattr(mirror_module.Mirror, "_draw", lambda *_: None)
    monkeypatch.setattr(mirror_module.Pictures, "draw_sweep", lambda *_: None)
    study.session()
    study.trial("a", num_epochs=2)
    study.session("compare")
    study.trial("r", kind="repeat", test_accuracy=0.25)
    study.journal.note("comparison", key="k", repeats=["r"], metrics={"gain": 0.1}, artifacts=[], tags={"verdict": "v"})
    study.journal.note("stop")
    requests = ("create", "log", "log_dataset", "log_file", "set_status")
    originals = {name: getattr(Store, name) for name in requests}

    def state(experiment: str) -> dict[str, Any]:
        server.experiment = experiment
        runs = server.by_key()
        found: dict[str, Any] = {}
        for key, run in runs.items():
            # Run ids are MLflow's own.
            own = {"mlflow.parentRunId", "hybrid_search.repeats"}
            tags = {name: text for name, text in run.data.tags.items() if name not in own}
            told = {"val_loss", "test_accuracy", "num_finished", "gain"}.intersection(run.data.metrics)
            histories = {name: server.history(run, name) for name in told}
            num_inputs, files = len(run.inputs.dataset_inputs), server.files(run)
            found[key] = run.info.status, tags, histories, run.data.params, run.data.metrics, num_inputs, files
        assert runs["k"].data.tags["hybrid_search.repeats"] == runs["r"].info.run_id
        return found

    def finish(experiment: str, kill_at: int) -> bool:
        num_requests = 0

        def wrap(name: str) -> Any:
            def send(self: Store, *args: Any, **kwargs: Any) -> Any:
                nonlocal num_requests
                num_requests += 1
                if num_requests == kill_at:
                    raise KeyboardInterrupt
                return originals[name](self, *args, **kwargs)

            return send

        for name in requests:
            monkeypatch.setattr(Store, name, wrap(name))
        try:
            Mirror(study.folder, uri=server.uri, experiment=experiment).finish()
        except KeyboardInterrupt:
            return False
        finally:
            for name in requests:
                monkeypatch.setattr(Store, name, originals[name])
        return True

    assert finish("whole", 0)
    expected = state("whole")
    assert {key: item[0] for key, item in expected.items()} == {
        "a": "FINISHED",
        "r": "FINISHED",
        "sweep": "FINISHED",
        "compare": "FINISHED",
        "k": "FINISHED",
    }
    assert expected["r"][2]["test_accuracy"] == [(1, 0.25)]
    assert expected["r"][1]["hybrid_search.comparisons"] == "k"
    kill_at, done = 1, False
    while not done:
        experiment = f"killed at {kill_at}"
        done = finish(experiment, kill_at)
        Mirror(study.folder, uri=server.uri, experiment=experiment).finish()
        assert state(experiment) == expected
        kill_at += every
    assert kill_at > 15


def test_a_line_that_is_being_written_waits(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    mirror = make(study, server)
    mirror.sync()
    path = study.folder / FILE_NAME
    study.epochs("a", 1, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert mirror.sync() == 0
    path.write_bytes(whole)
    assert mirror.sync() == 1
    assert server.history("a", "epoch") == [(1, 1)]


def test_a_line_that_a_crash_cut_off_is_passed_over(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    study.journal.close()
    with (study.folder / FILE_NAME).open("ab") as stream:
        stream.write(b'{"event":"epo')
    mirror = make(study, server)
    mirror.sync()
    study.journal = Journal(study.folder)
    study.session()
    study.journal.resume("a")
    study.epochs("a", 1, 1)
    mirror.sync()
    assert server.statuses() == {"a": "RUNNING", "sweep": "RUNNING"}
    assert server.history("a", "epoch") == [(1, 1)]


def test_a_damaged_journal_is_named(study: Study, server: Server) -> None:
    study.session()
    with (study.folder / FILE_NAME).open("ab") as stream:
        stream.write(b"rubbish\n")
    with pytest.raises(InputError, match="damaged"):
        make(study, server).sync()


def test_limits_of_mlflow(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    sizes: list[tuple[int, int]] = []
    original = SqlAlchemyStore.log_batch

    def count(self: Any, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        sizes.append((len(metrics), len(params)))
        original(self, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", count)
    point = {f"p{index}": index for index in range(250)} | {"long": "x" * 10_000, "odd name+é%/../": True}
    study.begin("1234567890123456", point=point)
    study.epochs("1234567890123456", 1, 130)
    make(study, server).sync()
    run = server.run("1234567890123456")
    assert len(run.data.params) == 252
    assert run.data.params["p249"] == "249"
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["long"].endswith("(cut, 10000 characters)")
    assert run.data.params["odd name_é_"] == "True"
    assert len(server.history("1234567890123456", "val_accuracy")) == 130
    # A key of digits is a tag, not a metric.
    assert "1234567890123456" not in run.data.metrics
    assert max(num_metrics for num_metrics, _ in sizes) <= 1000
    assert max(num_params for _, num_params in sizes) <= 100
    assert len(sizes) <= 5


def test_all_new_epochs_go_in_one_request(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study.session()
    study.begin("a")
    mirror = make(study, server)
    mirror.sync()
    study.epochs("a", 1, 20)
    calls: list[int] = []
    original = Store.log
    monkeypatch.setattr(
        Store,
        "log",
        lambda self, run, **values: (calls.append(len(list(values.get("metrics", ())))), original(self, run, **values))[
            1
        ],
    )
    mirror.sync()
    assert calls == [160, 0]


def test_repeats(study: Study, server: Server) -> None:
    study.session()
    study.trial("a")
    study.journal.note("stop")
    study.session("compare")
    study.begin("r0", kind="repeat")
    mirror = make(study, server)
    mirror.sync()
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED", "r0": "RUNNING", "compare": "RUNNING"}
    study.epochs("r0", 1, 2)
    study.journal.end("r0", Completed(), test_accuracy=0.875)
    study.journal.note("stop")
    mirror.finish()
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED", "r0": "FINISHED", "compare": "FINISHED"}
    assert server.run("r0").data.tags["mlflow.parentRunId"] == server.run("compare").info.run_id
    assert server.run("compare").info.run_name == "my-study repeats"
    assert server.history("r0", "test_accuracy") == [(2, 0.875)]


def note_comparison(study: Study, key: str, repeats: list[str], gain: float, **more: Any) -> None:
    """The driver judges, and leaves a picture that says which comparison it shows."""
    folder = study.folder / "comparison" / key
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("forest.png").write_text(f"{key}: {gain}")
    artifacts = [f"comparison/{key}/forest.png", *more.pop("artifacts", ())]
    tags = {"verdict.0": f"a beats b by {gain}"}
    study.journal.note(
        "comparison", key=key, repeats=repeats, metrics={"gain": gain}, artifacts=artifacts, tags=tags, **more
    )


def picture(server: Server, key: str) -> str:
    return Path(server.client.download_artifacts(server.run(key).info.run_id, "1_forest.png")).read_text()


def test_every_comparison_is_a_run_and_a_shared_repeat_is_one(study: Study, server: Server) -> None:
    study.session("compare")
    study.trial("r0", kind="repeat")
    study.trial("r1", kind="repeat")
    note_comparison(study, "k1", ["r0", "r1"], 0.25)
    study.journal.note("stop")
    make(study, server).finish()
    study.session("compare", git="4567cdef")
    study.trial("r2", kind="repeat")
    note_comparison(study, "k2", ["r0", "r1", "r2"], 0.5)
    study.journal.note("stop")
    # One mirror that was there for the first, and one that never was.
    make(study, server).finish()
    expected = dict.fromkeys(("compare", "r0", "r1", "r2", "k1", "k2"), "FINISHED")
    assert server.statuses() == expected

    for experiment in (server.experiment, "later"):
        server.experiment = experiment
        make(study, server).finish()
        assert server.statuses() == expected
        for key, gain, git, repeats in (
            ("k1", 0.25, "0123abcd", ["r0", "r1"]),
            ("k2", 0.5, "4567cdef", ["r0", "r1", "r2"]),
        ):
            run = server.run(key)
            assert run.info.run_name == f"my-study comparison {key}"
            assert picture(server, key) == f"{key}: {gain}"
            assert run.data.metrics["gain"] == gain
            assert run.data.tags["verdict.0"] == f"a beats b by {gain}"
            assert run.data.tags["mlflow.source.git.commit"] == git
            assert run.data.tags["hybrid_search.kind"] == "comparison"
            assert "mlflow.parentRunId" not in run.data.tags
            ids = [server.run(repeat).info.run_id for repeat in repeats]
            assert run.data.tags["hybrid_search.repeats"].split(", ") == ids
            assert [item.dataset.digest for item in run.inputs.dataset_inputs] == ["d1g3st"]
        told = {key: server.run(key).data.tags["hybrid_search.comparisons"] for key in ("r0", "r1", "r2")}
        assert told == {"r0": "k1, k2", "r1": "k1, k2", "r2": "k2"}
        assert server.files("compare") == {"study.yaml"}


def test_a_comparison_looked_at_again_keeps_its_run(study: Study, server: Server) -> None:
    """A repeat that failed was tried again: the same comparison, with more to judge."""
    study.session("compare")
    study.trial("r0", kind="repeat")
    note_comparison(study, "k1", ["r0"], 0.25)
    make(study, server).finish()
    note_comparison(study, "k1", ["r0"], 0.5, artifacts=["gone.png"])
    study.journal.note("stop")
    said: list[str] = []
    for _ in range(2):
        make(study, server, said).finish()
    assert server.statuses() == dict.fromkeys(("compare", "r0", "k1"), "FINISHED")
    assert server.history("k1", "gain") == [(1, 0.25), (2, 0.5)]
    assert picture(server, "k1") == "k1: 0.5"
    assert server.run("k1").data.tags["verdict.0"] == "a beats b by 0.5"
    assert server.run("r0").data.tags["hybrid_search.comparisons"] == "k1"
    assert said == ["comparison k1: gone.png is not in the study folder, so it is not copied to MLflow"]


def test_a_comparison_that_mlflow_refuses_is_not_left_running(
    study: Study, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RejectedError("no pictures here")

    study.session("compare")
    study.trial("r0", kind="repeat")
    note_comparison(study, "k1", ["r0"], 0.25)
    study.journal.note("stop")
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Store, "log_file", refuse)
        make(study, server, said).finish()
    assert server.statuses()["k1"] == "FINISHED"
    assert "comparison k1: not copied to MLflow: no pictures here" in said


def test_a_repeat_deleted_in_the_ui_does_not_hold_up_its_comparison(study: Study, server: Server) -> None:
    study.session("compare")
    study.trial("r0", kind="repeat")
    study.trial("r1", kind="repeat")
    said: list[str] = []
    mirror = make(study, server, said)
    mirror.sync()
    server.client.delete_run(server.run("r0").info.run_id)
    note_comparison(study, "k1", ["r0", "r1"], 0.25)
    mirror.finish()
    assert server.run("k1").data.metrics["gain"] == 0.25
    assert server.run("r1").data.tags["hybrid_search.comparisons"] == "k1"
    assert [line for line in said if line.startswith("label of r0: not copied to MLflow")]


def test_pictures_come_last_and_once(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study.session()
    for name, counts in (("good", np.eye(2, dtype=np.int64)), ("odd", np.zeros((2, 3), dtype=np.int64))):
        np.save(study.folder / f"{name}.npy", counts)
    study.trial("one", num_epochs=1)
    study.trial("two", num_epochs=2, artifacts={"confusion": "good.npy"})
    study.trial("bad", num_epochs=2, artifacts={"confusion": "odd.npy"})
    study.trial("gone", num_epochs=1, artifacts={"confusion": "none.npy"})
    order: list[str] = []
    log, log_file = Store.log, Store.log_file
    monkeypatch.setattr(
        Store, "log", lambda *args, **more: (order.append("m" if more.get("metrics") else "t"), log(*args, **more))[1]
    )
    monkeypatch.setattr(
        Store, "log_file", lambda self, run, file: (order.append(file.suffix), log_file(self, run, file))[1]
    )
    said: list[str] = []
    mirror = make(study, server, said)
    mirror.finish()
    assert "m" not in order[order.index(".png") :]
    assert server.files("one") == set()
    assert server.files("two") == {"1_curves.png", "2_confusion.png"}
    assert server.files("bad") == {"1_curves.png"}
    assert len(said) == 2
    assert "label of bad: no figure of odd.npy: expected counts of shape" in said[0]
    assert "none.npy" in said[1]

    order.clear()
    make(study, server).finish()
    assert ".png" not in order


def test_pictures_do_not_hold_up_metrics(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.tracking import figures

    def draw_slowly(_: object, file: Path) -> None:
        time.sleep(0.05)
        file.write_bytes(b"")

    monkeypatch.setattr(mirror_module, "DRAWING_SECS", 0.1)
    monkeypatch.setattr(figures, "draw_curves", draw_slowly)
    study.session()
    for index in range(6):
        study.trial(f"t{index}", num_epochs=2)
    mirror = make(study, server)
    mirror.sync()
    drawn = [key for key in (f"t{index}" for index in range(6)) if server.files(key)]
    assert 1 <= len(drawn) < 6
    mirror.finish()
    assert all(server.files(f"t{index}") for index in range(6))


def test_a_run_deleted_in_the_ui_does_not_block_the_others(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    study.begin("b")
    said: list[str] = []
    mirror = make(study, server, said)
    mirror.sync()
    server.client.delete_run(server.run("a").info.run_id)
    study.epochs("a", 1, 1)
    study.epochs("b", 1, 1)
    mirror.sync()
    assert server.history("b", "epoch") == [(1, 1)]
    assert len(said) == 1
    assert "label of a: not copied to MLflow" in said[0]


def test_an_absent_server_loses_nothing(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study.session()
    mirror = make(study, server)
    mirror.sync()
    study.trial("a")
    study.trial("b")
    log = Store.log

    def away(*_: object, **__: object) -> None:
        raise TrackingError("connection refused")

    monkeypatch.setattr(Store, "log", away)
    for _ in range(2):
        with pytest.raises(TrackingError, match="refused"):
            mirror.sync()
    assert mirror.num_waiting == 2
    monkeypatch.setattr(Store, "log", log)
    mirror.finish()
    assert mirror.num_waiting == 0
    assert server.statuses() == dict.fromkeys(("a", "b", "sweep"), "FINISHED")


def test_two_studies_of_one_name_stay_apart(study: Study, server: Server, tmp_path: Path) -> None:
    other_storage = tmp_path / "elsewhere"
    other_storage.mkdir()
    other = type(study)(other_storage)
    for item in (study, other):
        item.session()
        item.trial("a")
        make(item, server).finish()
    other.journal.close()
    assert len(server.runs("a")) == len(server.runs("sweep")) == 2
    parents = {run.data.tags["mlflow.parentRunId"] for run in server.runs("a")}
    assert parents == {run.info.run_id for run in server.runs("sweep")}


def test_no_journal_makes_no_runs(server: Server, tmp_path: Path) -> None:
    assert Mirror(tmp_path, uri=server.uri, experiment="my-study").finish() == 0
    assert server.runs() == []


def test_a_report_becomes_an_artifact_of_the_sweep(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", accuracy=0.5)
    mirror = make(study, server)
    mirror.sync()
    assert "1_report.html" not in server.files("sweep")
    status = server.run("sweep").info.status
    page = study.folder / "report.html"
    for words in ("first", "second"):
        page.write_text(words)
        study.journal.note("report", digest=words, artifacts=["report.html"])
        mirror.sync()
        assert "1_report.html" in server.files("sweep")
        assert server.run("sweep").data.tags["hybrid_search.report"] == words
    assert server.run("sweep").info.status == status
    # Whoever follows the same journal later sends nothing twice.
    page.unlink()
    said: list[str] = []
    make(study, server, said).sync()
    assert not [line for line in said if "report" in line]


def test_a_report_of_repeats_alone_goes_to_theirs(study: Study, server: Server) -> None:
    study.session("compare")
    study.trial("r", kind="repeat", test_accuracy=1.0)
    study.journal.note("report", digest="d", artifacts=["report.html"])
    said: list[str] = []
    make(study, server, said).sync()
    assert said == ["report.html is not in the study folder, so it is not copied to MLflow"]
    assert server.run("compare").data.tags["hybrid_search.report"] == "d"


def test_of_two_trials_that_tie_the_lower_number_is_nominated_whatever_ended_first(
    study: Study, server: Server
) -> None:
    study.session()
    for key in ("a", "b"):
        study.begin(key)
    for key in ("b", "a"):
        study.epochs(key, 1, 1, 0.9)
        study.journal.end(key, Completed())
    make(study, server).finish()
    assert server.run("sweep").data.tags["hybrid_search.nominated"] == "label of a"
