"""Pictures of what mattered: they are artifacts of the sweep's run, once there are enough trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from search.records import Completed
from search.tracking.mirror import Mirror
from spaces.space import Space

if TYPE_CHECKING:
    from conftest import Server, Study

SPACE = Space.from_dict("s", {"cell": ["gru", "lstm"], "rate": {"float": [0.001, 0.1], "log": True}})
NAMES = {"importance/importance.png", "importance/slices.png", "importance/ranks.png", "importance/parallel.png"}


def space() -> Space:
    return SPACE


def forbidden() -> Space:
    pytest.fail("the study was read")


def tell(study: Study, num_trials: int) -> None:
    study.session()
    for number in range(num_trials):
        cell, rate = ("gru", "lstm")[number % 2], 0.001 * 100 ** (number / num_trials)
        study.trial(f"t{number}", outcome=Completed(), accuracy=rate, point={"cell": cell, "rate": rate})
    study.journal.note("stop")


def test_pictures_of_what_mattered(study: Study, server: Server) -> None:
    tell(study, 20)
    Mirror(study.folder, uri=server.uri, experiment=server.experiment, space=space).finish()
    run = server.run("sweep")
    assert {"sweep.png", "importance"} <= server.files(run)
    assert {item.path for item in server.client.list_artifacts(run.info.run_id, "importance")} == NAMES
    file = Path(server.client.download_artifacts(run.info.run_id, "importance/importance.png", str(study.folder)))
    assert file.read_bytes().startswith(b"\x89PNG")


def test_too_few_trials_have_no_pictures(study: Study, server: Server) -> None:
    tell(study, 19)
    Mirror(study.folder, uri=server.uri, experiment=server.experiment, space=forbidden).finish()
    assert server.files("sweep") & {"sweep.png", "importance"} == {"sweep.png"}
