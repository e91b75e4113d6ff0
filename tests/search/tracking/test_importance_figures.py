"""Pictures of what mattered: they are artifacts of the sweep's run, once there are enough trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.records import Completed
from search.tracking.mirror import Mirror
from search.tracking.run_values import StudyFacts
from spaces.space import Space

if TYPE_CHECKING:
    from conftest import Server, Study

SPACE = Space.from_dict("s", {"cell": ["gru", "lstm"], "rate": {"float": [0.001, 0.1], "log": True}})
NAMES = {
    "4_importance/importance.png",
    "4_importance/slices.png",
    "4_importance/ranks.png",
    "4_importance/parallel.png",
}


def facts() -> StudyFacts:
    return StudyFacts(space=SPACE)


def tell(study: Study, num_trials: int) -> None:
    study.session()
    for number in range(num_trials):
        cell, rate = ("gru", "lstm")[number % 2], 0.001 * 100 ** (number / num_trials)
        study.trial(f"t{number}", outcome=Completed(), accuracy=rate, point={"cell": cell, "rate": rate})
    study.journal.note("stop")


def test_pictures_of_what_mattered(study: Study, server: Server) -> None:
    tell(study, 20)
    Mirror(study.folder, uri=server.uri, experiment=server.experiment, facts=facts).finish()
    run = server.run("sweep")
    assert {"2_sweep.png", "4_importance"} <= server.files(run)
    assert {item.path for item in server.client.list_artifacts(run.info.run_id, "4_importance")} == NAMES
    file = Path(server.client.download_artifacts(run.info.run_id, "4_importance/importance.png", str(study.folder)))
    assert file.read_bytes().startswith(b"\x89PNG")


def test_too_few_trials_have_no_pictures(study: Study, server: Server) -> None:
    tell(study, 19)
    Mirror(study.folder, uri=server.uri, experiment=server.experiment, facts=facts).finish()
    assert server.files("sweep") & {"2_sweep.png", "4_importance"} == {"2_sweep.png"}
