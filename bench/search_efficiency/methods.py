"""The methods by name. A peer's package is imported only when one of its methods is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from bench.search_efficiency.clock import Method
from bench.search_efficiency.table import Table

OURS: dict[str, dict[str, Any]] = {
    "default": {},
    "tpe + hyperband": {"scheduler": "hyperband"},
    "tpe + median": {"scheduler": "median"},
    "tpe + none": {"scheduler": "none"},
    "random + asha": {"sampler": "random"},
    "qmc + asha": {"sampler": "qmc"},
    "gp + asha": {"sampler": "gp"},
    "nsga2 + asha": {"sampler": "nsga2"},
}
"""Our methods -> fields of `search:`."""
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


METHODS: dict[str, tuple[str, Callable[[Table, str, int], Method]]] = {
    **{name: ("hybrid-search", _ours(search)) for name, search in OURS.items()},
    "all one epoch, then the best": ("hybrid-search", _one_epoch),
    PEER: ("ray", _ray(4)),
    "Ray Tune: OptunaSearch + ASHA, reduction 3": ("ray", _ray(3)),
    "Optuna: TPE + SuccessiveHalvingPruner": ("optuna", _optuna("SuccessiveHalvingPruner")),
    "Optuna: TPE + HyperbandPruner": ("optuna", _optuna("HyperbandPruner")),
}
"""Name -> (package, function that makes the method from a table, the table's name and a seed)."""


def version_of(name: str) -> str:
    """Return the name and version of the package that a method comes from."""
    package = METHODS[name][0]
    return f"{package} {version(package)}"
