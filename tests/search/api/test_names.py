"""The names and signatures that other people's notebooks rely on."""

from __future__ import annotations

import inspect
import subprocess
import sys

import search

HEAVY = ("torch", "ray", "optuna", "mlflow", "pandas", "matplotlib", "scipy", "numpy", "pydantic")

SIGNATURES = {
    "Study.load": ["path", "**overrides"],
    "Study.from_dict": ["data"],
    "Study.plan": ["self"],
    "Study.sweep": ["self", "*time_budget"],
    "Study.compare": ["self", "*repeats", "*until_decided"],
    "Study.status": ["self"],
    "Study.trials": ["self", "*where", "*sort"],
    "Study.repeats": ["self"],
    "Study.comparison": ["self"],
    "Study.report": ["self", "to"],
    "Study.export": ["self", "to", "*config", "*trial", "*top", "*onnx"],
    "Study.optuna_study": ["self"],
    "Predictor.predict": ["self", "images"],
    "load": ["folder", "*trust_code"],
}
"""Callable -> its parameters; `*` marks those that are given by name only."""
MARKS = {inspect.Parameter.KEYWORD_ONLY: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def test_the_public_names() -> None:
    assert search.__all__ == ["HybridSearchError", "MlflowExperiment", "Predictor", "Shown", "Study", "analyze", "load"]
    assert all(hasattr(search, name) for name in search.__all__)
    assert set(search.__all__) <= set(dir(search))
    public = {name for name in vars(search.Study) if not name.startswith("_")}
    assert public == {
        *(name.removeprefix("Study.") for name in SIGNATURES if name.startswith("Study.")),
        *("name", "folder", "mlflow_experiment"),
    }
    assert {name for name in vars(search.Predictor) if not name.startswith("_")} == {
        *("classes", "model", "image_size", "predict"),
    }


def test_the_signatures() -> None:
    for path, wanted in SIGNATURES.items():
        found = search
        for part in path.split("."):
            found = getattr(found, part)
        function = getattr(found, "__func__", found)
        parameters = [item for item in inspect.signature(function).parameters.values() if item.name != "cls"]
        assert [f"{MARKS.get(item.kind, '')}{item.name}" for item in parameters] == wanted, path
    first, *others = inspect.signature(search.analyze).parameters.values()
    assert first.name == "results"
    assert all(item.kind is inspect.Parameter.KEYWORD_ONLY and item.default is not first.empty for item in others)


def test_the_import_is_light() -> None:
    program = f"import search, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(search, "Studies")
