"""The section and the table on what mattered, and the command that would make a claim of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from search.journal.importance import what_mattered
from search.journal.journal import Journal
from search.records import Completed, Infeasible, Stopped, TrialRecord
from search.report.claim import command_lines, find_rival
from search.report.importance_text import read_importance, to_dict, to_lines
from search.report.material import gather
from search.report.page import make_page
from search.study.config import StudyConfig
from search.study.folder import claim_folder

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def swept(
    make_study: MakeStudy, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]
) -> Callable[..., StudyConfig]:
    """Write a sweep of which the learning rate decides: `swept(24)`; `stopped` trials come last."""

    def make(num_trials: int, *, stopped: int = 0, **sections: Any) -> StudyConfig:
        study = make_study(**sections)
        space = study.build_space()
        with Journal(claim_folder(study)) as journal:
            data = {"name": "digits", "digest": "d1g3st", "num_train": 70, "num_test": 50, "height": 8, "width": 8}
            journal.note("session", verb="sweep", versions={}, git=None, data=data, classes=list("0123456789"))
            for number in range(num_trials):
                rate = 0.0005 * 40 ** ((number * 7 % num_trials) / num_trials)
                cell = {"rnn": "gru", "nodes": (4, 8)[number // 2 % 2]} if number % 2 else {"rnn": "none"}
                point = dict(space.point({**cell, "dropout": (0.0, 0.2)[number // 4 % 2], "lr": rate}))
                journal.begin(make_record(f"t{number}", number=number, label=f"trial {number}", point=point))
                is_stopped = number >= num_trials - stopped
                for epoch in range(1, 2 if is_stopped else 3):
                    journal.epoch(f"t{number}", make_epoch(epoch, 0.3 + 10 * rate + 0.01 * epoch), "node-1")
                journal.end(f"t{number}", Stopped(epoch=1) if is_stopped else Completed())
            journal.note("stop")
        return study

    return make


def test_the_section_describes_and_offers_a_claim(swept: Callable[..., StudyConfig], parse: Any) -> None:
    study = swept(24)
    page = parse(make_page(gather(study)))
    assert {"id": "importance", "aria-labelledby": "importance-title"} in page.all("section")
    assert "Importance is no claim" in page.words
    assert f"hybrid-search compare {study.location}" in page.words
    assert "24 trials with a result: 24 completed" in page.words
    captions = ["middle 95 % of resamplings", "Last validation accuracy", "Rank in the sweep", "Each line is a trial"]
    assert all(words in page.words for words in captions)
    assert "too few trials: importances take at least 20, there are 6" in page.words


def test_of_few_trials_the_section_says_so(swept: Callable[..., StudyConfig], parse: Any) -> None:
    page = parse(make_page(gather(swept(19))))
    assert "too few trials importances take at least 20, there are 19" in re.sub(r"\s+", " ", page.words)
    assert "resamplings" not in page.words


def test_without_a_result_there_is_no_section(make_study: MakeStudy, told: Any, parse: Any) -> None:
    page = parse(make_page(gather(told(make_study(), [None]))))
    assert "What mattered" not in page.words


def test_the_table_fits_80_columns(swept: Callable[..., StudyConfig]) -> None:
    study = swept(40, stopped=10)
    lines = to_lines(study, read_importance(study))[1:]  # the folder's name may be long
    own = [line for line in lines if str(study.location) not in line]
    assert max(map(len, own)) <= 80
    assert "importance  40 trials with a result: 30 completed, 10 stopped early" in lines
    (rate,) = [line for line in lines if line.startswith("lr ")]
    assert len(re.findall(r"~?\d+ % \(\d+ to \d+\)", rate)) == 2  # best quarter and variance
    assert any("after epoch 1" in line for line in lines)


def test_the_command_compares_the_nominee_with_one_change(swept: Callable[..., StudyConfig]) -> None:
    study = swept(24)
    importance = read_importance(study)
    rival = find_rival(importance, study)
    assert rival is not None
    assert rival.parameter == importance.parameters[0] == "lr"
    best = importance.trials.records[0]
    free = {name: value for name, value in best.point.items() if name in study.build_space().free}
    assert {name: value for name, value in rival.point.items() if name != "lr"} == {
        name: value for name, value in free.items() if name != "lr"
    }
    assert rival.trial is None
    assert rival.point["lr"] < 0.0032 < best.point["lr"]  # the middle of the range, on its scale
    assert f"the same model at lr {rival.value}" in rival.words


@pytest.mark.parametrize("section", [{}, {"finalists": 3, "family": {"f": [["finalist-1", "finalist-2"]]}}])
def test_the_command_is_read_as_it_was_meant(
    swept: Callable[..., StudyConfig], make_study: MakeStudy, section: dict[str, Any]
) -> None:
    study = swept(24, compare=section)
    rival = find_rival(read_importance(study), study)
    assert rival is not None
    words = shlex.split("\n".join(command_lines(rival, study)).replace("\\\n", " "))
    assert words[:3] == ["hybrid-search", "compare", str(study.location)]
    assert all(option == "--set" for option in words[3::2])
    again = make_study(*words[4::2], compare=section)
    assert again.compare.finalists == 1
    assert again.compare.family == "baselines"
    assert again.compare.baselines == (rival.point,)


def test_small_numbers_remain_numbers(swept: Callable[..., StudyConfig], make_study: MakeStudy) -> None:
    """YAML 1.1 reads 1e-05 as text."""
    study = swept(24)
    rival = find_rival(read_importance(study), study)
    assert rival is not None
    rival.point["lr"] = 1e-05
    words = shlex.split("\n".join(command_lines(rival, study)).replace("\\\n", " "))
    (baseline,) = make_study(words[-1]).compare.baselines
    assert isinstance(baseline, dict)
    assert baseline["lr"] == 1e-05


def test_a_rival_of_another_kind_is_a_trial_of_its_own(
    swept: Callable[..., StudyConfig], make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]
) -> None:
    """A network without a recurrence has no nodes, so the nominee with only `rnn` changed does not exist."""
    study = swept(2)
    space = study.build_space()
    points = [{"rnn": "gru", "nodes": 8, "dropout": 0.0, "lr": 0.01}, {"rnn": "none", "dropout": 0.0, "lr": 0.01}]
    records = [
        make_record(
            f"t{n}", number=n, outcome=Completed(), curve=(make_epoch(1, 0.9 - n / 10),), point=dict(space.point(p))
        )
        for n, p in enumerate(points)
    ]
    rival = find_rival(what_mattered(records, space), study)
    assert rival is not None
    assert (rival.parameter, rival.trial, rival.point) == ("rnn", 1, points[1])
    assert "trial 1, the best with rnn none, which differs in more" in rival.words


@pytest.mark.parametrize("limited", [False, True])
def test_an_invalid_model_is_no_rival(
    make_study: MakeStudy,
    make_record: Callable[..., TrialRecord],
    make_epoch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    limited: bool,
) -> None:
    """Then the trial with the other value is, which was trained; so it is if the size of the images is not known."""
    study = make_study("search.limits.num_parameters=1000000000") if limited else make_study()
    data = {"name": "digits", "digest": "d", "num_train": 70, "num_test": 50, "height": 8, "width": 8}
    with Journal(claim_folder(study)) as journal:
        journal.note("session", verb="sweep", data=data, classes=list("0123456789"))
    space = study.build_space()
    points = [{"rnn": "gru", "nodes": n, "dropout": d, "lr": 0.01} for n, d in ((8, 0.0), (4, 0.2))]
    records = [
        make_record(
            f"t{n}", number=n, outcome=Completed(), curve=(make_epoch(1, 0.9 - n / 10),), point=dict(space.point(p))
        )
        for n, p in enumerate(points)
    ]
    mattered = what_mattered(records, space)
    alone = find_rival(mattered, study)
    assert alone is not None
    assert (alone.parameter, alone.trial, alone.point) == ("nodes", None, {**points[0], "nodes": 4})
    if limited:
        strict = study.model_copy(update={"search": study.search.model_copy(update={"limits": {"num_parameters": 10}})})
        other = find_rival(mattered, strict)
    else:
        monkeypatch.setattr("search.report.claim.why_not", lambda *_: "no valid model")
        other = find_rival(mattered, study)
    assert other is not None
    assert (other.trial, other.point) == (1, points[1])
    monkeypatch.undo()
    (study.folder / "journal.jsonl").unlink()
    unknown = find_rival(mattered, study)
    assert unknown is not None
    assert unknown.trial == 1


def test_an_infeasible_trial_is_no_rival(
    make_study: MakeStudy, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]
) -> None:
    study = make_study()
    space = study.build_space()
    outcomes = [Completed(), Infeasible(measure="latency_ms", value=9.0, limit=5.0), Completed()]
    points = [{"rnn": "gru", "nodes": n, "dropout": 0.0, "lr": rate} for n, rate in ((8, 0.01), (4, 0.01), (8, 0.001))]
    records = [
        make_record(
            f"t{n}", number=n, outcome=outcome, curve=(make_epoch(1, 0.9 - n / 10),), point=dict(space.point(point))
        )
        for n, (point, outcome) in enumerate(zip(points, outcomes, strict=True))
    ]
    rival = find_rival(what_mattered(records, space), study)
    assert rival is not None
    assert (rival.parameter, rival.trial) == ("lr", 2), "the only other number of nodes is infeasible"


def test_infeasible_trials_and_several_goals_are_said(
    swept: Callable[..., StudyConfig], parse: Any, make_record: Callable[..., TrialRecord], make_epoch: Any
) -> None:
    search = {"trials": 6, "objectives": {"val_accuracy": "max", "num_parameters": "min"}, "limits": {"latency_ms": 5}}
    study = swept(24, search=search)
    point = {"rnn": "none", "dropout": 0.0, "lr": 0.01}
    with Journal(study.folder) as journal:
        journal.begin(make_record("slow", number=24, point=dict(study.build_space().point(point))))
        journal.epoch("slow", make_epoch(1, 0.9), "node-1")
        journal.end("slow", Infeasible(measure="latency_ms", value=9.0, limit=5.0))
    lines = to_lines(study, read_importance(study))
    assert lines[1] == "importance  25 trials with a result: 24 completed, 1 infeasible"
    note = "Of the goals, this describes the validation accuracy alone, not num_parameters."
    assert note in re.sub(r"\s+", " ", " ".join(lines))
    assert note in re.sub(r"\s+", " ", parse(make_page(gather(study))).words)
    assert to_dict(study, read_importance(study))["trials"]["infeasible"] == 1


def test_one_goal_is_not_said(swept: Callable[..., StudyConfig]) -> None:
    study = swept(24)
    assert "Of the goals" not in " ".join(to_lines(study, read_importance(study)))


def test_equal_scores_are_said(
    make_study: MakeStudy, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]
) -> None:
    study = make_study()
    space = study.build_space()
    records = [
        make_record(
            f"t{n}",
            number=n,
            outcome=Completed(),
            curve=(make_epoch(1, 0.1),),
            point=dict(space.point({"rnn": "none", "dropout": (0.0, 0.2)[n % 2], "lr": 0.001 + n / 10_000})),
        )
        for n in range(24)
    ]
    found = what_mattered(records, space)
    (line,) = [line for line in to_lines(study, found) if line.startswith("dropout: ")]
    assert line.split()[-7:] == ["+0.00", "no", "score", "varies", "12", "and", "12"]
    assert "NaN" not in json.dumps(to_dict(study, found))


def test_the_document_has_all_numbers(swept: Callable[..., StudyConfig]) -> None:
    study = swept(40, stopped=10)
    found = to_dict(study, read_importance(study))
    assert found["trials"] == {"completed": 30, "stopped": 10, "infeasible": 0, "diverged": 0}
    assert found["score"] == "val_accuracy"
    assert found["epoch"] == 1
    assert found["rankings"]["reaching"]["num_trials"] == 40
    assert {share["parameter"] for share in found["rankings"]["reaching"]["shares"]} == {
        "rnn",
        "nodes",
        "dropout",
        "lr",
    }
    assert found["rankings"]["within"]["shares"] == ()
    assert {item["parameter"] for item in found["choices"]} == {"rnn", "nodes", "dropout"}
    assert found["rival"]["command"].startswith("hybrid-search compare ")
