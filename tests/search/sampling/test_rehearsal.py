from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.errors import StudyError
from search.sampling.rehearsal import check_sampler
from search.study import samplers
from search.study.config import StudyConfig
from search.study.oddities import odd_in_sweep

MakeStudy = Callable[..., StudyConfig]

MODULE = '''
import itertools
import random

import optuna
from optuna.samplers import BaseSampler, RandomSampler


class Seeded(RandomSampler):
    pass


class Unseeded(RandomSampler):
    def __init__(self):
        super().__init__()


class Counting(BaseSampler):
    """Keeps its state in the study, as an Optuna sampler should."""

    where = "study"
    numbers = itertools.count()

    def __init__(self, *, start: int = 0):
        self._start = start

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def before_trial(self, study, trial):
        storage, id_ = study._storage, study._study_id
        seen = storage.get_study_system_attrs(id_).get("count", self._start)
        if self.where == "study":
            storage.set_study_system_attr(id_, "count", seen + 1)
            self._seed = seen
        else:
            self._seed = next(self.numbers)

    def sample_independent(self, study, trial, param_name, param_distribution):
        return RandomSampler(seed=self._seed).sample_independent(study, trial, param_name, param_distribution)


class CountingInTheClass(Counting):
    where = "class"


class Raising(RandomSampler):
    def sample_independent(self, study, trial, param_name, param_distribution):
        raise KeyError("no luck")


class Nested(RandomSampler):
    def before_trial(self, study, trial):
        study._storage.set_trial_system_attr(trial._trial_id, "deep", {"a": {"b": {"c": 1}}})


Text = "no class"
'''
MODULE_NAMES = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, under a name that is imported for the first time."""
    name = f"my_samplers_{next(MODULE_NAMES)}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"broken_{name}.py").write_text("raise OSError('no disk')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.mark.parametrize("sampler", ["Seeded", "Counting"])
def test_a_class_of_the_users_passes(make_study: MakeStudy, module: str, sampler: str) -> None:
    check_sampler(make_study(f"search.sampler={module}:{sampler}"))
    if sampler == "Counting":
        check_sampler(make_study(f"search.sampler={module}:{sampler}", "search.sampler_args.start=7"))


REFUSED = {
    "{}:Unseeded": "proposes another point 10 after it is rebuilt from the journal",
    "{}:CountingInTheClass": "proposes another point 10 after it is rebuilt",
    "{}:Raising": "cannot propose point 0 (KeyError: 'no luck')",
    "{}:Nested": "stores data that the journal cannot keep",
    "{}:Seded": "has no class Seded; did you mean Seeded",
    "{}:Text": "expected a subclass of optuna.samplers.BaseSampler",
    "no_such_{}:Seeded": "cannot be imported (ModuleNotFoundError",
    "broken_{}:Seeded": "cannot be imported (OSError: no disk)",
    "optuna.samplers:CmaEsSampler": "set search.sampler to cmaes",
    "optuna.samplers:NSGAIISampler": "ignores those that search.scheduler asha stops; set search.scheduler to none",
}


def test_a_class_with_generations_passes_where_no_trial_is_stopped(make_study: MakeStudy) -> None:
    check_sampler(make_study("search.sampler=optuna.samplers:NSGAIISampler", "search.scheduler=none"))


@pytest.mark.parametrize("sampler", REFUSED)
def test_a_class_is_refused_in_one_line(make_study: MakeStudy, module: str, sampler: str) -> None:
    with pytest.raises(StudyError) as caught:
        check_sampler(make_study(f"search.sampler={sampler.format(module)}"))
    (fault,) = caught.value.faults
    assert fault.startswith("search.sampler: ")
    assert REFUSED[sampler] in fault


@pytest.mark.parametrize(
    ("sampler", "argument", "words"),
    [
        ("nsga2", "population_size=many", 'expected a whole number of at least 2, found "many"'),
        ("nsga2", "population_size=1", "expected a whole number of at least 2, found 1"),
        ("nsga2", "population_size=true", "expected a whole number of at least 2, found true"),
        ("nsga2", "population_size=2.5", "expected a whole number of at least 2, found 2.5"),
        ("nsga2", "population_size=null", "expected a whole number of at least 2, found null"),
        ("nsga2", "swapping_prob=1.5", "expected a number from 0 to 1, found 1.5"),
        ("nsga3", "dividing_parameter=0", "expected a whole number of at least 1, found 0"),
        ("nsga3", "dividing_parameter=x", 'expected a whole number of at least 1, found "x"'),
        ("qmc", "qmc_type=sobel", 'expected sobol or halton, found "sobel"'),
        ("tpe", "n_ei_candidates=few", 'expected a whole number of at least 1, found "few"'),
        ("tpe", "prior_weight=-3", "expected a number of at least 0, found -3"),
        ("tpe", "multivariate='false'", 'expected true or false, found "false"'),
        ("gp", "deterministic_objective=1", "expected true or false, found 1"),
    ],
)
def test_wrong_arguments_are_refused(make_study: MakeStudy, sampler: str, argument: str, words: str) -> None:
    fault = fault_of(lambda: make_study(f"search.sampler={sampler}", f"search.sampler_args.{argument}"))
    assert f"search.sampler_args.{argument.partition('=')[0]}: {words}" in fault


def test_arguments_that_contradict_each_other_are_refused(make_study: MakeStudy) -> None:
    study = make_study("search.sampler_args={multivariate: false, group: true}")
    with pytest.raises(StudyError, match=r"cannot propose point 0 .*check search\.sampler and search.sampler_args"):
        check_sampler(study)
    check_sampler(make_study("search.sampler_args={multivariate: false}"))
    check_sampler(make_study("search.sampler=nsga2", "search.sampler_args={mutation_prob: null}"))


def test_the_rehearsal_reaches_a_second_generation(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only from the second generation on do the genetic algorithms use their arguments and results."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("used")

    monkeypatch.setattr(
        "optuna.samplers.nsgaii._child_generation_strategy.NSGAIIChildGenerationStrategy.__call__", fail
    )
    with pytest.raises(StudyError, match=r"nsga3 cannot propose point .* \(RuntimeError: used\)"):
        check_sampler(make_study("search.sampler=nsga3", "search.sampler_args={population_size: 50}"))


def test_right_arguments_pass(make_study: MakeStudy) -> None:
    check_sampler(make_study("search.sampler=nsga2", "search.sampler_args.population_size=4"))
    check_sampler(make_study("search.sampler=qmc", "search.sampler_args.qmc_type=halton"))
    check_sampler(make_study("search.sampler_args.fidelity=rung"))
    check_sampler(make_study("search.sampler_args.fidelity=last", "search.scheduler=median"))


def test_a_missing_package_is_named(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda _: None)
    with pytest.raises(StudyError, match="cmaes needs the package cmaes, which is not installed; run `pip install"):
        check_sampler(make_study("search.sampler=cmaes"))


def words_of(study: StudyConfig) -> list[str]:
    return [line for line in odd_in_sweep(study) if line.startswith("search.sampler: ")]


def test_what_a_method_cannot_do_is_said(make_study: MakeStudy) -> None:
    trials = ("search.trials=90", "search.startup_trials=10", "search.scheduler=none")
    assert words_of(make_study("search.sampler=tpe", *trials)) == []
    assert words_of(make_study("search.sampler=qmc", "search.trials=90", "search.scheduler=none")) == []
    (line,) = words_of(make_study("search.sampler=gp", *trials))
    assert line.endswith("gp models only parameters that every point has; it draws at random: nodes")
    (line,) = words_of(make_study("search.sampler=cmaes", *trials))
    assert line.endswith("cmaes models only numbers that every point has; it draws at random: rnn, nodes, dropout")
    of_nsga = words_of(make_study("search.sampler=nsga2", "search.trials=50"))
    assert ["draws at random" in of_nsga[0], "count as completed" in of_nsga[1]] == [True, True]
    assert "a first generation of 50, but search.trials is 50" in of_nsga[2]
    small = words_of(make_study("search.sampler=nsga2", "search.trials=50", "search.sampler_args.population_size=8"))
    assert len(small) == 2
    (_, line) = words_of(make_study("search.sampler=gp", "search.startup_trials=6", "search.scheduler=none"))
    assert "every point is random" in line


def fault_of(make: Callable[[], Any]) -> str:
    with pytest.raises(StudyError) as caught:
        make()
    (fault,) = caught.value.faults
    return str(fault)


def test_bad_names_and_arguments(make_study: MakeStudy) -> None:
    assert "found 'tpi'; did you mean tpe" in fault_of(lambda: make_study("search.sampler=tpi"))
    assert "known: tpe, gp" in fault_of(lambda: make_study("search.sampler=skopt.sampler"))
    wrong = fault_of(lambda: make_study("search.sampler=nsga2", "search.sampler_args.populaton_size=4"))
    assert "search.sampler_args.populaton_size: expected an argument of nsga2; did you mean population_size?" in wrong
    none = fault_of(lambda: make_study("search.sampler=random", "search.sampler_args.size=4"))
    assert "expected none, because random has no arguments; remove it" in none
    ours = fault_of(lambda: make_study("search.sampler_args.n_startup_trials=4"))
    assert "because search.startup_trials decides it; remove it" in ours
    assert "because seed decides it" in fault_of(
        lambda: make_study("search.sampler=a.b:C", "search.sampler_args.seed=4")
    )
    rung = "search.sampler_args.fidelity=rung"
    assert 'found "rungs"; did you mean rung?' in fault_of(lambda: make_study("search.sampler_args.fidelity=rungs"))
    assert "expected last or rung, found 3" in fault_of(lambda: make_study("search.sampler_args.fidelity=3"))
    assert "rung takes a scheduler with rungs (asha, asha-promote, hyperband), found median" in fault_of(
        lambda: make_study(rung, "search.scheduler=median")
    )
    two = "search.objectives={val_accuracy: max, num_parameters: min}"
    assert "rung takes one objective, found several" in fault_of(lambda: make_study(rung, two))
    assert "expected an argument of gp" in fault_of(lambda: make_study("search.sampler=gp", rung))
    for name in ("cmaes", "nsga2", "nsga3"):
        generations = fault_of(lambda name=name: make_study(f"search.sampler={name}", "search.scheduler=asha-promote"))
        assert f"expected one without generations, found {name}" in generations
    paused = "search.scheduler: expected asha or none with several objectives, found asha-promote"
    assert paused in fault_of(lambda: make_study(two, "search.scheduler=asha-promote"))
    only_choices = {"lr": 0.01}
    no_numbers = fault_of(lambda: make_study("search.sampler=cmaes", fix=only_choices))
    assert "cmaes expects a number that every point has, but the space has none" in no_numbers
