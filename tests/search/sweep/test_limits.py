"""Limits of measured costs in a sweep: which epochs decide, and what is left of an infeasible trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search.commands.plan import _tight_limits
from search.console.measures import show_measure
from search.errors import NothingToDoError
from search.export.pick import Wanted, pick_winner
from search.journal.journal import Journal
from search.journal.measures import MEASURES, value_of
from search.journal.reading import read_history
from search.records import Completed, EpochMetrics, Infeasible, TrialRecord
from search.report.overview import make_overview, to_dict
from search.study.bind import DataFacts, bind, why_not
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.study.goals import over_limit
from search.sweep.run import run_sweep
from search.sweep.sweep import Sweep
from search.training import loop

MakeStudy = Callable[..., StudyConfig]


def test_memory_of_a_later_epoch_counts(
    make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch, killed: type[BaseException]
) -> None:
    measured = iter([1.0, 3.0] * 9)
    monkeypatch.setattr(loop, "peak_memory_gib", lambda _: next(measured))
    study = make_study("search.trials=2", "search.scheduler=none", "search.limits={peak_memory_gib: 2}")

    def kill(sweep: Any) -> None:
        if any(len(record.curve) == 1 for record in sweep.records):
            raise killed

    with pytest.raises(killed):
        driver.sweep(study, watch=kill)
    for record in driver.sweep(study):
        assert record.outcome == Infeasible(measure="peak_memory_gib", value=3.0, limit=2.0)
        assert len(record.curve) == 2


def test_an_infeasible_trial_leaves_no_weights(make_study: MakeStudy, driver: Any) -> None:
    """Its only epoch is its last one, after which the worker has written the weights."""
    study = make_study("search.trials=1", "train.epochs=1", "search.limits={train_secs_per_epoch: 0.000001}")
    (record,) = driver.sweep(study)
    assert isinstance(record.outcome, Infeasible)
    assert record.artifacts == {}
    assert not (study.folder / "trials" / record.key).exists()
    with pytest.raises(NothingToDoError, match="trial 0 is infeasible and has no weights: train_secs_per_epoch"):
        pick_winner(study, Wanted(trial=0))


def test_a_limit_that_leaves_no_point_is_named(
    make_study: MakeStudy, facts: DataFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.sampling.sampler.MAX_DRAWS", 50)
    study = make_study("search.trials=3", "search.sampler=random", "search.limits={macs: 1}")
    with Journal(claim_folder(study)) as journal:
        sweep = Sweep(study=study, facts=facts, journal=journal)
        assert sweep.propose() is None
        assert sweep.finished
        assert sweep.why_exhausted == "no feasible point in 20,000 draws; raise search.limits"


def test_plan_warns_of_a_tight_limit(make_study: MakeStudy) -> None:
    study = make_study("search.limits={macs: 5, num_parameters: 5}")
    rejected = {"macs is above search.limits.macs 5": 361, "bad model": 39}
    (line,) = _tight_limits(study, rejected)
    assert line.startswith("search.limits: 361 of 400 random points are above the limit of macs, so most trials are")
    assert list(_tight_limits(study, {**rejected, "macs is above search.limits.macs 5": 360})) == []


def test_the_session_records_the_limits(make_study: MakeStudy) -> None:
    study = make_study("search.trials=1", "train.epochs=1", "search.limits={macs: 1.0e9}")
    run_sweep(study)
    (session,) = [mark for mark in read_history(study.folder).marks if mark["event"] == "session"]
    assert session["limits"] == {"macs": 1e9}


def test_weights_of_the_whole_front_are_kept(
    make_study: MakeStudy,
    facts: DataFacts,
    make_record: Callable[..., TrialRecord],
    make_epoch: Callable[..., EpochMetrics],
) -> None:
    counts = (10, 9, 8, 7, 8, 6)  # the fifth is neither among the best three nor on the front
    for objectives, expected in (
        ("{val_accuracy: max, macs: min}", {0, 1, 2, 3, 5}),
        ("{val_accuracy: max}", {0, 1, 2}),
    ):
        study = make_study(f"search.objectives={objectives}", name=f"kept-{len(expected)}")
        with Journal(claim_folder(study)) as journal:
            sweep = Sweep(study=study, facts=facts, journal=journal)
            for number, macs in reversed(list(enumerate(counts))):
                weights = study.folder / "trials" / f"k{number}" / "weights-0.safetensors"
                weights.parent.mkdir(parents=True)
                weights.touch()
                curve = (make_epoch(1, 0.9 - number / 10),)
                sweep._forget_losers(
                    [make_record(f"k{number}", number=number, curve=curve, counts={"macs": macs}, outcome=Completed())]
                )
        left = {int(path.parent.name[1:]) for path in study.folder.glob("trials/*/weights-*.safetensors")}
        assert left == expected


def test_status_has_every_measure(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=1", "train.epochs=1", "search.limits={latency_ms: 100000}")
    (record,) = driver.sweep(study)
    (row,) = to_dict(make_overview(study))["nominated"]
    assert {name: row[name] for name in MEASURES} == {name: value_of(record, name) for name in MEASURES}
    assert None not in row.values()


def test_numbers_are_written_without_exponents_and_above_their_limit() -> None:
    assert show_measure("latency_ms", 1234.5) == "1,234 ms"
    assert show_measure("train_secs_per_epoch", 0.00123456) == "0.00123 s"
    close = Infeasible(measure="latency_ms", value=20.0004, limit=20.0)
    assert close.reason == "latency_ms 20.0004 is above the limit 20"
    far = Infeasible(measure="latency_ms", value=12345.678, limit=1234.5)
    assert far.reason == "latency_ms 12,350 is above the limit 1,234.5"


def test_a_limit_is_written_in_full(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study("search.limits={macs: 1.5, num_parameters: 1234567.0}")
    point = study.build_space().point({"rnn": "none", "dropout": 0.0, "lr": 0.01})
    assert why_not(study, point, facts) == "macs is above search.limits.macs 1.5"
    assert over_limit(bind(study, dict(point), facts, ()).model, {"macs": 1234.0}) == (
        "macs is above search.limits.macs 1,234"
    )
