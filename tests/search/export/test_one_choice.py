"""A sweep whose nominee is a baseline: everything that names a configuration names the same one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.compare.contenders import pick_contenders
from search.compare.repeats import Repeats, judge_repeats
from search.compare.results import write_results
from search.console.tables import to_table
from search.export.command import export_all
from search.journal.comparison_file import from_json
from search.journal.journal import Journal
from search.journal.nominee import CONFIRMED, NOMINATED
from search.journal.summary import nominee
from search.report.material import gather
from search.report.overview import make_overview
from search.report.verdict import headline
from search.runners import inline
from search.study.bind import DataFacts
from search.study.config import StudyConfig, TrackingSection
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import connect

MakeStudy = Callable[..., StudyConfig]
URI = "sqlite:///{}"


@pytest.fixture
def study(make_study: MakeStudy, driver: Any, facts: DataFacts, empty_database: Path) -> StudyConfig:
    """Three trials, of which the first nominated is the baseline; the two others are compared with it."""
    swept = make_study("train.epochs=1", "search.trials=3", "search.scheduler=none", compare={"finalists": 2})
    first = nominee(driver.sweep(swept))
    assert first is not None
    tracking = TrackingSection(uri=URI.format(shutil.copy(empty_database, swept.folder.parent / "mlflow.db")))
    claims = swept.compare.model_copy(update={"baselines": (dict(first.point),), "repeats": 2})
    study = swept.model_copy(update={"compare": claims, "tracking": tracking})
    with Journal(study.folder) as journal:
        session = {"data": {"name": "digits", "digest": facts.key, "num_train": 100, "num_test": 50}}
        journal.note("session", verb="compare", classes=list(facts.classes), **session)
        contenders = pick_contenders(study, list(journal.records.values()))
        repeats = Repeats(study=study, facts=facts, journal=journal, contenders=contenders, num_blocks=2)
        inline.run(repeats, study.resources)
        write_results(study, facts, repeats, judge_repeats(study, facts, repeats), journal)
    return study


def judge_again(study: StudyConfig, verdict: str) -> dict[str, Any]:
    """Let all comparisons have had another verdict on the finalists."""
    path = study.folder / "comparison" / "comparison.json"
    document: dict[str, Any] = json.loads(path.read_text())
    for item in document["comparisons"]:
        item |= {"verdict": verdict, "provisional": False}
    path.write_text(json.dumps(document))
    return document


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_nominee_that_is_a_baseline_is_named_alike_everywhere(study: StudyConfig, tmp_path: Path) -> None:
    document = json.loads((study.folder / "comparison" / "comparison.json").read_text())
    baseline = document["contenders"][2]
    assert (baseline["finalist"], baseline["sweep_rank"]) == (False, 1)
    uri = str(study.tracking.uri)
    Mirror(study.folder, uri=uri, experiment=study.name).finish()
    client = connect(uri)
    runs = client.search_runs([client.get_experiment_by_name(study.name).experiment_id])
    tags = [run.data.tags for run in runs]
    # The sweep's own run names the trial, the comparison's run what it led to.
    (nominated,) = [item["hybrid_search.nominated"] for item in tags if "hybrid_search.nominated" in item]
    overview = make_overview(study)
    assert nominated == overview.nominated[0].label
    assert dict(overview.nominated[0].point) == baseline["point"]
    (chosen,) = [(item["choice"], item["choice.state"]) for item in tags if "choice" in item]
    assert chosen == (baseline["name"], NOMINATED)

    for verdict, state, alias in (("refused", NOMINATED, "candidate"), ("worse", CONFIRMED, "champion")):
        document = judge_again(study, verdict)
        overview, material = make_overview(study), gather(study)
        assert overview.selection is not None
        assert overview.choice == material.choice is not None
        ((exported, registration),) = export_all(study, tmp_path / "winner")
        evidence = json.loads((tmp_path / "winner" / "evidence.json").read_text())
        for name, word in (
            (overview.selection.name, overview.selection.state),
            (overview.choice.name, overview.choice.state),
            (material.choice.name, material.choice.state),
            (exported.winner.name, exported.winner.state),
            (evidence["name"], evidence["state"]),
            (evidence["selection"]["name"], evidence["selection"]["state"]),
        ):
            assert (name, word) == (baseline["name"], state)
        assert headline(material).startswith(f"{baseline['name']}: {state}. Better in {2 * (alias == 'champion')} of 2")
        assert evidence["weights"]["key"] == baseline["repeats"][0]["key"]
        card = (tmp_path / "winner" / "README.md").read_text()
        assert card.startswith(f"# {baseline['name']}\n\n{state.capitalize()}: ")
        (held,) = client.get_registered_model(study.name).aliases.items()
        assert (held[0], int(held[1])) == (alias, 1)
        assert (registration.alias, registration.version) == (alias, f"{study.name} version 1")
        version = client.get_model_version_by_alias(study.name, alias)
        assert (version.tags["configuration"], version.tags["state"]) == (baseline["name"], state)
    # `refused` was what the comparison itself came to.
    assert f"`export` takes {baseline['name']}: {NOMINATED}." in to_table(
        from_json(json.dumps({**document, "comparisons": []}).encode())
    )
