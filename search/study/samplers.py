"""Names of the samplers, and what each of them can do. Imports no optuna."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from search.journal.measures import MEASURES
from search.study.config import StudyConfig
from spaces.domains import Choice
from spaces.space import Space

Modelled = Literal["all", "common", "numbers"]


@dataclass(frozen=True, kw_only=True)
class Argument:
    """Allowed values of an argument in `search.sampler_args`."""

    kind: Literal["boolean", "whole", "number", "word"]
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()
    has_none: bool = False
    """Whether null stands for a default that Optuna computes."""

    def fault(self, value: object) -> str | None:
        """Return what was expected, if the value is not allowed.

        >>> Argument(kind="whole", low=2).fault(1.5)
        'expected a whole number of at least 2, found 1.5'
        """
        if isinstance(value, bool):
            is_allowed = self.kind == "boolean"
        elif isinstance(value, int) or (isinstance(value, float) and self.kind == "number"):
            is_allowed = self.kind in {"whole", "number"} and self.low <= value <= self.high
        else:
            is_allowed = value in self.words or (value is None and self.has_none)
        near = difflib.get_close_matches(str(value), self.words, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return None if is_allowed else f"expected {self._expected}, found {json.dumps(value)}{hint}"

    @property
    def _expected(self) -> str:
        if self.kind == "boolean":
            return "true or false"
        if self.kind == "word":
            return " or ".join(self.words)
        noun = "a whole number" if self.kind == "whole" else "a number"
        return (
            f"{noun} from {self.low:g} to {self.high:g}" if self.high < math.inf else f"{noun} of at least {self.low:g}"
        )


@dataclass(frozen=True, kw_only=True)
class Method:
    """Abilities of a sampler."""

    models: Modelled = "all"
    """Parameters that it proposes from results: all; common: those that every point has; numbers: of these, no choices.
    The other parameters are drawn at random."""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    """Keyword arguments that `search.sampler_args` may set: those of Optuna's class, and `fidelity` of tpe."""
    has_startup: bool = False
    """Whether it draws `search.startup_trials` random points first."""
    completes_stopped: bool = False
    """Whether stopped trials count as completed ones, because Optuna's class ignores pruned trials."""
    learns_limits: bool = True
    """Whether it learns from trials that exceed the limit of a measured cost."""
    has_generations: bool = False
    """Whether it derives generations of trials from earlier ones, whose values must not change any more."""
    has_several_objectives: bool = True
    """Whether it takes several objectives."""
    learns: bool = True
    """Whether it proposes from results."""
    package: str = ""
    """Package that it needs beside Optuna."""


FIDELITIES = ("last", "rung")
"""Values of `fidelity`: tpe learns from the last value of each trial, or from the values at one rung."""
_SWITCH = Argument(kind="boolean")
_SHARE = Argument(kind="number", low=0, high=1)
_GENETIC = {
    "population_size": Argument(kind="whole", low=2),
    "mutation_prob": Argument(kind="number", low=0, high=1, has_none=True),
    "crossover_prob": _SHARE,
    "swapping_prob": _SHARE,
}

SAMPLERS: dict[str, Method] = {
    "tpe": Method(
        arguments={
            "consider_endpoints": _SWITCH,
            "consider_magic_clip": _SWITCH,
            "constant_liar": _SWITCH,
            "fidelity": Argument(kind="word", words=FIDELITIES),
            "group": _SWITCH,
            "multivariate": _SWITCH,
            "n_ei_candidates": Argument(kind="whole", low=1),
            "prior_weight": Argument(kind="number", low=0),
        },
        has_startup=True,
    ),
    "gp": Method(
        models="common", arguments={"deterministic_objective": _SWITCH}, has_startup=True, completes_stopped=True
    ),
    "cmaes": Method(
        models="numbers",
        arguments={
            "lr_adapt": _SWITCH,
            "popsize": Argument(kind="whole", low=2, has_none=True),
            "sigma0": Argument(kind="number", low=0.001, has_none=True),
            "use_separable_cma": _SWITCH,
            "with_margin": _SWITCH,
        },
        has_startup=True,
        completes_stopped=True,
        learns_limits=False,
        has_generations=True,
        has_several_objectives=False,
        package="cmaes",
    ),
    "qmc": Method(
        arguments={"qmc_type": Argument(kind="word", words=("sobol", "halton")), "scramble": _SWITCH},
        learns=False,
        learns_limits=False,
    ),
    "nsga2": Method(models="common", arguments=_GENETIC, completes_stopped=True, has_generations=True),
    "nsga3": Method(
        models="common",
        arguments={**_GENETIC, "dividing_parameter": Argument(kind="whole", low=1)},
        completes_stopped=True,
        has_generations=True,
    ),
    "random": Method(learns=False, learns_limits=False),
    "grid": Method(learns=False, learns_limits=False),
}
"""Samplers by name in `search.sampler`; every other sampler is a class of the user's, `package.module:Class`."""
WITH_RUNGS = ("asha", "asha-promote", "hyperband")
"""Schedulers that compare trials at rungs, whose ratio is `search.reduction`."""
DEFAULT_POPULATION = 50
"""Population size of Optuna's NSGA-II and NSGA-III."""
OURS = {"seed": "seed", "n_startup_trials": "search.startup_trials"}
"""Keyword arguments that other fields of the study decide -> the field."""
AGAINST_LEARNING = ("sigma0", "use_separable_cma")
"""Arguments of CMA-ES that its start from earlier trials excludes."""
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def method_of(sampler: str) -> Method:
    """Return the abilities of a sampler; of a class of the user's nothing is known."""
    return SAMPLERS.get(sampler, Method())


def is_class(sampler: str) -> bool:
    """Return whether a sampler is a class of the user's, `package.module:Class`."""
    return sampler not in SAMPLERS


def modelled(space: Space, models: Modelled) -> tuple[str, ...]:
    """Return the names of the parameters that a sampler proposes from results, in the order of the space."""
    return tuple(
        parameter.name
        for parameter in space.parameters
        if parameter.domain.size != 1
        and (models == "all" or not parameter.when)
        and (models != "numbers" or not isinstance(parameter.domain, Choice))
    )


def sampler_faults(study: StudyConfig, space: Space) -> Iterator[str]:
    """Yield the faults of `search.sampler` and `search.sampler_args`, without importing a class of the user's."""
    name, arguments = study.search.sampler, study.search.sampler_args
    if name not in SAMPLERS and not _CLASS.fullmatch(name):
        near = difflib.get_close_matches(name, SAMPLERS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(SAMPLERS)}"
        yield f"search.sampler: expected a sampler or a class package.module:Class, found {name!r}; {hint}"
        return
    method = method_of(name)
    for key, value in arguments.items():
        where = f"search.sampler_args.{key}"
        if key == "seed" or (key in OURS and name in SAMPLERS):
            yield f"{where}: expected no {key} here, because {OURS[key]} decides it; remove it"
        elif name in SAMPLERS and key not in method.arguments:
            near = difflib.get_close_matches(key, method.arguments, n=1)
            known = f"known: {', '.join(method.arguments)}" if method.arguments else "remove it"
            hint = f"did you mean {near[0]}?" if near else known
            expected = f"an argument of {name}" if method.arguments else f"none, because {name} has no arguments"
            yield f"{where}: expected {expected}; {hint}"
        elif name in SAMPLERS and (fault := method.arguments[key].fault(value)):
            yield f"{where}: {fault}"
    if name == "tpe" and "fidelity" in arguments:
        yield from _fidelity_faults(study, arguments["fidelity"])
    if study.search.scheduler == "asha-promote" and method.has_generations:
        yield (
            f"search.sampler: expected one without generations, found {name}; search.scheduler asha-promote continues "
            "trials whose generation is over; set search.sampler to tpe, or search.scheduler to asha"
        )
    if name == "cmaes" and study.search.learn_from:
        for key in (key for key in arguments if key in AGAINST_LEARNING):
            yield f"search.sampler_args.{key}: expected no {key} with search.learn_from, which decides it; remove one"
    if len(study.search.objectives) > 1 and not method.has_several_objectives:
        yield f"search.sampler: {name} takes one objective, found several; set search.sampler to tpe, gp or nsga2"
    if name == "grid" and space.continuous:
        yield (
            f"search.sampler: grid expects parameters that can be listed, found {', '.join(space.continuous)}, which "
            "are continuous; list or fix their values, or set search.sampler to tpe or random"
        )
    if method.models != "all" and not modelled(space, method.models):
        what = "a number" if method.models == "numbers" else "a parameter"
        yield (
            f"search.sampler: {name} expects {what} that every point has, but the space has none, so every point would "
            "be random; set search.sampler to tpe or random"
        )


def _fidelity_faults(study: StudyConfig, found: object) -> Iterator[str]:
    where = "search.sampler_args.fidelity"
    if found == "rung" and study.search.scheduler not in WITH_RUNGS:
        yield (
            f"{where}: rung takes a scheduler with rungs ({', '.join(WITH_RUNGS)}), found {study.search.scheduler}; "
            "set it to last, or choose another search.scheduler"
        )
    elif found == "rung" and len(study.search.objectives) > 1:
        yield f"{where}: rung takes one objective, found several; set it to last"


def package_faults(sampler: str) -> Iterator[str]:
    """Yield a fault if a package that the sampler needs is not installed."""
    package = method_of(sampler).package
    if package and find_spec(package) is None:
        yield (
            f"search.sampler: {sampler} needs the package {package}, which is not installed; run `pip install "
            f"{package}`, or set search.sampler to tpe"
        )


def odd_sampler(study: StudyConfig) -> Iterator[str]:
    """Yield warnings about what the sampler cannot do with this study."""
    search, space = study.search, study.build_space()
    name, method = search.sampler, method_of(search.sampler)
    at_random = [item for item in modelled(space, "all") if item not in modelled(space, method.models)]
    if at_random:
        what = "numbers that every point has" if method.models == "numbers" else "parameters that every point has"
        yield f"search.sampler: {name} models only {what}; it draws at random: {', '.join(at_random)}"
    if method.completes_stopped and search.scheduler != "none":
        ends = "pauses or stops" if search.scheduler == "asha-promote" else "stops"
        yield (
            f"search.sampler: {name} learns from completed trials only, so trials that {search.scheduler} {ends} count "
            "as completed with the validation accuracy of their last epoch; set search.scheduler to none to avoid this"
        )
    if measured := [limit for limit in search.limits if MEASURES[limit].kind == "cost" and not method.learns_limits]:
        yield (
            f"search.sampler: {name} does not learn which points exceed search.limits.{measured[0]}, so each of them "
            "costs an epoch; set search.sampler to tpe, gp, nsga2 or nsga3"
        )
    population = search.sampler_args.get("population_size", DEFAULT_POPULATION)
    if name in {"nsga2", "nsga3"} and isinstance(population, int) and population >= search.trials:
        yield (
            f"search.sampler: {name} uses results only after a first generation of {population}, but search.trials is "
            f"{search.trials}; every point is random; set search.sampler_args.population_size"
        )
    if method.has_startup and study.gives("search.sampler") and search.startup_trials >= search.trials:
        yield (
            f"search.sampler: {name} uses results only after search.startup_trials {search.startup_trials}, but "
            f"search.trials is {search.trials}; every point is random"
        )
