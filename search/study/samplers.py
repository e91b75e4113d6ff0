"""Names of the samplers, and what each of them can do. Imports no optuna."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from search.study.config import StudyConfig
from spaces.domains import Choice
from spaces.space import Space

Modelled = Literal["all", "common", "numbers"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """Abilities of a sampler."""

    models: Modelled = "all"
    """Parameters that it proposes from results: all; common: those that every point has; numbers: of these, no choices.
    The other parameters are drawn at random."""
    arguments: tuple[str, ...] = ()
    """Keyword arguments of Optuna's class that `search.sampler_args` may set."""
    has_startup: bool = False
    """Whether it draws `search.startup_trials` random points first."""
    completes_stopped: bool = False
    """Whether stopped trials count as completed ones, because Optuna's class ignores pruned trials."""
    has_several_objectives: bool = True
    """Whether it takes several objectives."""
    learns: bool = True
    """Whether it proposes from results."""
    package: str = ""
    """Package that it needs beside Optuna."""


_TPE_NUMBERS = ("n_ei_candidates", "prior_weight")
_GENETIC = ("population_size", "mutation_prob", "crossover_prob", "swapping_prob")

SAMPLERS: dict[str, Method] = {
    "tpe": Method(
        arguments=(
            "consider_endpoints",
            "consider_magic_clip",
            "constant_liar",
            "group",
            "multivariate",
            *_TPE_NUMBERS,
        ),
        has_startup=True,
    ),
    "gp": Method(models="common", arguments=("deterministic_objective",), has_startup=True, completes_stopped=True),
    "cmaes": Method(
        models="numbers",
        arguments=("lr_adapt", "popsize", "sigma0", "use_separable_cma", "with_margin"),
        has_startup=True,
        completes_stopped=True,
        has_several_objectives=False,
        package="cmaes",
    ),
    "qmc": Method(arguments=("qmc_type", "scramble"), learns=False),
    "nsga2": Method(models="common", arguments=_GENETIC, completes_stopped=True),
    "nsga3": Method(models="common", arguments=(*_GENETIC, "dividing_parameter"), completes_stopped=True),
    "random": Method(learns=False),
    "grid": Method(learns=False),
}
"""Samplers by name in `search.sampler`; every other sampler is a class of the user's, `package.module:Class`."""
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
    for key in arguments:
        where = f"search.sampler_args.{key}"
        if key == "seed" or (key in OURS and name in SAMPLERS):
            yield f"{where}: expected no {key} here, because {OURS[key]} decides it; remove it"
        elif name in SAMPLERS and key not in method.arguments:
            near = difflib.get_close_matches(key, method.arguments, n=1)
            known = f"known: {', '.join(method.arguments)}" if method.arguments else "remove it"
            hint = f"did you mean {near[0]}?" if near else known
            expected = f"an argument of {name}" if method.arguments else f"none, because {name} has no arguments"
            yield f"{where}: expected {expected}; {hint}"
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
        yield (
            f"search.sampler: {name} learns from completed trials only, so trials that {search.scheduler} stops count "
            "as completed with the validation accuracy of their last epoch; set search.scheduler to none to avoid this"
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
