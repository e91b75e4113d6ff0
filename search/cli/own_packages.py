"""Keep modules of the working folder from hiding the packages of this project."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from search.errors import InputError


def find_own_packages() -> None:
    """Let no module in the working folder hide a package of ours.

    Raises:
        InputError: One does, as its folder is on PYTHONPATH; or the working folder was removed.
    """
    here = Path(__file__).parents[2]
    try:
        cwd = Path.cwd()
    except FileNotFoundError:
        raise InputError("the working folder was removed; change to another one") from None
    if cwd != here:
        sys.path[:] = [place for place in sys.path if place not in {"", str(cwd)}]  # as `python -m` adds it
    for name in ("spaces", "hybrid_models"):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None and not Path(spec.origin).is_relative_to(here / name):
            raise InputError(
                f"{spec.origin}: hides the package {name} of hybrid-search; rename it, or remove its folder from "
                "PYTHONPATH"
            )
