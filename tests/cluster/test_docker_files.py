"""The files of docker/ without an engine: schemas, and the promises that no schema knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from search.study.load import load_study

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
SCRIPTS = sorted(DOCKER.glob("*.sh"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
OURS = ["ray-head", "worker", "worker-gpu", "driver", "mlflow"]
KUBERNETES = "1.33"


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DOCKER / "kuberay.yaml").read_text()))


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == kind)
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_read_by_their_shells_and_can_be_started(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!").split()[-1]
    subprocess.run([Path(shell).name, "-n", script], check=True)
    assert script.stat().st_mode & 0o111 == 0o111
    assert "set -e" in script.read_text() or script.name == "ray-node.sh"


@pytest.mark.parametrize("name", ["ray-head.sh", "ray-worker.sh", "driver.sh"])
def test_no_ray_without_a_token(name: str) -> None:
    done = subprocess.run(
        [DOCKER / name, "sweep"],
        env={"PATH": "/usr/bin:/bin", "RAY_ADDRESS": "x:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{name}: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH must be set" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_compose_follows_its_schema() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [shutil.which("check-jsonschema", path=str(checker.parent)) or "check-jsonschema"]
    done = subprocess.run(
        [*command, "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_publishes_on_loopback_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published), published
    assert {tuple(service["networks"]) for service in COMPOSE["services"].values()} == {("cluster",)}


def test_compose_waits_for_health_and_starts_again() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["restart"] in {"unless-stopped", "no", "on-failure:5"}, name
        for other, condition in service.get("depends_on", {}).items():
            assert condition["condition"] in {"service_healthy", "service_completed_successfully"}, (name, other)
            if condition["condition"] == "service_healthy":
                assert other in OURS or "healthcheck" in COMPOSE["services"][other], (name, other)  # our image has one


def test_compose_pins_what_it_pulls() -> None:
    for name, service in COMPOSE["services"].items():
        if name not in OURS:
            assert re.search(r":(\d+\.\d+|RELEASE\.\d{4})", service["image"]), service["image"]
    assert re.search(r"^ARG PYTHON=3\.\d+\.\d+-", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)


def test_every_secret_is_demanded_and_none_has_a_value() -> None:
    example = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert set(example.values()) == {""}
    text = (DOCKER / "compose.yaml").read_text()
    used = dict(re.findall(r"\$\{(\w+):([?-])", text))
    assert set(example) == {name for name, mark in used.items() if mark == "?"}
    for name, service in COMPOSE["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY$", variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", str(value)), (name, variable)
    ignored = subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=REPOSITORY, check=False)
    assert ignored.returncode in {0, 128}, "docker/.env could be committed"  # 128: not a checkout


def test_our_containers_are_locked_down() -> None:
    for name in OURS:
        service = COMPOSE["services"][name]
        assert service["cap_drop"] == ["ALL"], name
        assert service["init"] is True, name
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["${UID}:${UID}"]
    assert re.search(r"^HEALTHCHECK .*healthy\.sh", dockerfile, re.MULTILINE)


def test_the_driver_is_never_given_more_than_it_needs() -> None:
    driver = COMPOSE["services"]["driver"]["environment"]
    assert "OPTUNA_DB_PASSWORD" in driver["PGPASSWORD"]
    assert not any("POSTGRES_PASSWORD" in str(value) or "MLFLOW_DB" in str(value) for value in driver.values())
    assert "PGPASSWORD" not in COMPOSE["services"]["worker"]["environment"]


def test_each_bucket_has_a_key_of_its_own() -> None:
    holders = {
        secret: {name for name, service in COMPOSE["services"].items() if secret in str(service.get("environment"))}
        for secret in ("MINIO_ROOT_PASSWORD:", "S3_STUDIES_SECRET:", "S3_MLFLOW_SECRET:")
    }
    assert holders == {
        "MINIO_ROOT_PASSWORD:": {"minio", "buckets"},
        "S3_STUDIES_SECRET:": {"worker", "worker-gpu", "driver", "buckets"},
        "S3_MLFLOW_SECRET:": {"mlflow", "buckets"},
    }
    for name, user in (("worker", "studies"), ("driver", "studies"), ("mlflow", "mlflow")):
        environment = COMPOSE["services"][name]["environment"]
        assert environment["AWS_ACCESS_KEY_ID"] == user
        assert f"S3_{user.upper()}_SECRET" in environment["AWS_SECRET_ACCESS_KEY"]


MC = """#!/bin/sh
{ echo "called $*"; case "$*" in *"user add"*|*"alias set"*|*"policy create"*) cat;; esac; echo; } >>"$CALLS"
case "$*" in
  *"policy attach"*) ! grep -qs "^$*$" "$CALLS.attached" || exit 1; echo "$*" >>"$CALLS.attached" ;;
  *"user info"*) grep -s " $5$" "$CALLS.attached" || echo "PolicyName: " ;;
esac
"""


def test_minio_is_given_a_user_for_each_bucket_and_no_command_line_a_secret(tmp_path: Path) -> None:
    (tmp_path / "mc").write_text(MC)
    (tmp_path / "mc").chmod(0o755)
    names = COMPOSE["services"]["buckets"]["environment"]
    secrets = {name: f"hidden-{name}" for name in names if re.search("PASSWORD|SECRET", name)}
    environment = {**names, **secrets, "CALLS": str(tmp_path / "calls"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for _ in range(2):  # as at the second start, when all is there
        subprocess.run([DOCKER / "minio-init.sh"], env=environment, check=True)
    called = [call.splitlines() for call in (tmp_path / "calls").read_text().split("called ")[1:]]
    assert not [call[0] for call in called if "hidden" in call[0]]
    told = {call[0]: call[1:] for call in called}
    assert told["alias set store http://minio:9000"][:2] == ["minio-root", "hidden-MINIO_ROOT_PASSWORD"]
    users = [call[1:3] for call in called if call[0] == "admin user add store"]
    assert users == [["mlflow", "hidden-S3_MLFLOW_SECRET"], ["studies", "hidden-S3_STUDIES_SECRET"]] * 2
    for name in ("mlflow", "studies"):
        assert f"mb --ignore-existing store/{name}" in told
        (statement,) = yaml.safe_load(told[f"admin policy create store only-{name} /dev/stdin"][0])["Statement"]
        assert statement["Effect"] == "Allow"
        assert statement["Resource"] == [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
        assert f"admin policy attach store only-{name} --user {name}" in told


@pytest.mark.parametrize("name", ["ray-head.sh", "ray-worker.sh"])
def test_a_session_folder_of_somebody_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "ray").write_text('#!/bin/sh\necho "ray $*"\n')
    (tmp_path / "ray").chmod(0o755)
    theirs = Path("/usr")
    if os.geteuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        shutil.chown(theirs, "nobody")

    def start(folder: Path) -> subprocess.CompletedProcess[str]:
        own = {"RAY_ADDRESS": "x:1", "RAY_AUTH_TOKEN": "x", "RAY_TEMP": str(folder)}
        environment = {**own, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run([DOCKER / name], env=environment, capture_output=True, text=True, check=False)

    refused = start(theirs)
    assert refused.returncode == 2
    assert f"{name}: RAY_TEMP={theirs} must belong to you, but belongs to" in refused.stderr
    assert "ray" not in refused.stdout
    ours = tmp_path / "ours"
    for _ in range(2):  # made, then found
        assert f"--temp-dir {ours}/ray" in start(ours).stdout
        assert ours.stat().st_mode & 0o777 == 0o700, "Ray opens its own folder to all"


def test_what_the_image_copies_reaches_the_builder() -> None:
    kept = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (.*)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert source in kept, source
            assert list(REPOSITORY.glob(source)), source


def test_what_the_image_installs_is_locked() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    locked = set(re.findall(r"^([\w-]+)==", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE))
    for requirement in extras["cluster"]:
        name, extra = re.match(r"([\w-]+)(?:\[(\w+)\])?", requirement).groups()
        assert name in locked, requirement
        assert {"default": "aiohttp-cors", "auth": "flask-wtf", None: name}[extra] in locked, requirement


def test_the_shipped_study_loads_and_travels_with_the_job_on_kubernetes(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    study = load_study(DOCKER / "studies" / "cluster.yaml")
    assert study.search.database == "postgresql+psycopg2://optuna@postgres/optuna"
    # As Ray's job supervisor does; the operator passes the entrypoint on as it is.
    (tmp_path / "hybrid-search").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "hybrid-search").chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    entrypoint = only(objects, "RayJob")["spec"]["entrypoint"]
    done = subprocess.run(entrypoint, shell=True, check=True, env=environment, capture_output=True, text=True)
    verb, file, *_ = done.stdout.split()
    assert verb == "sweep"
    on_kubernetes = yaml.safe_load(Path(file).read_text())
    ours = yaml.safe_load((DOCKER / "studies" / "cluster.yaml").read_text())
    assert on_kubernetes == {**ours, "resources": {"address": "auto"}}


def test_kubernetes_objects_follow_their_schemas(objects: list[dict[str, Any]]) -> None:
    for item in objects:
        assert item["metadata"]["labels"]["app"] == "hybrid-search"
        if not item["apiVersion"].startswith("ray.io/"):
            kubernetes_validate.validate(item, KUBERNETES, strict=True)
    spec = only(objects, "RayCluster")["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_ray_on_kubernetes(objects: list[dict[str, Any]]) -> None:
    """What the operator's own definitions would check, of what is used."""
    cluster, job = only(objects, "RayCluster"), only(objects, "RayJob")
    spec = cluster["spec"]
    assert set(spec) <= {
        "rayVersion",
        "authOptions",
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "headGroupSpec",
        "workerGroupSpecs",
    }
    assert spec["authOptions"] == {"mode": "token"}
    locked = re.search(r"^ray==(.*)$", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    assert spec["rayVersion"] == locked[1]
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    # Not allowed beside clusterSelector.
    assert not {"backoffLimit", "shutdownAfterJobFinishes", "rayClusterSpec", "suspend"} & set(job["spec"])


def test_on_kubernetes_whoever_trains_has_the_studies_key(objects: list[dict[str, Any]]) -> None:
    spec = only(objects, "RayCluster")["spec"]
    (mlflow,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    groups = [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]

    def key_of(container: dict[str, Any]) -> list[str]:
        found = {item["name"]: item.get("valueFrom", {}).get("secretKeyRef", {}) for item in container["env"]}
        return [found[name]["key"] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]

    for pod in groups:
        assert key_of(pod["containers"][0]) == ["s3-access-key-id", "s3-secret-access-key"]
    assert key_of(mlflow) == ["mlflow-s3-access-key-id", "mlflow-s3-secret-access-key"]


def test_without_the_lines_of_the_claim_no_pod_waits_for_it() -> None:
    text = (DOCKER / "kuberay.yaml").read_text()
    _, _, rest = text.partition("---\n")
    lines = [line for line in rest.splitlines() if not line.endswith("# (claim)")]
    objects = list(yaml.safe_load_all("\n".join(lines)))
    spec = only(objects, "RayCluster")["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert "volumes" not in pod
        assert "volumeMounts" not in pod["containers"][0]
    assert "PersistentVolumeClaim" not in {item["kind"] for item in objects}


def test_the_secret_that_is_asked_for_is_the_one_that_the_guide_makes() -> None:
    asked = set(re.findall(r"name: hybrid-search-secrets, key: ([\w-]+)", (DOCKER / "kuberay.yaml").read_text()))
    guide = (REPOSITORY / "docs" / "cluster.md").read_text()
    assert asked == set(re.findall(r"--from-literal=([\w-]+)=", guide))


def test_kubernetes_secrets_are_references(objects: list[dict[str, Any]]) -> None:
    assert "Secret" not in {item["kind"] for item in objects}

    def variables(node: object) -> Any:
        if isinstance(node, dict):
            yield from node.get("env", ())
            for value in node.values():
                yield from variables(value)
        elif isinstance(node, list):
            for value in node:
                yield from variables(value)

    found = [item for item in variables(objects) if re.search(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY", item["name"])]
    assert len(found) >= 11
    (name,) = {item["valueFrom"]["secretKeyRef"]["name"] for item in found}
    # The operator keeps Ray's token in a Secret of the cluster's name.
    assert name != only(objects, "RayCluster")["metadata"]["name"]
