from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from search.errors import EXIT_INPUT, NothingToDoError, StudyChangedError, StudyError
from search.journal.journal import Journal
from search.records import TrialRecord
from search.seeds import make_block
from search.study import claims
from search.study.bind import DataFacts, bind, check_points, complete_point, describe_rejected, why_not
from search.study.claims import adjust_for, declare, describe_claims, families_of, too_few_repeats
from search.study.config import StudyConfig, to_dict
from search.study.folder import claim_folder
from search.study.load import find_study, load_study, parse_study
from search.study.shipped import shipped_studies
from spaces.presets import load_preset

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def begin(make_record: Callable[..., TrialRecord]) -> Callable[[StudyConfig], Path]:
    """Claim a study's folder and record one trial there: from then on the study must not change."""

    def claim(study: StudyConfig) -> Path:
        folder = claim_folder(study)
        with Journal(folder) as journal:
            journal.begin(make_record("a" * 16))
        return folder

    return claim


SPACE: dict[str, Any] = {
    "backbone": "cnn4",
    "cnn_bn": True,
    "cnn_dropout": 0.0,
    "enc_on": False,
    "rnn": ["none", "gru"],
    "pool_head": {"fixed": "flatten", "when": {"rnn": "none"}},
    "nodes": {"choice": [4, 8], "when": {"rnn": "gru"}},
    "depth": {"fixed": 1, "when": {"rnn": "gru"}},
    "layout": {"fixed": "positions", "when": {"rnn": "gru"}},
    "merge": {"fixed": "serial", "when": {"rnn": "gru"}},
    "readout": {"fixed": "last", "when": {"rnn": "gru"}},
    "rnn_bn": {"fixed": False, "when": {"rnn": "gru"}},
    "fc": "-",
    "dropout": [0.0, 0.2],
    "lr": {"float": [0.0005, 0.02], "log": True},
}


def space_with(**parameters: Any) -> dict[str, Any]:
    """The space with some parameters replaced or added, and without the conditional ones."""
    plain = {name: value for name, value in SPACE.items() if not (isinstance(value, dict) and "when" in value)}
    return {"space": {**plain, **parameters}}


def faults_of(data: object, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        parse_study(data, "my.yaml", overrides)
    assert caught.value.exit_code == EXIT_INPUT
    for fault in caught.value.faults:
        assert "\n" not in fault
        assert fault.startswith(("my.yaml: ", "--set "))
    return caught.value.faults


def one_fault(data: object, *overrides: str) -> str:
    faults = faults_of(data, *overrides)
    assert len(faults) == 1, faults
    return faults[0]


BAD: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "unknown section": ("trian", {}, ("trian: unknown key", "did you mean train?")),
    "unknown key": ("search.trails", 3, ("search.trails: unknown key", "did you mean trials?")),
    "unknown key of the data": ("data.rot", "x", ("data.rot: unknown key", "did you mean root?")),
    "unknown key of the recipe": ("train.epoch", 3, ("train.epoch: unknown key", "did you mean epochs?")),
    "unknown key without a likeness": ("split.xyz", 3, ("split.xyz: unknown key", "known keys: method, fraction")),
    "wrong type": ("search.trials", "many", ("search.trials", "expected a whole number", "'many'")),
    "fractional count": ("train.epochs", 1.5, ("train.epochs", "expected a whole number", "1.5")),
    "empty section": ("search", None, ("search: expected a mapping", "None")),
    "no list": ("search.enqueue", "ecrnn/cnn", ("search.enqueue", "expected a list", "'ecrnn/cnn'")),
    "out of range": ("search.trials", 0, ("search.trials", "greater than or equal to 1", "0")),
    "out of range in the recipe": ("train.lr", -1, ("train.lr must be above 0", "-1")),
    "not a number": ("train.lr", float("nan"), ("train.lr: expected a finite number", "nan")),
    "not a time": (
        "search.time_budget_mins",
        float("nan"),
        ("search.time_budget_mins: expected a finite number", "nan"),
    ),
    "unknown choice": (
        "search.scheduler",
        "ahsa",
        ("search.scheduler", "'asha', 'asha-promote', 'hyperband'", "'ahsa'; did you mean asha?"),
    ),
    "unknown optimizer": ("train.optimizer", "adm", ("train.optimizer must be one of adam", "'adm'")),
    "unknown data": ("data.name", "digit", ("data.name must be one of digits", "'digit'")),
    "impossible split": ("split", {"fraction": 1.0}, ("split.fraction must be above 0 and below 1", "1.0")),
    "name that leaves the folder": ("name", "../else", ("name:", "letters, digits", "'../else'")),
    "unknown space": ("space", "ecrn", ("space:", "no space is called 'ecrn'", "did you mean ecrnn?")),
    "unknown enqueued preset": (
        "search.enqueue",
        ["ecrnn/ccn"],
        ("search.enqueue.0:", "no preset is called 'ecrnn/ccn'", "did you mean ecrnn/cnn?"),
    ),
    "unknown baseline": (
        "compare",
        {"baselines": ["ecrnn/cnn", "ecrnn/ecrnn-bilstm16"]},
        ("compare.baselines.1:", "no preset is called", "did you mean ecrnn/ecrnn-bilstm-16"),
    ),
    "bad fix value": ("fix", {"lr": 5.0}, ("lr: expected a number from 0.0005 to 0.02 (log)", "5.0")),
    "unknown fix": ("fix", {"lrr": 0.001}, ("lrr: expected a parameter of this space", "did you mean lr?")),
    "bad domain": ("space", {"a": {"float": [1, 2, 3]}}, ("a: expected float: [low, high]", "[1, 2, 3]")),
    "empty space": (
        "space",
        {"a": [1, 2], "forbidden": [{"when": {"a": [1, 2]}, "why": "all"}]},
        ("space:", "expected at least one possible point", "none"),
    ),
}


def put(data: dict[str, Any], path: str, value: object) -> None:
    *sections, last = path.split(".")
    for section in sections:
        data = data.setdefault(section, {})
    data[last] = value


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_with_place_expectation_and_finding(study_data: dict[str, Any], case: str) -> None:
    path, value, words = BAD[case]
    put(study_data, path, value)
    fault = one_fault(study_data)
    for word in words:
        assert word in fault


@pytest.mark.parametrize(
    ("path", "missing"), [("train", "train.epochs"), ("search", "search.trials"), ("data", "data.name")]
)
def test_missing_key_is_named(study_data: dict[str, Any], path: str, missing: str) -> None:
    study_data[path] = {}
    assert f"{missing}: missing; add it" in one_fault(study_data)


def test_all_faults_come_at_once(study_data: dict[str, Any]) -> None:
    del study_data["data"]
    study_data |= {"train": {"epochs": 0, "lr": 0}, "search": {"trials": 0, "trails": 1}}
    faults = faults_of(study_data)
    for word in ("data: missing", "train.epochs must", "train.lr must", "search.trials:", "search.trails: unknown"):
        assert sum(word in fault for fault in faults) == 1, word
    assert len(faults) == 5


def test_a_list_is_no_study() -> None:
    assert "expected a mapping of sections, got list" in one_fault([1])


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.epochs", "expected path.to.key=value, such as train.epochs=3"),
        ("=3", "expected path.to.key=value"),
        ("train..lr=3", "expected path.to.key=value"),
        ("name.x=3", "name is not a section, its value is 'tiny'"),
        ("search.trials=[1", "the value is not YAML"),
        ("search.trails=3", "search.trails: unknown key; did you mean trials?"),
        ("train.epochs=0", "train.epochs must be at least 1, got 0"),
    ],
)
def test_bad_override(study_data: dict[str, Any], assignment: str, words: str) -> None:
    assert words in one_fault(study_data, assignment)


def test_overrides_reach_every_depth(make_study: MakeStudy) -> None:
    study = make_study("seed=9", "train.lr=1e-3", "compare.repeats=4", "compare.baselines=[ecrnn/cnn]", "data.limit=50")
    assert (study.seed, study.train.lr, study.compare.repeats) == (9, 0.001, 4)
    assert (study.compare.baselines, study.data.limit) == (("ecrnn/cnn",), 50)


def test_a_study_is_immutable(make_study: MakeStudy) -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_study().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: a\ntrain: [1\nsearch: 2\n", r"broken\.yaml:3: not YAML: expected ',' or '\]'"),
        (b"name: a: b\n", r"broken\.yaml:1: not YAML: mapping values are not allowed"),
        (b"name: !!python/object/apply:os.getcwd []\n", r"broken\.yaml:1: not YAML: could not determine a constructor"),
        (b"\xff\xfe\x00", r"broken\.yaml: cannot be read as a study file"),
        (b"name: a\nseed: \x00\n", r"broken\.yaml:2: not YAML: the character '\\x00' is not allowed"),
        (b"[" * 3000, r"broken\.yaml: not YAML: maximum recursion"),
        (b"name: 2024-99-99\n", r"broken\.yaml: not YAML: month must be in 1"),
        (b"", r"broken\.yaml: expected a mapping of sections, got NoneType"),
    ],
)
def test_unreadable_file_names_the_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=words):
        load_study(path)


def test_missing_file_lists_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # studies in the working folder would be offered
    with pytest.raises(StudyError, match=r"no such study file; shipped ones: .*demo\.yaml"):
        load_study(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", shipped_studies(), ids=os.path.basename)
def test_shipped_studies_are_right(path: str) -> None:
    assert load_study(Path(path)).build_space().free


def test_fix_pins_and_finite_spaces_are_counted(make_study: MakeStudy) -> None:
    space = make_study(fix={"lr": 0.001, "rnn": "gru"}).build_space()
    assert space.size == 4
    assert {point["rnn"] for point in space.enumerate()} == {"gru"}


def test_resolved_file_round_trips(make_study: MakeStudy) -> None:
    study = make_study("search.time_budget_mins=1.5", fix={"rnn": "gru"}, model={"init": "keras"})
    folder = claim_folder(study)
    assert folder == study.folder
    assert load_study(folder / "study.yaml") == study
    assert find_study(folder) == study
    assert yaml.safe_load((folder / "study.yaml").read_text())["search"]["max_failed_fraction"] == 0.5
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]


FAMILIES: dict[str, Any] = {
    "baselines": ["ecrnn/cnn", {"rnn": "gru", "nodes": 4}],
    "finalists": 2,
    "confirm": 4,
    "family": {
        "wins": [["finalist-1", "ecrnn/cnn"], ["finalist-2", "ecrnn/cnn"]],
        "cells": [["finalist-1", "finalist-2"], ["finalist-1", "baseline-2"], ["baseline-2", "finalist-2"]],
    },
}


def test_declared_families_round_trip_and_may_change(make_study: MakeStudy) -> None:
    study = make_study(compare=FAMILIES)
    folder = claim_folder(study)
    assert load_study(folder / "study.yaml") == study
    assert find_study(folder) == study
    changed = make_study(compare={**FAMILIES, "adjust": "max-t", "estimand": "this-data", "family": "all-pairs"})
    assert find_study(claim_folder(changed)) == changed
    assert make_study(compare=FAMILIES).compare.num_confirm == 4
    assert make_study("compare.repeats=7").compare.num_confirm == 7


def test_a_study_file_knows_the_adjustments_of_the_analysis_without_importing_it() -> None:
    from search.significance import declared

    assert get_args(claims.Adjust) == get_args(declared.Adjust)
    code = "import sys, search.study.config; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_families_are_declared_by_place(make_study: MakeStudy) -> None:
    study = make_study(compare=FAMILIES)
    wins, cells = families_of(study.compare)
    assert (wins.name, cells.name) == ("wins", "cells")
    assert wins.pairs == (("finalist-1", "baseline-1"), ("finalist-2", "baseline-1"))
    assert cells.pairs[2] == ("baseline-2", "finalist-2")
    assert (wins.has_all_pairs, cells.has_all_pairs) == (False, True)
    filled = declare(study.compare, finalists=["f", "g"], baselines=["x", "y"])
    assert [family.pairs for family in filled] == [(("f", "x"), ("g", "x")), (("f", "g"), ("f", "y"), ("y", "g"))]
    # A survivor's family is a part of the declared one: where all pairs are gone, Holm does not need them.
    shaffer = study.compare.model_copy(update={"adjust": "shaffer"})
    assert [adjust_for(shaffer, family) for family in (wins, cells)] == ["holm", "shaffer"]
    assert describe_claims(study.compare) == (
        "5 comparisons in 2 families (2, 3), about new data of this kind; holm, family-wise error rate 0.05 each"
    )
    assert "bh, false discovery rate 0.1" in describe_claims(make_study(compare={"adjust": "bh", "alpha": 0.1}).compare)


@pytest.mark.parametrize(
    ("compare", "fewest"),
    [
        ({}, 3),
        ({"estimand": "this-data"}, 5),
        ({"estimand": "this-data", "adjust": "max-t"}, 6),
        ({"estimand": "this-data", "adjust": "max-t", "finalists": 4, "baselines": ["ecrnn/cnn", "yin/cnn"]}, 6),
    ],
)
def test_too_few_repeats_for_any_verdict_are_named(make_study: MakeStudy, compare: dict[str, Any], fewest: int) -> None:
    section = make_study(compare=compare).compare
    assert too_few_repeats(section, fewest) == []
    (line,) = too_few_repeats(section, fewest - 1)
    assert line.startswith(
        f"compare.repeats: {fewest - 1} cannot lead to a verdict, whatever the results; with compare."
    )
    assert line.endswith(f"use at least {fewest}")


def test_study_is_found_through_its_file_and_after_a_move(
    tmp_path: Path, study_data: dict[str, Any], make_study: MakeStudy
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(study_data, sort_keys=False))
    with pytest.raises(NothingToDoError, match="no study here yet; run `hybrid-search sweep` first"):
        find_study(path)
    folder = claim_folder(make_study())
    assert find_study(path) == make_study()
    moved = folder.rename(tmp_path / "moved")
    assert find_study(moved).folder == moved


@pytest.mark.parametrize(
    "override",
    [
        "seed=4",
        "train.lr=0.1",
        "train.epochs=4",
        "split.fraction=0.4",
        "data.limit=90",
        "search.sampler=random",
        "search.scheduler=none",
        "search.reduction=3",
        "search.startup_trials=4",
        "search.trials=5",
        "space.nodes.choice=[4, 16]",
        "fix.rnn=gru",
        "model.init=keras",
    ],
)
def test_changed_fields_are_refused_by_name(
    make_study: MakeStudy, begin: Callable[[StudyConfig], Path], override: str
) -> None:
    folder = begin(make_study())
    before = (folder / "study.yaml").read_bytes()
    with pytest.raises(StudyChangedError, match="give the study another name") as caught:
        claim_folder(make_study(override))
    assert any(f" {override.partition('=')[0]} was " in fault for fault in caught.value.faults)
    assert (folder / "study.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "override",
    [
        "search.trials=60",
        "search.time_budget_mins=5",
        "search.max_failed_fraction=0.9",
        "resources.concurrency=2",
        "resources.address=auto",
        "tracking.uri=http://127.0.0.1:5000",
        "compare.baselines=[ecrnn/cnn]",
        "compare.repeats=3",
        "data.root=elsewhere",
        "data.download=true",
    ],
)
def test_what_extends_the_budget_or_changes_no_trial_is_allowed(
    make_study: MakeStudy, override: str, begin: Callable[[StudyConfig], Path]
) -> None:
    begin(make_study())
    changed = make_study(override)
    assert find_study(claim_folder(changed)) == changed
    assert to_dict(changed) != to_dict(make_study())


def test_a_study_without_trials_may_change(make_study: MakeStudy) -> None:
    folder = claim_folder(make_study())
    (folder / "optuna.log").write_text("of the space that was")
    assert claim_folder(make_study("seed=4", "space.dropout=0.1")) == folder
    assert find_study(folder).seed == 4
    assert not (folder / "optuna.log").exists()


def test_unwritable_storage_is_named(make_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"storage: .*file/deep/tiny cannot be written .*; choose another storage"):
        claim_folder(make_study(storage=str(tmp_path / "file" / "deep")))


HOPELESS: dict[str, tuple[dict[str, Any], str]] = {
    "unions give one fault": ({"space": 3}, "space: expected text or a mapping, got 3"),
    "unions in fix": (
        {"fix": {"lr": [1]}},
        "fix.lr: expected true or false, a whole number, a number or text, got [1]",
    ),
    "unions in enqueue": ({"search": {"trials": 1, "enqueue": [3]}}, "search.enqueue.0: expected text or a mapping"),
    "unions inside a point": ({"search": {"trials": 1, "enqueue": [{"lr": [1]}]}}, "search.enqueue.0.lr: expected"),
    "true is no count": ({"search": {"trials": True}}, "search.trials: expected a whole number, got true"),
    "text is no switch": ({"tracking": {"enabled": "no"}}, "tracking.enabled: expected true or false, got 'no'"),
    "a date is no name": ({"name": date(2024, 1, 2)}, "name: expected text, a number"),
    "keys are text": ({"model": {True: 1}}, "model.True: expected a key of text, found True"),
    "unknown model setting": ({"model": {"inti": "keras"}}, "did you mean init?"),
    "bad model setting": ({"model": {"init": "kears"}}, "model.init: expected one of torch, keras, found 'kears'"),
    "model setting of the recipe": ({"model": {"lr": 0.1}}, "model.lr: expected a setting of the model; lr belongs in"),
    "model setting of the data": ({"model": {"num_classes": 3}}, "model.num_classes: expected no such setting"),
    "grid over a continuous space": ({"search": {"trials": 1, "sampler": "grid"}}, "search.sampler: grid expects"),
    "parameter that no model has": ({"space": {"backbne": ["cnn4", "cnn5"]}}, "space.backbne: expected a setting"),
    "epochs are not searched": ({"fix": {}, "space": {"epochs": [1, 2]}}, "space.epochs: expected no epochs here"),
    "impossible share": (space_with(dropout={"float": [0, 1.5]}), "space.dropout: expected a share of at least 0"),
    "impossible width": (space_with(nodes=[0, 4]), "space.nodes: expected a whole number of at least 1, found 0"),
    "impossible rate": (space_with(lr={"float": [0, 0.1]}), "space.lr must be above 0, got 0.0"),
    "impossible choice": (space_with(rnn=["none", "gruu"]), "space.rnn: expected one of none, rnn_tanh"),
    "wrong type in a choice": (space_with(lr=["fast", "slow"]), "space.lr: expected a number, got 'fast'"),
    "point of unknown names": ({"compare": {"baselines": [{"rnnn": "gru"}]}}, "compare.baselines.0.rnnn: expected"),
    "point with epochs": ({"compare": {"baselines": [{"epochs": 90}]}}, "compare.baselines.0.epochs: expected no"),
    "point of wrong values": ({"compare": {"baselines": [{"lr": "x"}]}}, "compare.baselines.0.lr: expected a number"),
    "infinite rate": ({"train": {"epochs": 1, "lr": float("inf")}}, "train.lr: expected a finite number, got inf"),
    "number read as text": ({"fix": {"lr": "1e-3"}}, "found '1e-3'; YAML reads 1e-3 as text: write 1.0e-3"),
    "two names of one rate": (
        space_with(lr_sgd={"float": [0.005, 0.5], "log": True}),
        "space.lr_sgd: expected either it or lr, found both; remove one",
    ),
    "impossible rate by another name": (
        {"compare": {"baselines": [{"lr_adaptive": 0}]}},
        "compare.baselines.0.lr_adaptive must be above 0, got 0",
    ),
    "no family of that name": (
        {"compare": {"family": "every"}},
        "compare.family: expected 'baselines' or 'all-pairs' or a mapping, got 'every'",
    ),
    "a pair that is no list": ({"compare": {"family": {"x": ["a"]}}}, "compare.family.x.0: expected a list, got 'a'"),
    "no family at all": ({"compare": {"family": {}}}, "compare.family: expected baselines, all-pairs or families by"),
    "a family without pairs": (
        {"compare": {"family": {"x": []}}},
        "compare.family.x: expected at least one pair [a, b], found none; add one, or remove the family",
    ),
    "an odd name of a family": (
        {"compare": {"family": {"a|b": [["finalist-1", "baseline-1"]]}, "baselines": ["ecrnn/cnn"]}},
        "compare.family.a|b: expected a name of letters, digits, spaces and ._+-, found 'a|b'; rename it",
    ),
    "a pair of three": (
        {"compare": {"family": {"x": [["finalist-1", "baseline-1", "c"]]}, "baselines": ["ecrnn/cnn"]}},
        "compare.family.x.0: expected two names [a, b], found 3",
    ),
    "an unknown name in a family": (
        {"compare": {"family": {"x": [["finalist-1", "ecrnn/cn"]]}, "baselines": ["ecrnn/cnn", "ecrnn/crnn-lstm-16"]}},
        "compare.family.x.0: expected a finalist or baseline, found 'ecrnn/cn'; did you mean ecrnn/cnn? known: "
        "finalist-1, ecrnn/cnn, baseline-1, ecrnn/crnn-lstm-16, baseline-2",
    ),
    "a finalist too many": (
        {"compare": {"family": {"x": [["finalist-2", "ecrnn/cnn"]]}, "baselines": ["ecrnn/cnn"]}},
        "found 'finalist-2'; raise compare.finalists? known: finalist-1, ecrnn/cnn, baseline-1",
    ),
    "a pair with itself": (
        {"compare": {"family": {"x": [["ecrnn/cnn", "baseline-1"]]}, "baselines": ["ecrnn/cnn"]}},
        "compare.family.x.0: expected two different configurations, found ecrnn/cnn twice",
    ),
    "a pair twice, in two families and two directions": (
        {
            "compare": {
                "family": {"x": [["finalist-1", "ecrnn/cnn"]], "y": [["baseline-1", "finalist-1"]]},
                "baselines": ["ecrnn/cnn"],
            }
        },
        "compare.family.y.0: expected every pair once, found baseline-1 and finalist-1 in compare.family.x.0 as well",
    ),
    "shaffer without all pairs": (
        {"compare": {"adjust": "shaffer", "baselines": ["ecrnn/cnn", "ecrnn/crnn-lstm-16"]}},
        "compare.family: shaffer expects all 3 pairs of its 3 configurations, found 2; declare them all, or set",
    ),
    "not all pairs of a named family": (
        {
            "compare": {
                "adjust": "bergmann-hommel",
                "baselines": ["ecrnn/cnn", "ecrnn/crnn-lstm-16"],
                "family": {
                    "x": [["finalist-1", "baseline-1"]],
                    "y": [["finalist-1", "baseline-2"], ["baseline-1", "baseline-2"]],
                },
            }
        },
        "compare.family.y: bergmann-hommel expects all 3 pairs of its 3 configurations, found 2; declare them all",
    ),
    "bergmann-hommel of too many": (
        {"compare": {"adjust": "bergmann-hommel", "family": "all-pairs", "finalists": 10}},
        "compare.family: bergmann-hommel expects at most 9 configurations, found 10; set compare.adjust to shaffer",
    ),
    "max-t about new data": (
        {"compare": {"adjust": "max-t"}},
        "compare.adjust: max-t expects compare.estimand this-data, found new-data",
    ),
    "interim analyses about new data": (
        {"compare": {"interim": 2}},
        "compare.interim: expects compare.estimand this-data, found new-data; all repeats are scored on the same test",
    ),
    "interim analyses of false discoveries": (
        {"compare": {"interim": 2, "estimand": "this-data", "adjust": "bh"}},
        "compare.interim: expects compare.adjust holm or shaffer or bergmann-hommel, found bh, which does not hold at",
    ),
    "interim analyses of unequal shares": (
        {"compare": {"interim": 3, "estimand": "this-data", "repeats": 20}},
        "compare.interim: 3 analyses, each after the same number of further repeats and at least 5, found "
        "compare.repeats 20; use 21",
    ),
    "no such adjustment": ({"compare": {"adjust": "bonferoni"}}, "compare.adjust: must be 'holm', 'hommel', "),
    "no such estimand": ({"compare": {"estimand": "auto"}}, "compare.estimand: must be 'new-data' or 'this-data', got"),
    "nothing to confirm on": (
        {"compare": {"confirm": 0}},
        "compare.confirm: must be greater than or equal to 1, got 0",
    ),
    "large number read as text": ({"train": {"epochs": 1, "clip": "1.5E3"}}, "write 1.5e+3"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_cannot_work_is_refused_before_anything_runs(study_data: dict[str, Any], case: str) -> None:
    changes, word = HOPELESS[case]
    assert word in one_fault({**study_data, **changes})


def test_a_setting_given_nowhere_is_missed(study_data: dict[str, Any]) -> None:
    del study_data["space"]["fc"]
    assert "space.fc: expected a parameter here or a value in model, found neither; add one" in one_fault(study_data)
    assert parse_study({**study_data, "model": {"fc": "-"}}, "my.yaml").model == {"fc": "-"}


def test_whole_numbers_stand_for_numbers(make_study: MakeStudy) -> None:
    study = make_study("resources.cpus=2", "train.weight_decay=0", "search.time_budget_mins=3", "train.clip=1e1")
    assert (study.resources.cpus, study.search.time_budget_mins, study.train.clip) == (2.0, 3.0, 10.0)


def test_the_callers_data_stay_as_they_were(study_data: dict[str, Any]) -> None:
    before = copy.deepcopy(study_data)
    parse_study(study_data, "my.yaml", ("train.lr=0.1", "space.nodes.choice=[4]", "split.fraction=0.4"))
    assert study_data == before


def test_keys_that_stand_twice_are_named_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nsearch:\n  trials: 1\n  trials: 2\nname: b\n")
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert sorted(caught.value.faults) == [
        f"{path}:4: key 'trials' occurs twice, first in line 3; remove one",
        f"{path}:5: key 'name' occurs twice, first in line 1; remove one",
    ]


def test_a_merged_mapping_may_be_overridden(tmp_path: Path, study_data: dict[str, Any]) -> None:
    path = tmp_path / "merged.yaml"
    text = yaml.safe_dump({**study_data, "train": None}, sort_keys=False).replace("train: null\n", "")
    path.write_text(f"{text}train:\n  <<: {{epochs: 9, lr: 0.1}}\n  epochs: 2\n")
    train = load_study(path).train
    assert (train.epochs, train.lr) == (2, 0.1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fix.rnn=gru", "fix.rnn was not set when the sweep started and is 'gru' now"),
        ("space=ecrnn", "space was a mapping with 15 keys when the sweep started and is 'ecrnn' now"),
    ],
)
def test_one_change_is_one_fault(
    make_study: MakeStudy, override: str, words: str, begin: Callable[[StudyConfig], Path]
) -> None:
    begin(make_study())
    with pytest.raises(StudyChangedError) as caught:
        claim_folder(make_study(override))
    (fault,) = caught.value.faults
    assert words in fault


def test_another_order_of_parameters_is_another_space(
    make_study: MakeStudy, study_data: dict[str, Any], begin: Callable[[StudyConfig], Path]
) -> None:
    begin(make_study())
    space = study_data["space"]
    moved = {"dropout": space.pop("dropout"), **space}
    with pytest.raises(StudyChangedError, match="space \\(the order of its parameters\\) was"):
        claim_folder(make_study(space=moved))


def test_points_must_be_models_and_enqueued_ones_lie_in_the_space(
    make_study: MakeStudy, facts: DataFacts, cnn: dict[str, Any]
) -> None:
    inside = {**cnn, "dropout": 0.2}
    check_points(make_study(search={"trials": 1, "enqueue": [inside]}, compare={"baselines": ["ecrnn/cnn"]}), facts)
    study = make_study(
        search={"trials": 1, "enqueue": [inside, {**cnn, "dropout": 0.3}, "ecrnn/crnn-lstm-16"]},
        compare={"baselines": [cnn, {**cnn, "nodes": 4}, {"rnn": "gru"}]},
    )
    with pytest.raises(StudyError) as caught:
        check_points(study, facts)
    faults = caught.value.faults
    assert not any(fault.startswith(("search.enqueue.0", "compare.baselines.0")) for fault in faults)
    for place, words in (
        ("search.enqueue.1: ", "dropout: expected one of 0.0, 0.2, found 0.3"),
        ("search.enqueue.2 (ecrnn/crnn-lstm-16): ", "rnn: expected one of none, gru, found lstm"),
        ("compare.baselines.1: ", "nodes: expected no value unless rnn is not none, found 4"),
        ("compare.baselines.2: ", "backbone: expected a value because family is hybrid, found none"),
    ):
        assert any(fault.startswith(place) and words in fault for fault in faults), (place, faults)


def test_what_a_space_does_not_declare_may_be_said_if_it_holds_anyway(
    make_study: MakeStudy, cnn: dict[str, Any], facts: DataFacts
) -> None:
    study = make_study(search={"trials": 1, "enqueue": ["ecrnn/cnn"]})
    preset = complete_point(study, "ecrnn/cnn")
    assert preset == complete_point(study, {**cnn, "init": "torch", "batch": study.train.batch, "weight_decay": 0})
    assert {"family", "wavelet"}.isdisjoint(preset)
    check_points(study, facts)
    assert complete_point(study, {**cnn, "init": "keras"})["init"] == "keras"
    keras = make_study(model={"init": "keras"})
    assert "init" not in complete_point(keras, {**cnn, "init": "keras"})
    with pytest.raises(StudyError, match=r"search.enqueue.0: tiny.init: expected a parameter of this space"):
        check_points(make_study(model=keras.model, search={"trials": 1, "enqueue": [{**cnn, "init": "torch"}]}), facts)
    assert "wavelet" in complete_point(study, {**cnn, "wavelet": "haar_ll"})


@pytest.mark.parametrize(
    ("optimizer", "rate", "name"),
    [("adam", 0.002, "lr_adaptive"), ("sgd", 0.1, "lr_sgd"), ("rmsprop", 0.01, "lr_adaptive")],
)
def test_the_rate_of_the_recipe_becomes_the_one_that_the_optimizer_has(
    make_study: MakeStudy, facts: DataFacts, optimizer: str, rate: float, name: str
) -> None:
    study = make_study(f"train.optimizer={optimizer}", f"train.lr={rate}", space="union")
    point = complete_point(study, "yin/cnn+irnn")
    assert study.build_space().point(point) == point
    assert {key: point[key] for key in point if key.startswith("lr")} == {name: rate}
    assert (point["rnn_l2"], point["init"]) == (0.0, "torch")
    spec = bind(study, {**point, name: 0.005}, facts, (make_block(0, "sweep", 0),))
    assert (spec.train.lr, spec.train.optimizer) == (0.005, optimizer)
    outside = complete_point(study, {**load_preset("yin/cnn"), "lr": 0.03})
    assert bind(study, outside, facts, (make_block(0, "sweep", 0),)).train.lr == 0.03
    with pytest.raises(StudyError, match="expected one value for lr, found two"):
        bind(study, {**point, "lr": 0.1}, facts, (make_block(0, "sweep", 0),))


def test_why_not_leaves_out_what_was_found(make_study: MakeStudy, facts: DataFacts) -> None:
    study = make_study(space="union")
    wide = {**complete_point(study, "johnson/cnn"), "fc": "99999-99999"}
    assert why_not(study, complete_point(study, "johnson/tsn"), facts) == "family: tsn expects images of at least 16x8"
    assert why_not(study, wide, facts) == "model: expected at most 60000000 parameters"
    assert why_not(study, complete_point(study, "ecrnn/cnn"), facts) is None
    assert describe_rejected({}) == "no draw rejected"
    assert describe_rejected({"b": 1}) == "1 draw rejected (1 x b)"
    assert describe_rejected({"b": 1, "a": 1, "c": 2}) == "4 draws rejected (2 x c; 1 x a; 1 x b)"


def test_points_take_the_fixed_learning_rate_and_nothing_inactive(make_study: MakeStudy, cnn: dict[str, Any]) -> None:
    extra = {"optimizer": ["adam", "sgd"], "momentum": {"float": [0.5, 0.95], "when": {"optimizer": "sgd"}}}
    study = make_study(space={**SPACE, **extra}, fix={"lr": 0.01})
    point = complete_point(study, cnn)
    assert point == {**cnn, "lr": 0.01, "optimizer": "adam"}
    assert study.build_space().point(point)["lr"] == 0.01
