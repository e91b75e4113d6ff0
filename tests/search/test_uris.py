from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.commands.check import check
from search.errors import InputError, StudyError, TrackingError
from search.storage.location import Location, bare, join, shown
from search.study.config import StudyConfig, to_dict
from search.study.folder import check_folder, claim_folder
from search.study.load import find_study, load_study, parse_study
from search.study.tracking_place import tracking_place
from search.uris import Uri, redacted

MakeStudy = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://me:secret@db/x", "postgresql://me@db/x"),
        ("postgresql+psycopg2://me:secret@db:5432/x", "postgresql+psycopg2://me@db:5432/x"),
        ("http://me:secret@host:5000/", "http://me@host:5000/"),
        ("http://:secret@host", "http://host"),
        ("s3://KEY:secret@bucket/runs", "s3://bucket/runs"),
        ("abfs://container:secret@account/x", "abfs://container@account/x"),
        ("s3://bucket/x?access_key=KEY&secret_key=secret&region=eu", "s3://bucket/x?region=eu"),
        ("postgresql://db/x?user=me&password=secret", "postgresql://db/x?user=me"),
        # Passwords that should have been percent-encoded; SQLAlchemy takes most of them all the same.
        ("postgresql://me:se/cr?e#t@db/x", "postgresql://me@db/x"),
        ("postgresql://me:1/secret@db/x", "postgresql://me@db/x"),
        ("http://me:sec@ret@host", "http://me@host"),
        ("http://me:se:cret@host", "http://me@host"),
        (
            "error: API request to http://me:secret@host/api?token=secret failed; ask me@host",
            "error: API request to http://me@host/api failed; ask me@host",
        ),
    ],
)
def test_passwords_are_taken_out(text: str, left: str) -> None:
    assert redacted(text) == left
    assert redacted(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000",
        "http://host:5000/#/experiments/1?name=a@b",
        "sqlite:////home/a:b@c/mlflow.db",
        "s3://bucket/me@here",
        "s3://bucket?endpoint_override=localhost:9000&scheme=http",
        "postgresql://me@db/x?sslmode=require&passfile=/home/me/.pgpass&sslkey=/home/me/key",
        "/home/me/a:b@c/runs",
        "postgresql://me:${PASSWORD}@db/x",
        "${DATABASE}",
        "search.trails: unknown key; did you mean trials?",
        "expected photo?.jpg, found none",
        "http://host:5000: connection refused; write to me@host",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert redacted(text) == text


def test_only_a_whole_reference_stands_for_a_password() -> None:
    assert redacted("http://me:secret${X}@host") == "http://me@host"
    assert redacted("http://me:$secret@host") == "http://me@host"


def test_variables_are_filled_in_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "s/e@c:ret")
    monkeypatch.setenv("HOST", "db.example")
    uri = Uri("postgresql://me:${PASSWORD}@${HOST}/x")
    assert str(uri) == "postgresql://me:s%2Fe%40c%3Aret@db.example/x"
    assert uri.written == "postgresql://me:${PASSWORD}@${HOST}/x"
    assert repr([uri]) == "['postgresql://me:${PASSWORD}@${HOST}/x']"
    assert Uri("${PASSWORD}") == "s/e@c:ret"


def test_copies_keep_the_password_and_pickles_do_not() -> None:
    uri = Uri("http://me:secret@host")
    assert copy.deepcopy(uri) == copy.copy(uri) == "http://me:secret@host"
    assert b"secret" not in pickle.dumps(uri)
    assert pickle.loads(pickle.dumps(uri)) == "http://me@host"


def test_an_error_line_holds_no_password() -> None:
    error = InputError("tracking.uri: http://me:secret@host is away")
    assert error.faults == ("tracking.uri: http://me@host is away",)
    assert "secret" not in f"{error}{pickle.loads(pickle.dumps(error))}"


SECRETS = {
    "search": {"trials": 2, "database": "postgresql://me:secret@db/x"},
    "tracking": {"uri": "http://me:secret@host"},
}


def test_a_study_keeps_its_passwords_to_itself(make_study: MakeStudy) -> None:
    study = make_study(**SECRETS)
    assert study.search.database == "postgresql://me:secret@db/x"
    assert study.tracking.uri == "http://me:secret@host"
    for text in (repr(study), str(study), study.model_dump_json(), json.dumps(to_dict(study))):
        assert "secret" not in text


def test_the_resolved_file_holds_no_password(make_study: MakeStudy) -> None:
    study = make_study(**SECRETS, data={"name": "digits", "limit": 100, "root": "s3://KEY:secret@bucket/x"})
    claim_folder(study)
    text = (study.folder / "study.yaml").read_text()
    assert "secret" not in text
    assert yaml.safe_load(text)["search"]["database"] == "postgresql://me@db/x"
    check_folder(study)  # the password is no change
    check_folder(make_study(search={"trials": 2, "database": "postgresql://me:secret@elsewhere/x"}))  # it may move


def test_verbs_given_the_file_know_the_password(
    make_study: MakeStudy, study_data: dict[str, Any], tmp_path: Path
) -> None:
    study = make_study(**SECRETS)
    claim_folder(study)
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**study_data, **SECRETS}, sort_keys=False))
    found = find_study(path)
    assert (found.search.database, found.tracking.uri) == (study.search.database, study.tracking.uri)
    found = find_study(study.folder)
    assert (found.search.database, found.tracking.uri) == ("postgresql://me@db/x", "http://me@host")


def test_a_study_names_variables(
    make_study: MakeStudy, study_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MLFLOW_PW": "secret", "PLACE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    named = {"tracking": {"uri": "http://me:${MLFLOW_PW}@host"}, "storage": "${PLACE}/runs"}
    study = make_study(**named)
    assert study.tracking.uri == "http://me:secret@host"
    assert study.folder == tmp_path / "runs" / "tiny"
    claim_folder(study)
    text = (study.folder / "study.yaml").read_text()
    assert "secret" not in text
    assert "http://me:${MLFLOW_PW}@host" in text
    check_folder(study)
    monkeypatch.delenv("MLFLOW_PW")
    with pytest.raises(StudyError, match=r"tracking\.uri: refers to \$\{MLFLOW_PW\}, .*; set MLFLOW_PW"):
        load_study(study.folder / "study.yaml")
    check_folder(make_study())  # where MLflow records may change; the old variable is not needed for it


@pytest.mark.parametrize(
    "uri",
    ["s3://KEY:secret@bucket/x", "s3://bucket/x?secret_key=secret&region=eu", "abfs://container:secret@account/x"],
)
def test_what_is_kept_and_said_of_a_storage_has_no_key(uri: str) -> None:
    location = Location(uri, "study")
    assert "secret" not in f"{location} {bare(location.uri or '')} {location.folder} {shown(uri)}"
    assert bare("s3://bucket/x?region=eu") == "s3://bucket/x?region=eu"


def test_faults_of_a_study_hold_no_password(make_study: MakeStudy) -> None:
    for override in ("tracking.uri=[http://me:secret@host]", "tracking.uri.x=1", "tracking.adress=http://me:secret@h"):
        with pytest.raises(StudyError) as caught:
            make_study(override, **SECRETS)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("odd", "written"), [("#", "%23"), ("'", "%27"), ('"', "%22"), (" ", "%20"), ("<", "%3C")])
def test_what_would_end_a_query_before_its_password_does_is_refused(
    make_study: MakeStudy, odd: str, written: str
) -> None:
    uri = f"postgresql://me@db/x?password=ab{odd}secret"
    with pytest.raises(
        StudyError, match=(r"search\.database: after \?, expected .* to be percent-encoded; write ") + written
    ) as caught:
        make_study(search={"trials": 1, "database": uri})
    assert "secret" not in str(caught.value)
    make_study(search={"trials": 1, "database": uri.replace(odd, written)})


def test_a_variable_may_hold_any_character_in_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "a#b&c d")
    uri = Uri("postgresql://me@db/x?password=${PW}&sslmode=require")
    assert uri == "postgresql://me@db/x?password=a%23b%26c%20d&sslmode=require"
    assert redacted(uri) == "postgresql://me@db/x?sslmode=require"


@pytest.mark.parametrize("storage", ["s3://KEY:secret@bucket/runs", "s3://bucket/runs?secret_key=secret"])
def test_a_key_written_into_the_storage_is_refused_where_workers_need_it(make_study: MakeStudy, storage: str) -> None:
    with pytest.raises(StudyError, match="storage: expected an address without a key") as caught:
        check_folder(make_study(storage=storage, resources={"runner": "ray"}))
    assert "secret_key" not in str(caught.value)


def test_where_a_trial_lies_travels_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    for text in ("s3://id:${KEY}@bucket/runs", "s3://bucket/runs?secret_key=${KEY}", "s3://id:s3cret@bucket/runs"):
        uri = Location(Uri(text), "study").uri
        assert uri is not None
        trial = join(uri, "trials", "t")
        assert "s3cret" in trial, "here it is known"
        assert b"s3cret" not in pickle.dumps(trial)
        there = pickle.loads(pickle.dumps(trial))
        assert ("s3cret" in there) is ("${KEY}" in text), "there it is what that environment says"
        assert "bucket/runs/study/trials/t" in there
        assert "endpoint_override=minio:9000" in there


def test_a_study_that_is_looked_at_by_its_folder_has_nothing_filled_in(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRET", "kanari")
    folder = claim_folder(make_study("tracking={uri: 'http://h/${SECRET}'}", "search.database=sqlite:///${SECRET}.db"))
    (folder / "journal.jsonl").touch()
    for path in (folder, folder / "study.yaml"):
        found = find_study(path)
        assert found.tracking.uri == "http://h/${SECRET}"
        assert found.search.database == "sqlite:///${SECRET}.db"
        assert pickle.loads(pickle.dumps(found.tracking.uri)) == "http://h/${SECRET}"
        with pytest.raises(
            TrackingError, match=(r"tracking.uri: refers to \$\{SECRET\}, and environment variables are not used")
        ):
            tracking_place(found)
        report = check(found)
        assert report.exit_code == 2
        assert not report.stores
        assert len(report.unreadable) == 2
    # Whoever trains has chosen to.
    assert find_study(folder, fill=True).tracking.uri == "http://h/kanari"


def test_a_path_is_no_address_and_holds_no_password(tmp_path: Path) -> None:
    text = f"{tmp_path}/a?token=b#c%41"
    assert Uri(text).written == text


@pytest.mark.parametrize("name", ["mlflow.db", "MLflow.db-wal", "mlartifacts", "Default", "default", "ends."])
def test_names_that_mlflow_uses_are_refused(study_data: dict[str, Any], name: str) -> None:
    with pytest.raises(StudyError, match="name: "):
        parse_study({**study_data, "name": name}, "study.yaml")
    assert parse_study({**study_data, "name": name}, "study.yaml", recorded=True).name == name


@pytest.mark.parametrize("name", ["..", ".", "", " x", "a\nb", "Default"])
def test_names_of_experiments_that_lead_elsewhere_are_refused(make_study: MakeStudy, name: str) -> None:
    with pytest.raises(StudyError, match=r"tracking.experiment: "):
        make_study(tracking={"experiment": name})


def test_more_than_one_gpu_is_refused_in_words_but_a_study_that_began_is_read(
    make_study: MakeStudy, study_data: dict[str, Any]
) -> None:
    with pytest.raises(StudyError, match=r"resources.gpus: expected at most 1, as one trial uses one GPU, found 2"):
        make_study("resources.gpus=2")
    assert parse_study(study_data, "study.yaml", ["resources.gpus=2"], recorded=True).resources.gpus == 2
