"""The harness is modules in this folder, run as a program too: put the folder on the path for its tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import World

from search.copies import main as copies
from search.study.load import parse_study
from search.study.tracking_place import tracking_place
from search.sweep.run import run_sweep


class NoFollower:
    """Stands for the process that copies a journal: nothing is copied."""

    backlog = None

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def close(self, _: float) -> bool:
        return True


def sweep_here(study: Mapping[str, Any], cache: Path) -> None:
    """Run a sweep to its end in this process, and copy its journal without pictures: two processes take long."""
    config = parse_study(dict(study), "study.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_SEARCH_CACHE", str(cache))
        patch.setattr("search.runners.session.FollowerProcess", NoFollower)
        patch.setattr("search.tracking.mirror.Mirror._draw", lambda *_: None)
        patch.setattr("search.tracking.pictures.Pictures.draw_sweep", lambda *_: None)
        run_sweep(config)
        copies._optuna(config.folder, None, print).finish()
        if place := tracking_place(config):
            copies._mlflow(config.folder, place.uri, place.experiment, print).finish()


@pytest.fixture(scope="session")
def run_here(world: World) -> Callable[[Mapping[str, Any]], None]:
    """Run a sweep to its end in this process."""
    return lambda study: sweep_here(study, world.folder / "cache")


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Servers and reference runs, for all tests of this folder; the plain one is made in this process."""
    with pytest.MonkeyPatch.context() as patch:
        world = World()
        patch.setattr("world.run_quietly", lambda study, *_: sweep_here(study, world.folder / "cache"))
        world.reference("plain")
    yield world
    world.close(keep=False)
