"""Short names of points, for labels of trials and names of configurations."""

from __future__ import annotations

from collections.abc import Mapping

from search.study.config import StudyConfig
from search.study.own_model import is_built_in
from search.study.settings import RECIPE_SETTINGS
from search.text.printable import printable

MAX_NAME = 60
"""Largest length of the name of an own model's point."""


def describe_in(study: StudyConfig, point: Mapping[str, bool | int | float | str]) -> str:
    """Return a short name of a point of a study: of an own model, the parameters that vary and are not the recipe's."""
    if is_built_in(study, point):
        return describe(point)
    free = study.build_space().free
    names = [name for name in point if name in free and name not in RECIPE_SETTINGS]
    words = ", ".join(f"{name} {_short(point[name])}" for name in names)
    factory = str(study.model["factory"])
    return printable(words if len(words) <= MAX_NAME else f"{words[:MAX_NAME]}...") or factory


def _short(value: bool | int | float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def describe(point: Mapping[str, bool | int | float | str]) -> str:
    """Return a short name of an architecture, the paper's if it has one.

    >>> describe({"family": "hybrid", "backbone": "cnn4", "rnn": "lstm", "nodes": 16, "depth": 2, "enc_on": True})
    'ecrnn lstm 16-16'
    >>> describe({"family": "resnet18"})
    'resnet18'
    """
    family, rnn, backbone = (point.get(name) for name in ("family", "rnn", "backbone"))
    if family not in (None, "hybrid"):
        return str(family)
    cell = "" if rnn in (None, "none") else f"{rnn} {'-'.join([str(point.get('nodes'))] * int(point.get('depth', 1)))}"
    if backbone in (None, "cnn4") and point.get("merge", "serial") == "serial":
        if not cell:
            return "cnn + encoder-decoder" if point.get("enc_on") else "cnn"
        return f"{'ecrnn' if point.get('enc_on') else 'crnn'} {cell}"
    parts = (
        "" if backbone in (None, "none") else f"{backbone}{point.get('n_conv', '')}",
        "encoder-decoder" if point.get("enc_on") else "",
        f"{cell} {point['merge']}" if cell and point.get("merge", "serial") != "serial" else cell,
    )
    return " + ".join(part for part in parts if part)
