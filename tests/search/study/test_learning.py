"""What a sweep takes from earlier studies, whose trials are made up here."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.errors import InputError, StudyError
from search.journal.earlier import Earlier, earlier_in
from search.journal.events import parse_line
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_history
from search.records import Completed, Failed, Infeasible, Stopped, canonical
from search.runners.checks import check_study
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.learning import take_earlier

MakeStudy = Callable[..., StudyConfig]
WritePast = Callable[..., StudyConfig]


@pytest.fixture
def points(cnn: dict[str, Any], gru: dict[str, Any]) -> list[dict[str, Any]]:
    """Four points of the small space, with learning rates from 0.001 to 0.016."""
    return [{**like, "lr": lr} for like, lr in zip((cnn, gru, cnn, gru), (0.001, 0.002, 0.004, 0.016), strict=True)]


@pytest.fixture
def take(make_study: MakeStudy, facts: DataFacts) -> Callable[..., Earlier]:
    """Read what a study with these options takes: `take("runs/past", space={...})`."""

    def take(past: StudyConfig, *options: str, allow_other: bool = False, **sections: Any) -> Earlier:
        study = make_study("train.epochs=2", f"search.learn_from=[{past.folder}]", *options, name="new", **sections)
        return take_earlier(study, facts, marks=(), allow_other=allow_other)[0]

    return take


def test_trials_of_a_space_that_was_widened_are_all_used(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]], study_data: dict[str, Any]
) -> None:
    past = write_past(*points, outcomes={1: Stopped(epoch=2), 2: Failed(reason="x"), 3: None})
    wide = {**study_data["space"], "lr": {"float": [0.0001, 0.1], "log": True}, "rnn": ["none", "gru", "lstm"]}
    for name in ("nodes", "depth", "layout", "merge", "readout", "rnn_bn"):
        wide[name] = {**wide[name], "when": {"rnn": {"not": "none"}}}
    found = take(past, space=wide)
    assert [(trial.number, trial.outcome, trial.values) for trial in found.trials] == [
        (0, Completed(), (0.5,)),
        (1, Stopped(epoch=2), (0.51,)),
    ]
    assert found.trials[0].point == {"rnn": "none", "dropout": 0.0, "lr": 0.001}
    assert found.trials[1].point == {"rnn": "gru", "nodes": 8, "dropout": 0.0, "lr": 0.002}
    assert found.trials[1].curve == {1: 0.255, 2: 0.51}
    assert found.lines == [f"learns from 2 of 4 trials of {past.folder} (2 left out: 1 x failed; 1 x unfinished)"]


def test_points_outside_a_space_that_was_narrowed_are_left_out(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]], study_data: dict[str, Any]
) -> None:
    found = take(write_past(*points), space={**study_data["space"], "lr": {"float": [0.0015, 0.01], "log": True}})
    assert [trial.number for trial in found.trials] == [1, 2]
    assert dict(found.studies[0].left_out) == {"lr: outside a number from 0.0015 to 0.01 (log)": 2}
    pinned = take(write_past(name="past"), "fix={rnn: gru}")
    assert [trial.number for trial in pinned.trials] == [1, 3]
    assert pinned.trials[0].point == {"nodes": 8, "dropout": 0.0, "lr": 0.002}


def test_a_new_parameter_has_the_value_that_the_earlier_study_trained_with(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]], study_data: dict[str, Any]
) -> None:
    past = write_past(*points, options=("train.weight_decay=0.01",))
    new = {**study_data["space"], "weight_decay": {"float": [0.0, 0.1]}}
    assert [trial.point["weight_decay"] for trial in take(past, space=new).trials] == [0.01] * 4
    with pytest.raises(StudyError, match=r"found 0 of 4 trials .*4 x weight_decay: outside a number from 0.02 to 0.1"):
        take(past, space={**new, "weight_decay": {"float": [0.02, 0.1]}})


def test_trials_with_another_value_of_a_parameter_that_is_gone_are_left_out(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]], study_data: dict[str, Any]
) -> None:
    space = {name: domain for name, domain in study_data["space"].items() if name != "lr"}
    found = take(write_past(*points), "train.lr=0.002", space=space)
    assert [trial.number for trial in found.trials] == [1]
    assert dict(found.studies[0].left_out) == {"lr: other than 0.002, as in such trials here": 3}


def test_a_parameter_may_have_had_another_name(
    write_past: WritePast, make_study: MakeStudy, facts: DataFacts, points: list[dict[str, Any]]
) -> None:
    past = write_past(*points)
    for name in (FILE_NAME, "study.yaml"):  # as an earlier version would have written them
        path = past.folder / name
        path.write_text(path.read_text().replace('"dropout"', '"drop"').replace(" dropout:", " drop:"))

    def make(*names: str) -> StudyConfig:
        entry = f"{{study: {past.folder}, rename: {{{', '.join(names)}}}}}"
        return make_study("train.epochs=2", f"search.learn_from=[{entry}]", name="new")

    found, _ = take_earlier(make("drop: dropout"), facts, marks=())
    assert [trial.point["dropout"] for trial in found.trials] == [0.0] * 4
    with pytest.raises(StudyError, match="4 x dropout: not set there"):
        take_earlier(make(), facts, marks=())


@pytest.mark.parametrize(
    ("options", "sections", "words"),
    [
        ((), {"digest": "other"}, "data (digits there and digits here, with other images)"),
        (("split.fraction=0.5",), {}, "split (stratified 0.5 there and stratified 0.3 here)"),
        (("train.epochs=3",), {}, "epochs (3 there and 2 here)"),
        (("train.augment=hflip", "train.clip=1.0"), {}, "clip (1.0 there and 0.0 here), augment (hflip there and none"),
        (("model.bn_style=keras",), {}, "bn_style (keras there and torch here)"),
    ],
)
def test_other_data_and_recipes_are_refused_unless_they_are_allowed(
    write_past: WritePast,
    take: Callable[..., Earlier],
    points: list[dict[str, Any]],
    options: tuple[str, ...],
    sections: dict[str, Any],
    words: str,
) -> None:
    past = write_past(*points, options=options, **sections)
    with pytest.raises(StudyError) as caught:
        take(past)
    assert len(caught.value.faults) == 1
    assert words in caught.value.faults[0]
    assert caught.value.faults[0].endswith("remove it, or use it all the same with --allow-other")
    allowed = take(past, allow_other=True)
    assert len(allowed.trials) == 4
    assert f"although it has other {words.partition(',')[0]}" in allowed.lines[0]


def test_costs_that_were_measured_otherwise_are_refused(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]]
) -> None:
    """On another device, or of other numbers of blocks; it matters only where costs decide."""
    past = write_past(*points, epochs={"latency_ms": 3.0})
    path = past.folder / FILE_NAME
    path.write_text(path.read_text().replace('"event":"session"', '"event":"session","device":"cuda"', 1))
    limit = "search.limits={latency_ms: 5}"
    with pytest.raises(StudyError, match=r": device \(cuda there and cpu here\)"):
        take(past, limit)
    assert len(take(past, limit, allow_other=True).trials) == 4
    assert len(take(past).trials) == 4
    with pytest.raises(StudyError, match=r"search\.blocks \(1 there and 3 here\)"):
        take(past, "search.limits={train_secs_per_epoch: 5}", "search.blocks=3")
    assert len(take(past, "search.blocks=3").trials) == 4


def test_the_names_of_an_own_space_may_be_the_new_ones(make_study: MakeStudy, study_data: dict[str, Any]) -> None:
    entry = "{study: runs/past, rename: {w: width, v: wdth}}"
    own = {"width": [8, 16], "lr": {"float": [0.001, 0.1], "log": True}}
    with pytest.raises(StudyError) as caught:
        make_study(f"search.learn_from=[{entry}]", "model={factory: 'torch.nn:Linear'}", "fix={}", space=own)
    assert [fault for fault in caught.value.faults if "rename.w:" in fault] == []
    assert [fault for fault in caught.value.faults if "rename.v: wdth: expected a setting" in fault]


def test_precision_and_seed_may_differ(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]]
) -> None:
    assert len(take(write_past(*points, options=("train.precision=bfloat16", "seed=9"))).trials) == 4


def test_objectives_and_limits_are_those_of_this_study(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]]
) -> None:
    past = write_past(*points, epochs={"latency_ms": 3.0, "peak_memory_gib": 0.5})
    two = take(past, "search.objectives={num_parameters: min, val_accuracy: max}", "search.limits={latency_ms: 2}")
    assert two.trials[1].values == (
        float(read_history(past.folder).records[keys(past)[1]].counts["num_parameters"]),
        0.51,
    )
    assert {trial.outcome for trial in two.trials} == {Infeasible(measure="latency_ms", value=3.0, limit=2.0)}
    counts = sorted({trial.values[0] for trial in two.trials})
    few = take(past, f"search.limits={{num_parameters: {counts[0]}}}")
    (why,) = few.studies[0].left_out
    assert why.startswith("num_parameters is above search.limits.num_parameters ")
    assert len(few.trials) == 2
    with pytest.raises(StudyError, match="4 x val_auroc: not measured"):
        take(past, "search.objectives={val_accuracy: max, val_auroc: max}")


def keys(study: StudyConfig) -> list[str]:
    return list(read_history(study.folder).records)


def _damage(past: StudyConfig) -> None:
    path = past.folder / FILE_NAME
    path.write_text(path.read_text().replace('"event":"epoch"', '"event":"epoch', 1))


BROKEN: dict[str, tuple[Callable[[StudyConfig], None], str]] = {
    "gone": (lambda past: shutil.rmtree(past.folder), "expected a study that was swept, found none in "),
    "half of it": (lambda past: (past.folder / "study.yaml").unlink(), "expected a study that was swept, found none"),
    "damaged journal": (_damage, "not a JSON line"),
    "damaged file": (lambda past: (past.folder / "study.yaml").write_text("train: ["), "study.yaml is damaged ("),
    "other file": (lambda past: (past.folder / "study.yaml").write_text("a: 1"), "study.yaml is damaged; restore it"),
    "bad recipe": (
        lambda past: (past.folder / "study.yaml").write_text("train: {epochs: 2, bach: 3}"),
        "train.bach: unknown here; say with `rename`",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_study_is_refused_in_one_line(
    write_past: WritePast, make_study: MakeStudy, points: list[dict[str, Any]], kind: str
) -> None:
    past = write_past(*points)
    BROKEN[kind][0](past)
    with pytest.raises(InputError) as caught:
        check_study(make_study(f"search.learn_from=[{past.folder}]", name="new"), "plan")
    assert len(caught.value.faults) == 1
    assert caught.value.exit_code == 2
    assert BROKEN[kind][1] in caught.value.faults[0]


def test_what_is_no_earlier_study_is_refused(
    write_past: WritePast, make_study: MakeStudy, facts: DataFacts, points: list[dict[str, Any]], tmp_path: Path
) -> None:
    past = write_past(*points)

    def fault(path: object) -> str:
        with pytest.raises(StudyError) as caught:
            take_earlier(make_study(f"search.learn_from=[{path}]", name="new"), facts, marks=())
        return caught.value.faults[0]

    assert "expected the folder or URI of a study, found the file" in fault(past.folder / "study.yaml")
    assert "did you mean" in fault(past.folder.with_name("pats"))
    assert "a study cannot learn from itself" in fault(tmp_path / "runs" / "new")
    with Journal(past.folder):
        assert f"{past.folder} is running; wait for its end, or pause it" in fault(past.folder)
    assert "has no trials; sweep it first" in fault(write_past(name="empty").folder)


def test_the_best_points_of_an_earlier_study_are_enqueued(
    write_past: WritePast, make_study: MakeStudy, facts: DataFacts, points: list[dict[str, Any]], cnn: dict[str, Any]
) -> None:
    past = write_past(*points, outcomes={1: Stopped(epoch=2)}, digest="other", options=("train.epochs=4",))

    def take(number: int, *options: str) -> Earlier:
        study = make_study(f"search.enqueue=[top-{number} of {past.folder}, {{rnn: none}}]", *options, name="new")
        return take_earlier(study, facts, marks=())[0]

    (found,) = take(2).enqueued
    assert [(item.number, item.point["lr"]) for item in found.points] == [(3, 0.016), (2, 0.004)]
    assert take(9).lines == [f"top-9 of {past.folder}: 4 points"], "stopped trials come last"
    narrow = take(3, "space.lr={float: [0.003, 0.01], log: true}")
    assert narrow.lines == [
        f"top-3 of {past.folder}: 1 point (2 left out: 2 x lr: outside a number from 0.003 to 0.01 (log))"
    ]
    with pytest.raises(StudyError, match=r"search.enqueue.0: expected points that can be used, found none; top-1 of"):
        take(1, "space.lr={float: [0.003, 0.01], log: true}")


def test_what_is_taken_survives_the_journal(
    write_past: WritePast, make_study: MakeStudy, facts: DataFacts, points: list[dict[str, Any]]
) -> None:
    past = write_past(*points, outcomes={1: Stopped(epoch=2), 3: None})
    options = (f"search.learn_from=[{past.folder}]", f"search.enqueue=top-1 of {past.folder}", "train.epochs=2")
    study = make_study(*options, name="new")
    found, is_new = take_earlier(study, facts, marks=())
    assert is_new
    line = canonical({"event": "earlier", "at": 1.0, **found.to_fields()}).encode()
    event = parse_line(line, "here")
    assert event is not None
    assert earlier_in([event]) == found
    shutil.rmtree(past.folder)
    assert take_earlier(study, facts, marks=[event]) == (found, False)
    with pytest.raises(InputError, match=r"trials\.0\.outcome\.word"):
        parse_line(line.replace(b'"completed"', b'"perfect"'), "here")
    with pytest.raises(StudyError, match="found none in"):  # what is asked has changed, so it is read again
        take_earlier(make_study(*options, "space.dropout=[0.0, 0.3]", name="new"), facts, marks=[event])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("search.sampler=random",),
            "search.learn_from: has no effect with search.sampler random, which does not learn",
        ),
        (("search.sampler=qmc",), "search.learn_from: has no effect with search.sampler qmc, which does not learn"),
    ],
)
def test_a_sampler_that_does_not_learn_says_so(make_study: MakeStudy, options: tuple[str, ...], words: str) -> None:
    checked = check_study(make_study("search.learn_from=runs/nowhere", *options), "plan")
    assert words in checked.warnings
    assert checked.earlier == ()


def test_cmaes_needs_ten_trials(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]]
) -> None:
    with pytest.raises(StudyError, match=r"cmaes needs at least 10 trials of earlier studies, found 4"):
        take(write_past(*points), "search.sampler=cmaes")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("search.learn_from=[runs/a, runs/a]", "search.learn_from.1: the same study as an entry before it"),
        (
            "search.learn_from=[{study: runs/a, rename: {x: drop}}]",
            "search.learn_from.0.rename.x: drop: expected a set",
        ),
        ("search.learn_from=[{stdy: runs/a}]", "search.learn_from.0.stdy: unknown key; did you mean study?"),
        ("search.learn_from=[3]", "search.learn_from.0: expected a mapping, got 3"),
        ("search.learn_from=['s3://b/${NO_SUCH}/x']", "search.learn_from.0.study: refers to ${NO_SUCH}"),
        ("search.enqueue=[top-0 of runs/a]", "search.enqueue.0: expected a preset, a point or `top-5 of STUDY`"),
        (
            "search={trials: 3, sampler: cmaes, sampler_args: {sigma0: 1}, learn_from: [a]}",
            "search.sampler_args.sigma0",
        ),
    ],
)
def test_bad_input(make_study: MakeStudy, option: str, words: str) -> None:
    with pytest.raises(StudyError) as caught:
        make_study(option)
    assert any(words in fault for fault in caught.value.faults)


def test_the_epoch_that_counts_is_that_of_this_study(
    write_past: WritePast, take: Callable[..., Earlier], points: list[dict[str, Any]]
) -> None:
    past = write_past(points[0])
    path = past.folder / FILE_NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    next(line for line in lines if line["event"] == "epoch")["metrics"]["val_accuracy"] = 0.9
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (last, best) = (take(past, f"train.keep={keep}", allow_other=True).trials[0] for keep in ("last", "best"))
    assert (last.values, dict(last.curve)) == ((0.5,), {1: 0.9, 2: 0.5})
    assert (best.values, dict(best.curve)) == ((0.9,), {1: 0.9, 2: 0.9})


def test_what_was_taken_holds_once_there_are_trials(
    make_study: MakeStudy, facts: DataFacts, write_past: WritePast, points: list[dict[str, Any]]
) -> None:
    """A later version may ask in other words; the earlier study may be gone by then."""
    past = write_past(*points)
    study = make_study("train.epochs=2", f"search.learn_from=[{past.folder}]", name="new")
    taken, _ = take_earlier(study, facts, marks=())
    mark = {
        "event": "earlier",
        "at": 0.0,
        **dataclasses.replace(taken, asked="in the words of an older version").to_fields(),
    }
    shutil.rmtree(past.folder)
    found, is_new = take_earlier(study, facts, marks=[mark], has_trials=True)
    assert (found.trials, is_new) == (taken.trials, False)
    with pytest.raises(StudyError, match="found none"):
        take_earlier(study, facts, marks=[mark])
