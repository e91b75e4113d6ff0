"""Make Optuna's sampler of each method. Imports optuna, so import this module inside functions."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers._ga import BaseGASampler
from optuna.trial import FrozenTrial

from search.errors import StudyError
from search.study.samplers import is_class


def make_inner(
    method: str,
    *,
    seed: int,
    study_seed: int = 0,
    startup_trials: int = 0,
    arguments: Mapping[str, Any] | None = None,
    earlier: Sequence[FrozenTrial] = (),
) -> BaseSampler:
    """Return Optuna's sampler of a method, for one proposal.

    Args:
        method: Name of a sampler in `SAMPLERS`, or a class `package.module:Class`.
        seed: Seed of this proposal.
        study_seed: Seed common to all proposals of a study.
        startup_trials: Number of random points before tpe, gp or cmaes uses results.
        arguments: Keyword arguments of the method's class; they replace the defaults here.
        earlier: Trials of earlier studies, which the Optuna study has as well; cmaes starts from the best of them.

    Raises:
        StudyError: A class of the user's cannot be loaded.
        Exception: The class refuses its arguments.
    """
    given = dict(arguments or {})
    with warnings.catch_warnings():
        # `group` of tpe learns conditional parameters jointly; Optuna still calls it experimental.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match method:
            case "tpe":
                multivariate = given.get("multivariate", True)
                options = {"multivariate": multivariate, "group": multivariate, "constant_liar": True, **given}
                return TPESampler(seed=seed, n_startup_trials=startup_trials, **options)
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=startup_trials, **given)
            case "cmaes":
                from search.sampling.cma_es import CmaEs

                return CmaEs(seed=seed, n_startup_trials=startup_trials, source_trials=list(earlier) or None, **given)
            case "qmc":
                # One sequence for the study, from which each proposal takes the next element.
                return QMCSampler(
                    seed=study_seed, independent_sampler=RandomSampler(seed=seed), **{"scramble": True, **given}
                )
            case "nsga2":
                return NSGAIISampler(seed=seed, **given)
            case "nsga3":
                return NSGAIIISampler(seed=seed, **given)
            case "random" | "grid":
                return RandomSampler(seed=seed)
        assert is_class(method), f"make_inner has no case for {method}"
        made = load_class(method)
        if "seed" in inspect.signature(made).parameters:
            given["seed"] = seed
        sampler: BaseSampler = made(**given)
        return sampler


def first_generation(sampler: BaseSampler) -> dict[str, int]:
    """Return the attributes that put a trial into the first generation of a genetic algorithm; else none."""
    if not isinstance(sampler, BaseGASampler):
        return {}
    return {sampler._get_generation_key(): 0}  # noqa: SLF001


def has_generations(sampler: type[BaseSampler]) -> bool:
    """Return whether a sampler class derives generations of trials from completed ones."""
    return issubclass(sampler, BaseGASampler)


def load_class(path: str) -> type[BaseSampler]:
    """Import a sampler class, `package.module:Class`.

    Raises:
        StudyError: It cannot be imported, or is no Optuna sampler.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001  a module may raise anything
        raise StudyError(
            f"search.sampler: {module_name} cannot be imported ({type(error).__name__}: {error}); install it in this "
            "environment, or add its folder to PYTHONPATH"
        ) from None
    found = getattr(module, name, None)
    if found is None:
        classes = [
            key for key, item in vars(module).items() if isinstance(item, type) and issubclass(item, BaseSampler)
        ]
        near = get_close_matches(name, classes, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise StudyError(f"search.sampler: {module_name} has no class {name}{hint}")
    if not (isinstance(found, type) and issubclass(found, BaseSampler)):
        raise StudyError(f"search.sampler: expected a subclass of optuna.samplers.BaseSampler, found {path}")
    if issubclass(found, CmaEsSampler):
        raise StudyError(
            f"search.sampler: {path} stores pickled objects, which the journal does not keep; set search.sampler to "
            "cmaes"
        )
    return found
