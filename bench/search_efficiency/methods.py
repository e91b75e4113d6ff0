"""The methods by name. A package is imported only when one of its methods is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.search_efficiency.clock import Method
from bench.search_efficiency.table import Table

OURS: dict[str, dict[str, Any]] = {
    "default": {},
    "tpe + asha-promote": {"sampler": "tpe", "scheduler": "asha-promote"},
    "tpe by rung + asha": {"sampler": "tpe", "scheduler": "asha", "sampler_args": {"fidelity": "rung"}},
    "tpe by rung + asha-promote": {
        "sampler": "tpe",
        "scheduler": "asha-promote",
        "sampler_args": {"fidelity": "rung"},
    },
    "tpe by rung + asha-promote from epoch 3": {
        "sampler": "tpe",
        "scheduler": "asha-promote",
        "sampler_args": {"fidelity": "rung"},
        "grace_epochs": 3,
    },
    "tpe by rung + asha-promote from epoch 3, reduction 2": {
        "sampler": "tpe",
        "scheduler": "asha-promote",
        "sampler_args": {"fidelity": "rung"},
        "grace_epochs": 3,
        "reduction": 2,
    },
    "tpe + hyperband": {"sampler": "tpe", "scheduler": "hyperband"},
    "tpe + median": {"sampler": "tpe", "scheduler": "median"},
    "tpe + none": {"sampler": "tpe", "scheduler": "none"},
    "random + asha": {"sampler": "random", "scheduler": "asha"},
    "random + asha-promote": {"sampler": "random", "scheduler": "asha-promote"},
    "qmc + asha": {"sampler": "qmc", "scheduler": "asha"},
    "gp + asha": {"sampler": "gp", "scheduler": "asha"},
    "nsga2 + asha": {"sampler": "nsga2", "scheduler": "asha"},
}
"""Our methods -> fields of `search:`; the others have their defaults."""
DEFAULT, PEER = "default", "Ray Tune: OptunaSearch + ASHA"
"""Our default, and the peer that it is compared with first."""


def _ours(search: dict[str, Any]) -> Callable[[Table, str, int], Method]:
    def make(table: Table, name: str, seed: int) -> Method:
        from bench.search_efficiency.ours import Ours

        return Ours(table, name, search, seed)

    return make


def _one_epoch(table: Table, name: str, seed: int) -> Method:  # noqa: ARG001
    from bench.search_efficiency.ours import OneEpoch

    return OneEpoch(table, seed)


def _ray(reduction: int) -> Callable[[Table, str, int], Method]:
    def make(table: Table, name: str, seed: int) -> Method:  # noqa: ARG001
        from bench.search_efficiency.with_optuna import RayTune

        return RayTune(table, reduction, seed)

    return make


def _optuna(pruner: str) -> Callable[[Table, str, int], Method]:
    def make(table: Table, name: str, seed: int) -> Method:  # noqa: ARG001
        import optuna

        from bench.search_efficiency.with_optuna import Optuna

        arguments = {"min_resource": 1, "max_resource": table.num_epochs} if pruner == "HyperbandPruner" else {}
        return Optuna(table, getattr(optuna.pruners, pruner)(**arguments), seed)

    return make


def _syne_tune(baseline: str) -> Callable[[Table, str, int], Method]:
    def make(table: Table, name: str, seed: int) -> Method:  # noqa: ARG001
        from bench.search_efficiency.with_syne_tune import SyneTune

        return SyneTune(table, baseline, seed)

    return make


def _smac(table: Table, name: str, seed: int) -> Method:  # noqa: ARG001
    from bench.search_efficiency.with_smac import Smac

    return Smac(table, seed)


def _neps(table: Table, name: str, seed: int) -> Method:  # noqa: ARG001
    from bench.search_efficiency.with_neps import PriorBand

    return PriorBand(table, seed)


METHODS: dict[str, tuple[str, Callable[[Table, str, int], Method]]] = {
    **{name: ("hybrid-search", _ours(search)) for name, search in OURS.items()},
    "all one epoch, then the best": ("hybrid-search", _one_epoch),
    PEER: ("ray", _ray(4)),
    "Ray Tune: OptunaSearch + ASHA, reduction 3": ("ray", _ray(3)),
    "Optuna: TPE + SuccessiveHalvingPruner": ("optuna", _optuna("SuccessiveHalvingPruner")),
    "Optuna: TPE + HyperbandPruner": ("optuna", _optuna("HyperbandPruner")),
    **{f"Syne Tune: {name}": ("syne-tune", _syne_tune(name)) for name in ("ASHA", "BOHB", "ASHABORE", "ASHACQR")},
    "SMAC3: multi-fidelity": ("smac", _smac),
    "NePS: PriorBand": ("neural-pipeline-search", _neps),
}
"""Name -> (package, function that makes the method from a table, the table's name and a seed)."""


def version_of(name: str) -> str | None:
    """Return the name and version of the package that a method comes from; None if it is not installed."""
    package = METHODS[name][0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
