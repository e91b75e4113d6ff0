"""Test whether the difference between two configurations is real: deterministic functions from arrays to records.

The names below are imported on first use, so that reading a record does not import SciPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.significance.declared import Declared
    from search.significance.judge import judge_results
    from search.significance.pairing import ScoresError
    from search.significance.records import Comparison, Interval, MeanTest, Verdict
    from search.significance.results import Results

__all__ = ["Comparison", "Declared", "Interval", "MeanTest", "Results", "ScoresError", "Verdict", "judge_results"]

_PLACES = {
    "Declared": "declared",
    "judge_results": "judge",
    "ScoresError": "pairing",
    "Results": "results",
    **dict.fromkeys(("Comparison", "Interval", "MeanTest", "Verdict"), "records"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
