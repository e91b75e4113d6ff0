"""The harness is modules in this folder, run as a program too: put the folder on the path for its tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Servers and reference runs, for all tests of this folder."""
    world = World()
    yield world
    world.close(keep=False)
