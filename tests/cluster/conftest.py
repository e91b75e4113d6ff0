"""Containers without an engine: each a process tree with its own network address, host name, processes and mounts.

What a container runs is what the image runs: the scripts of docker/. Host and containers share files and programs.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib.util
import os
import re
import secrets as random_secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
BIN = Path(sys.executable).parent
SUBNET = f"10.213.{os.getpid() % 250}"
PRELUDE = """
hostname "$1"; mount --bind "$2/hosts" /etc/hosts; mount --bind "$2/resolv" /etc/resolv.conf
for hidden in $HIDDEN; do mount --bind "$2/empty" "$hidden"; done
mkdir -p /tmp/ray "$HOME/ray"; mount --bind "$HOME/ray" /tmp/ray; mount -t tmpfs tmpfs /dev/shm
shift 2; "$@" & child=$!
trap 'kill -TERM $child' TERM; wait $child; code=$?; trap - TERM; wait $child 2>/dev/null; exit $code
"""
"""What an engine and `init: true` do: mounts, a process that passes SIGTERM on and waits for orphans."""


def run(*command: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command of the host's."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert not check or done.returncode == 0, (
        f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done  # type: ignore[no-any-return]


def wait_until(what: str, true: Callable[[], object], timeout_secs: float, log: Callable[[], str] = str) -> None:
    """Wait for something that takes its time on a busy machine."""
    end = time.monotonic() + timeout_secs
    while not true():
        assert time.monotonic() < end, f"{what}: not within {timeout_secs:.0f} s\n{log()}"
        time.sleep(0.3)


@dataclasses.dataclass
class Container:
    """One of them, running."""

    name: str
    address: str
    link: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: Mapping[str, str]

    @property
    def children(self) -> list[str]:
        """Its first process, as the host counts; none before it has one."""
        with contextlib.suppress(FileNotFoundError):
            return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return []

    @property
    def init(self) -> int:
        """Its first process, as the host counts."""
        assert self.children, f"{self.name} has ended\n{self.tail()}"
        return int(self.children[0])

    def exec(self, *command: object, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run another command inside."""
        inside = ["nsenter", "--target", self.init, "--net", "--uts", "--mount", "--pid", "--", *command]
        return run(*inside, check=check, timeout=timeout, env=dict(self.environment))

    def pull_the_plug(self) -> None:
        """Network and power at once: nobody hears of it."""
        run("ip", "link", "set", self.link, "down")
        self.kill()

    def kill(self) -> None:
        """SIGKILL to everything inside; the kernel does it when the first process goes."""
        for child in self.children:
            os.kill(int(child), signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """What it printed last."""
        parts = (file.read_text(errors="replace")[-3000:] for file in (self.log, self.log.with_suffix(".out")))
        return "\n".join((f"--- {self.name}", *parts))


class Engine:
    """Starts containers on a network of their own, where they call each other by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tag = f"hs{os.getpid() % 100000}"
        self.containers: dict[str, Container] = {}
        (folder / "hosts").write_text("127.0.0.1 localhost\n")
        (folder / "resolv").write_text("")
        (folder / "empty").mkdir()
        run("ip", "link", "add", "name", self.tag, "type", "bridge")
        run("ip", "address", "add", f"{SUBNET}.1/24", "dev", self.tag)
        run("ip", "link", "set", self.tag, "up")

    def start(self, name: str, *command: object, environment: Mapping[str, str]) -> Container:
        """Start one: `docker run --name NAME --env ... IMAGE COMMAND`."""
        number = 10 + len(self.containers)
        space, address, link = f"{self.tag}-{name}", f"{SUBNET}.{number}", f"{self.tag}v{number}"
        with (self.folder / "hosts").open("a") as hosts:  # the very file that all containers have mounted
            hosts.write(f"{address} {name}\n")
        run("ip", "netns", "add", space)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", link, "master", self.tag, "up")
        for words in (f"address add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            run("ip", "-n", space, *words.split())
        home = self.folder / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o777)
        variables = {
            "PATH": f"{DOCKER}:{BIN}:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
            "HOME": str(home),
            "TMPDIR": str(home),
            "RAY_TMPDIR": "/tmp",
            "LANG": "C.UTF-8",
            "NODE_IP": address,
            **environment,
        }
        log = self.folder / f"{name}.log"
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        line = ["ip", "netns", "exec", space, *unshare, "sh", "-c", PRELUDE, "init", name, self.folder, *command]
        with log.open("wb") as stderr, log.with_suffix(".out").open("wb") as stdout:
            process = subprocess.Popen(
                [str(part) for part in line], env=variables, stdout=stdout, stderr=stderr, cwd=self.folder
            )
        made = self.containers[name] = Container(name, address, link, process, log, variables)
        wait_until(name, lambda: made.children or process.poll() is not None, 30, made.tail)
        return made

    def close(self) -> None:
        """End everything, whatever has happened."""
        for container in reversed(self.containers.values()):
            container.kill()
        for line in run("ip", "netns", "list", check=False).stdout.splitlines():
            if line.startswith(f"{self.tag}-"):
                run("ip", "netns", "delete", line.split()[0], check=False)
        for link in (*(container.link for container in self.containers.values()), self.tag):
            run("ip", "link", "delete", link, check=False)

    def logs(self) -> str:
        """What all of them printed last."""
        return "\n".join(container.tail() for container in self.containers.values())


def packages() -> set[Path]:
    """Folders of the project's packages: here, and where an interpreter elsewhere would find them."""
    roots = [REPOSITORY]
    found = run(sys.executable, "-c", "import search; print(search.__file__)", check=False, cwd="/", env={}).stdout
    if found:
        roots.append(Path(found.strip()).parents[1])
    return {root / name for root in roots for name in ("search", "spaces", "hybrid_models")}


def missing() -> str | None:
    """What this machine lacks for containers without an engine."""
    if os.geteuid() != 0:
        return "needs root"
    programs = [name for name in ("ip", "unshare", "nsenter", "setpriv", "postgres", "psql") if not shutil.which(name)]
    if programs:
        return f"needs {', '.join(programs)}"
    probe = subprocess.run(["unshare", "--net", "ip", "link", "add", "name", "hsprobe", "type", "bridge"], check=False)
    return None if probe.returncode == 0 else "may not make network namespaces and bridges"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Networks and processes, all gone afterwards."""
    why = missing()
    if why:
        pytest.skip(f"containers without an engine: {why}")
    # A short path, open to PostgreSQL's own user.
    folder = Path(tempfile.mkdtemp(prefix="hs-"))
    folder.chmod(0o755)
    made = Engine(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """What docker/compose.yaml starts, on an engine's containers, with its scripts and its environment."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.studies = engine.folder / "studies"
        self.studies.mkdir()
        names = re.findall(r"^([A-Z_0-9]+)=$", (DOCKER / ".env.example").read_text(), re.MULTILINE)
        self.dashboard = importlib.util.find_spec("aiohttp_cors") is not None
        """Comes with ray[default]; the image has it."""
        self.secrets = {name: random_secrets.token_hex(16) for name in names}

    def environment(self, service: str) -> dict[str, str]:
        """What compose gives a service, with this cluster's secrets."""
        services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]

        def value(text: object) -> str:
            return re.sub(r"\$\{(\w+):[?-][^}]*\}", lambda found: self.secrets.get(found[1], ""), str(text))

        return {name: value(text) for name, text in services[service]["environment"].items()}

    def start_services(self) -> None:
        """PostgreSQL, the object store, MLflow."""
        home, engine = self.engine.folder / "postgres", self.engine
        home.mkdir()
        shutil.chown(home, "postgres", "postgres")
        as_postgres = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
        run(*as_postgres, "initdb", "--pgdata", home / "data", "--auth-local=trust", "--auth-host=scram-sha-256")
        with (home / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {SUBNET}.0/24 scram-sha-256\n")
        postgres = engine.start(
            "postgres",
            *as_postgres,
            *("postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses=*", "-c", "fsync=off"),
            environment={**self.environment("postgres"), "PGHOST": str(home)},
        )
        ready = ("pg_isready", "--host", "127.0.0.1", "--username", "postgres")
        wait_until("PostgreSQL", lambda: postgres.exec(*ready, check=False).returncode == 0, 60, postgres.tail)
        postgres.exec("postgres-init.sh")
        minio = engine.start(
            "minio", "moto_server", "--host", "0.0.0.0", "--port", "9000", environment=self.environment("minio")
        )
        wait_until("the object store", lambda: self.answers(f"http://{minio.address}:9000"), 60, minio.tail)
        # MinIO's own program makes them, and their users; this server checks no keys.
        for bucket in ("mlflow", "studies"):
            self.store().create_bucket(Bucket=bucket)
        mlflow = engine.start("mlflow", "mlflow.sh", environment=self.environment("mlflow"))
        healthy = lambda: mlflow.exec("healthy.sh", "mlflow", check=False).returncode == 0  # noqa: E731
        wait_until("MLflow", healthy, 180, mlflow.tail)

    def start_ray(self) -> None:
        """The head and two workers."""
        small = {"OBJECT_STORE_BYTES": str(100 << 20), "DASHBOARD": str(self.dashboard).lower()}
        head = self.engine.start("ray-head", "ray-head.sh", environment={**self.environment("ray-head"), **small})
        healthy = lambda: head.exec("healthy.sh", check=False).returncode == 0  # noqa: E731
        wait_until("the Ray head", healthy, 120, head.tail)
        for name in ("worker-1", "worker-2"):
            self.start_worker(name)

    def start_worker(self, name: str) -> Container:
        """A node with one CPU, and without the project."""
        own = {"NODE_CPUS": "1", "OBJECT_STORE_BYTES": str(100 << 20), "HIDDEN": " ".join(map(str, packages()))}
        worker = self.engine.start(name, "ray-worker.sh", environment={**self.environment("worker"), **own})
        joined = lambda: "Ray runtime started" in worker.log.with_suffix(".out").read_text()  # noqa: E731
        wait_until(name, joined, 120, worker.tail)
        return worker

    def start_driver(self, *words: object) -> Container:
        """`docker compose run driver ...`."""
        own = {"OBJECT_STORE_BYTES": str(100 << 20), "PYTHONPATH": str(REPOSITORY)}
        name = f"driver-{sum(name.startswith('driver') for name in self.engine.containers)}"
        return self.engine.start(name, "driver.sh", *words, environment={**self.environment("driver"), **own})

    def drive(self, *words: object) -> str:
        """The same, to its end; what it printed on standard output."""
        driver = self.start_driver(*words)
        assert driver.process.wait(timeout=600) == 0, driver.tail()
        return driver.log.with_suffix(".out").read_text()

    def sql(self, database: str, query: str) -> list[list[str]]:
        """Rows of a query to PostgreSQL."""
        postgres = self.engine.containers["postgres"]
        rows = postgres.exec("psql", "-U", "postgres", "-d", database, "-At", "-F", "|", "-c", query).stdout
        return [line.split("|") for line in rows.splitlines()]

    def objects(self, bucket: str) -> list[str]:
        """Names of what lies in a bucket."""
        return [item["Key"] for item in self.store().list_objects_v2(Bucket=bucket).get("Contents", ())]

    def store(self) -> Any:
        """The object store."""
        import boto3

        place = f"http://{self.engine.containers['minio'].address}:9000"
        secrets = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=place, **secrets)

    def status(self, url: str, *, host: str, signed_in: bool = False) -> int:
        """HTTP status of an address when it is called by a name."""
        headers = {"Host": host}
        if signed_in:
            pair = f"admin:{self.secrets['MLFLOW_ADMIN_PASSWORD']}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    wait_until = staticmethod(wait_until)

    @staticmethod
    def answers(url: str) -> bool:
        """Whether somebody is there, whatever they say."""
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def cluster(engine: Engine) -> Cluster:
    """All services, a Ray head and two workers."""
    made = Cluster(engine)
    made.start_services()
    made.start_ray()
    return made
