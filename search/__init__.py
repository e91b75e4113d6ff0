"""How the space is searched: studies, sweeps, repeats, verdicts and exports.

The Python interface; each name is imported when it is first used, so that `import search` is light:

    >>> import search
    >>> study = search.Study.load("my-study.yaml")  # doctest: +SKIP
    >>> study.sweep()                               # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api.analysis import analyze
    from search.api.predictor import Predictor, load
    from search.api.shown import Shown
    from search.api.study import MlflowExperiment, Study
    from search.errors import HybridSearchError

    __version__: str
    """Version of the installed distribution, as `hybrid-search --version` prints it."""

__all__ = ["HybridSearchError", "MlflowExperiment", "Predictor", "Shown", "Study", "analyze", "load"]

_PLACES = {
    "HybridSearchError": "search.errors",
    "MlflowExperiment": "search.api.study",
    "Predictor": "search.api.predictor",
    "Shown": "search.api.shown",
    "Study": "search.api.study",
    "analyze": "search.api.analysis",
    "load": "search.api.predictor",
}
"""Public name -> module that defines it."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        from importlib.metadata import version

        return version("hybrid-search")
    if name not in _PLACES:
        msg = f"module 'search' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
