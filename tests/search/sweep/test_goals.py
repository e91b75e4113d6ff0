"""Sweeps with several objectives and limits: infeasible trials, early stopping by fronts, and resumption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search.compare.contenders import pick_contenders
from search.errors import StudyError
from search.journal.fronts import front_of
from search.journal.measures import MEASURES, value_of
from search.journal.reading import read_records
from search.journal.summary import nominees, summarise
from search.records import Infeasible
from search.report.overview import make_overview, to_dict
from search.report.status_lines import to_lines
from search.sampling.rehearsal import check_sampler
from search.study.bind import DataFacts, why_not
from search.study.config import StudyConfig
from search.sweep.front_asha import FrontAsha
from search.sweep.sweep import Sweep

MakeStudy = Callable[..., StudyConfig]
TWO = "search.objectives={val_accuracy: max, num_parameters: min}"


def test_every_trial_tells_its_measures(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=2", "search.scheduler=none", "search.limits={latency_ms: 1000}")
    for record in driver.sweep(study):
        values = {name: value_of(record, name) for name in MEASURES}
        assert None not in values.values(), values
        assert values["num_parameters"] == record.counts["num_parameters"] > 0
        assert record.curve[0].latency_ms is not None
        assert [item.latency_ms for item in record.curve[1:]] == [None] * (len(record.curve) - 1)
    plain = driver.sweep(make_study("search.trials=1", name="plain"))
    assert value_of(plain[0], "latency_ms") is None, "measured on request only"


def test_a_measured_limit_ends_a_trial_after_its_first_epoch(
    make_study: MakeStudy, driver: Any, killed: type[BaseException]
) -> None:
    study = make_study("search.trials=3", "search.limits={peak_memory_gib: 0.01}")

    def kill(sweep: Sweep) -> None:
        if any(len(record.curve) == 1 for record in sweep.records):
            raise killed

    with pytest.raises(killed):
        driver.sweep(study, watch=kill)
    records = driver.sweep(study)
    assert len(records) == 3
    for record in records:
        assert isinstance(record.outcome, Infeasible)
        assert (record.outcome.measure, record.outcome.limit, len(record.curve)) == ("peak_memory_gib", 0.01, 1)
        assert record.outcome.value > 0.01
        assert record.outcome.reason.startswith("peak_memory_gib ")
    assert list(read_records(study.folder).values()) == records
    assert nominees(records) == []
    status = summarise(records, 3)
    assert (status.num_infeasible, status.num_failed, status.num_over) == (3, 0, 3)
    assert "3 infeasible, " in "\n".join(to_lines(make_overview(study)))


@pytest.mark.slow
def test_counts_above_a_limit_are_never_drawn(make_study: MakeStudy, driver: Any, facts: DataFacts) -> None:
    free = driver.sweep(make_study("search.trials=6", "search.scheduler=none"))
    counts = sorted(record.counts["macs"] for record in free)
    limit = counts[len(counts) // 2]
    study = make_study("search.trials=6", f"search.limits={{macs: {limit}}}", name="limited")
    limited = driver.sweep(study)
    assert limited
    assert all(record.counts["macs"] <= limit for record in limited)
    largest = max(free, key=lambda record: record.counts["macs"])
    assert counts[-1] > limit
    assert why_not(study, largest.point, facts) == f"macs is above search.limits.macs {limit:,}"


@pytest.mark.slow
def test_the_front_is_shown_and_gives_the_finalists(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=8", "search.scheduler=none", TWO, "compare.finalists=2", "compare.choose=front")
    records = driver.sweep(study)
    front = front_of(records, study.search.objectives, {}, num_startup=3)
    on_front = {record.number for record in front.trials}
    for record in records:
        beaten = any(
            (other.val_accuracy or 0) >= (record.val_accuracy or 0)
            and other.counts["num_parameters"] <= record.counts["num_parameters"]
            and (other.val_accuracy, other.counts) != (record.val_accuracy, record.counts)
            for other in records
        )
        assert beaten != (record.number in on_front)
    assert front.trials[0].val_accuracy == max(record.val_accuracy or 0.0 for record in records)
    volumes = [volume for _, volume in front.hypervolumes]
    assert volumes == sorted(volumes)
    overview = make_overview(study)
    shown = to_dict(overview)["front"]
    assert [item["number"] for item in shown["trials"]] == [record.number for record in front.trials]
    assert f"front       {len(on_front)} trial" in "\n".join(to_lines(overview))
    chosen = [item.trial.number for item in pick_contenders(study, records) if item.trial is not None]
    ends = [front.trials[0].number, front.trials[-1].number]
    assert set(chosen[: min(2, len(on_front))]) == set(ends)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search.objectives={val_acuracy: max}", r"search\.objectives\.val_acuracy: .*did you mean val_accuracy"),
        ("search.objectives={val_accuracy: max, macs: max}", r"search\.objectives\.macs: expected min, because lower"),
        ("search.objectives={macs: min}", r"search\.objectives: expected val_accuracy among them"),
        ("search.limits={num_params: 5}", r"search\.limits\.num_params: .*did you mean num_parameters\?"),
        ("search.limits={val_loss: 5}", r"search\.limits\.val_loss: expected a count or cost, found a score"),
        ("compare.choose=front", r"compare\.choose: expected accuracy with a single objective, found front"),
    ],
)
def test_wrong_goals_are_one_line(make_study: MakeStudy, override: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        make_study(override)


def test_a_scheduler_of_one_objective_is_refused(make_study: MakeStudy) -> None:
    with pytest.raises(StudyError, match=r"search\.scheduler: expected asha or none with several objectives"):
        make_study(TWO, "search.scheduler=median")


def test_a_sampler_of_one_objective_is_refused(make_study: MakeStudy) -> None:
    with pytest.raises(StudyError, match=r"search\.sampler: cmaes takes one objective, found several; set"):
        make_study(TWO, "search.sampler=cmaes")


@pytest.mark.parametrize("method", ["nsga2", "nsga3", "gp", "optuna.samplers:TPESampler"])
def test_samplers_are_tried_with_several_objectives(make_study: MakeStudy, method: str) -> None:
    arguments = "search.sampler_args={population_size: 4}" if "nsga" in method else "search.sampler_args={}"
    check_sampler(make_study(TWO, f"search.sampler={method}", arguments))


def test_numbers_that_yaml_reads_as_text_are_limits(make_study: MakeStudy) -> None:
    assert make_study("search.limits={num_parameters: 1.0e6}").search.limits == {"num_parameters": 1e6}


def test_a_rung_keeps_its_front() -> None:
    scheduler = FrontAsha(grace_epochs=1, reduction=3, max_epochs=9)
    assert [scheduler.observe(str(x), 1, (x, -x)) for x in range(6)] == [True] * 6, "all are on the front"
    assert not scheduler.observe("beaten", 1, (6.0, 6.0))
    assert scheduler.observe("beaten", 1, (0.0, 0.0)), "a trial enters a rung once"
    assert scheduler.observe("nan", 1, (float("nan"), 0.0))
    assert scheduler.observe("last", 9, (99.0, 99.0))
