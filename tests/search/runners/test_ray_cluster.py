"""Joining a cluster in words, nodes that come and go, and clusters that end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from search.data.store import FORMAT
from search.errors import ResourceError
from search.journal.reading import read_events, read_records
from search.records import Completed, Failed
from search.study.config import ResourcesSection

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
PATIENCE_SECS = 300.0
ROOT = Path(__file__).parents[3]
PACKAGES = ("spaces", "hybrid_models", "search")


def until(happened: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECS
    while not (found := happened()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)
    return found


class Head:
    """A head without CPUs for trials, and nodes with one each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.address: str = self.cluster.address

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=1)

    def kill(self, process: str) -> None:
        (found,) = self.cluster.head_node.all_processes[process]
        os.kill(found.process.pid, signal.SIGKILL)


@pytest.fixture
def head() -> Iterator[Head]:
    head = Head()
    yield head
    head.cluster.shutdown()


class Command:
    """A sweep as a process of its own."""

    def __init__(self, study: Path, *arguments: str, **environment: str) -> None:
        self.folder = study.parent / "runs" / "here"
        self.log = study.parent / "log.txt"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "search.cli", "sweep", str(study), *arguments],
                stdout=stream,
                stderr=stream,
                cwd=ROOT,
                env={**os.environ, **environment},
            )

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "journal.jsonl"
        return [event for event in read_events(path) if event["event"] == kind] if path.is_file() else []

    def nodes(self) -> set[str]:
        return {event["node"] for event in self.events("epoch")}

    def said(self, words: str) -> bool:
        return words in self.log.read_text()

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECS)


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Begin a sweep: `sweep("--address", address, data={...})`; keywords replace parts of the study."""
    begun: list[Command] = []

    def begin(*arguments: str, environment: dict[str, str] | None = None, **sections: Any) -> Command:
        study = tmp_path / "study.yaml"
        content = {
            "name": "here",
            "storage": str(tmp_path / "runs"),
            "data": {"name": "digits", "limit": 400},
            "space": "ecrnn",
            "fix": {"layout": "positions"},
            "train": {"epochs": 3, "batch": 32, "precision": "float32"},
            "search": {"trials": 2, "scheduler": "none", "sampler": "random"},
            "tracking": {"enabled": False},
        }
        study.write_text(yaml.safe_dump({**content, **sections}))
        begun.append(Command(study, *arguments, **(environment or {})))
        return begun[-1]

    yield begin
    for command in begun:
        if command.process.poll() is None:
            command.process.kill()


def check_whole(command: Command, num_trials: int) -> None:
    records = read_records(command.folder)
    assert len(records) == num_trials
    assert all(isinstance(record.outcome, Completed) for record in records.values()), command.log.read_text()
    told = [(event["key"], event["metrics"]["epoch"]) for event in command.events("epoch")]
    assert len(told) == len(set(told)), "an epoch was told twice"


@pytest.mark.slow
def test_nodes_come_and_go(head: Head, sweep: Callable[..., Command]) -> None:
    """One joins and is used; all are lost, which counts for nobody; another one joins, and all ends well."""
    first = head.add()
    command = sweep(
        "--address",
        head.address,
        train={"epochs": 150, "batch": 32, "precision": "float32"},
        search={"trials": 3, "scheduler": "none", "sampler": "random"},
        resources={"max_failures": 0},
    )
    until(command.nodes, "an epoch")
    second = head.add()
    until(lambda: len(command.nodes()) == 2, "an epoch on the node that joined")
    head.cluster.remove_node(first, allow_graceful=False)
    head.cluster.remove_node(second, allow_graceful=True)
    until(lambda: command.said("waiting for a node to join"), "the line")
    assert command.process.poll() is None
    assert not command.events("end"), "nothing failed, and nothing was so quick"
    head.add()
    assert command.end() == 0, command.log.read_text()
    assert command.said("a node joined; continuing")
    assert len(command.nodes()) == 3
    check_whole(command, 3)
    assert not command.said("Traceback")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "words"),
    [("gcs_server", "its head accepts no connection"), ("raylet", "this machine's Ray node has ended")],
)
def test_a_cluster_that_ends_is_told_in_a_line(
    head: Head, sweep: Callable[..., Command], process: str, words: str
) -> None:
    head.add()
    long = {"epochs": 2000, "batch": 32, "precision": "float32"}
    command = sweep("--address", head.address, train=long, tracking={"enabled": True})
    until(command.nodes, "an epoch")
    (mirror,) = [
        child
        for child in psutil.Process(command.process.pid).children()
        if "search.copies" in " ".join(child.cmdline())
    ]
    head.kill(process)
    began = time.monotonic()
    assert command.end() == 2, command.log.read_text()
    assert time.monotonic() - began < 100
    lines = [
        line for line in command.log.read_text().splitlines() if not line.startswith(("here:", "decoding", "warning:"))
    ]
    assert lines == [
        f"error: lost the Ray cluster at {head.address}: {words}; everything is saved, run the same command again to "
        "continue"
    ]
    assert command.events("stop"), "the journal was closed as always"
    until(lambda: not mirror.is_running(), "the end of the mirror")
    # The same command, without that cluster: no trial is begun anew, no epoch told twice.
    num_known = len(command.events("epoch"))
    again = sweep(train=long)
    until(lambda: len(again.events("epoch")) > num_known, "the trial going on")
    again.process.terminate()
    assert again.end() == 130, again.log.read_text()
    assert again.said("error: interrupted by SIGTERM; everything is saved, run the same command again to continue")
    assert not again.said("Traceback")
    told = [(event["key"], event["metrics"]["epoch"]) for event in again.events("epoch")]
    assert len(told) == len(set(told))


@pytest.mark.slow
def test_a_worker_that_dies_on_a_living_node_counts(sweep: Callable[..., Command]) -> None:
    command = sweep(
        train={"epochs": 100, "batch": 32, "precision": "float32"},
        search={"trials": 1, "scheduler": "none", "sampler": "random", "max_failed_fraction": 1.0},
        resources={"max_failures": 1},
    )

    def kill_the_worker() -> None:
        (worker,) = until(
            lambda: [
                process
                for process in psutil.Process(command.process.pid).children(recursive=True)
                if "ray::Trial" in " ".join(process.cmdline()) or "Trainable.train" in " ".join(process.cmdline())
            ],
            "a worker",
        )
        worker.kill()

    until(lambda: len(command.events("epoch")) > 2, "epochs")
    kill_the_worker()
    num_known = len(command.events("epoch"))
    until(lambda: len(command.events("epoch")) > num_known + 2, "the trial going on")
    kill_the_worker()
    assert command.end() == 0, command.log.read_text()
    (record,) = read_records(command.folder).values()
    assert isinstance(record.outcome, Failed)
    node = record.node
    assert record.outcome.reason == (
        f"its worker process died 2 times; the last one, on node {node}, was killed or crashed"
    )
    assert not command.said("Traceback")


@pytest.mark.slow
def test_a_node_that_kills_for_memory_fails_the_trial_and_not_the_run(sweep: Callable[..., Command]) -> None:
    command = sweep(
        search={"trials": 2, "scheduler": "none", "sampler": "random", "max_failed_fraction": 1.0},
        resources={"max_failures": 0, "concurrency": 1},
        train={"epochs": 3000, "batch": 32, "precision": "float32"},
        environment={"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "250"},
    )
    assert command.end() == 0, command.log.read_text()
    reasons = [record.outcome.reason for record in read_records(command.folder).values()]  # type: ignore[union-attr]
    assert len(reasons) == 2
    assert all(reason.endswith("was killed because the node ran low on memory") for reason in reasons), reasons
    assert not command.said("Traceback")


CAN_HIDE = (
    shutil.which("unshare") is not None
    and subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
)


@pytest.fixture
def hidden_node(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Add a node from which folders are hidden: `hidden_node(address, folder, ...)`."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(address: str, *folders: Path) -> subprocess.Popen[bytes]:
        mounts = " && ".join(f"mount -t tmpfs none '{folder}'" for folder in folders)
        start = f"ray start --address {address} --num-cpus 1 --block --disable-usage-stats"
        program = f"{mounts} && cd / && exec '{Path(sys.executable).parent}'/{start}"
        cache = {"HYBRID_SEARCH_CACHE": str(tmp_path / "cache of the node")}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | cache
        with (tmp_path / "node.log").open("ab") as log:
            command = ["unshare", "-Urm", "sh", "-c", program]
            begun.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
        return begun[-1]

    yield begin
    for process in begun:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            with_suppress(member.kill)
        process.wait()


def with_suppress(call: Callable[[], None]) -> None:
    try:
        call()
    except psutil.NoSuchProcess:
        return


def project_folders() -> list[Path]:
    """Where the packages can be imported from: here, and where they are installed."""
    script = (
        f"import importlib.util as u; print(*[u.find_spec(n).origin for n in {PACKAGES} if u.find_spec(n)], sep='\\n')"
    )
    installed = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, cwd="/").stdout
    return sorted({*(ROOT / name for name in PACKAGES), *(Path(line).parent for line in installed.splitlines())})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, number in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for index in range(number):
                Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.skipif(not CAN_HIDE, reason="needs namespaces of one's own")
def test_code_and_images_reach_a_node_that_has_neither(
    head: Head, sweep: Callable[..., Command], hidden_node: Callable[..., Any], photos: Path, tmp_path: Path
) -> None:
    hidden_node(head.address, *project_folders(), photos)
    head.cluster.wait_for_nodes(PATIENCE_SECS)
    until(lambda: num_nodes(head) == 2, "the node")
    data = {"name": "folder", "root": str(photos), "image_size": 16}
    command = sweep("--address", head.address, data=data, train={"epochs": 1, "batch": 8, "precision": "float32"})
    assert command.end() == 0, command.log.read_text()
    check_whole(command, 2)
    digest = command.events("session")[0]["data"]["digest"]
    received = [path.name for path in (tmp_path / "cache of the node").iterdir() if path.is_dir()]
    assert received == [f"folder-{digest}-v{FORMAT}"]


@pytest.mark.slow
@pytest.mark.skipif(not CAN_HIDE, reason="needs namespaces of one's own")
def test_a_node_with_another_storage_is_named_before_anything_fails(
    head: Head, sweep: Callable[..., Command], hidden_node: Callable[..., Any], tmp_path: Path
) -> None:
    head.add()
    (tmp_path / "runs").mkdir()
    long = {"epochs": 2000, "batch": 32, "precision": "float32"}
    command = sweep("--address", head.address, train=long)
    until(command.nodes, "an epoch")
    hidden_node(head.address, tmp_path / "runs")
    # It is checked when its first worker begins.
    assert command.end() == 2
    words = f"expected the study's folder {command.folder}, found none: mount the same storage there"
    (line,) = [line for line in command.log.read_text().splitlines() if line.startswith("error:")]
    assert line.startswith(f"error: node {socket.gethostname()}/")
    assert line.endswith(words)
    assert not command.events("end"), "nothing failed"
    num_begun = len([*command.events("begin"), *command.events("resume")])
    # And a command that finds it there begins nothing.
    again = sweep("--address", head.address, train=long)
    assert again.end() == 2
    assert again.said(words)
    assert len([*again.events("begin"), *again.events("resume")]) == num_begun
    assert not (command.folder / ".nodes").exists()


def num_nodes(head: Head) -> int:
    script = (
        "import ray,sys; ray.init(address=sys.argv[1], logging_level=50); print(sum(n['Alive'] for n in ray.nodes()))"
    )
    return int(subprocess.run([sys.executable, "-c", script, head.address], capture_output=True, text=True).stdout or 0)


@pytest.mark.slow
def test_a_cluster_wants_its_token(
    monkeypatch: pytest.MonkeyPatch, sweep: Callable[..., Command], tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    script = (
        "import sys; from ray.cluster_utils import Cluster; "
        "c = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'include_dashboard': False}); "
        "print(c.address, flush=True); sys.stdin.read(); c.shutdown()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as head:
        assert head.stdout is not None
        assert head.stdin is not None
        address = head.stdout.readline().strip()
        try:
            wrong = sweep("--address", address, environment={"RAY_AUTH_TOKEN": "b" * 64})
            assert wrong.end() == 2
            lines = [
                line for line in wrong.log.read_text().splitlines() if not line.startswith(("decoding", "warning:"))
            ]
            assert lines == [
                f"error: resources.address: expected the token of the Ray cluster at {address}, found another one or "
                "none here; set RAY_AUTH_MODE=token and put the head's token into RAY_AUTH_TOKEN, or into "
                "~/.ray/auth_token"
            ]
            assert not wrong.folder.exists()
            right = sweep("--address", address, train={"epochs": 1, "batch": 32, "precision": "float32"})
            assert right.end() == 0, right.log.read_text()
            check_whole(right, 2)
        finally:
            head.stdin.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            "127.0.0.1:9",
            r"no Ray cluster at 127\.0\.0\.1:9 \(no answer\); start one with `ray start --head`",
        ),
        ("ray://127.0.0.1:10001", r"is a Ray client's address, expected host:port of the head"),
    ],
)
def test_an_address_where_nothing_is_is_refused_at_once(address: str, words: str) -> None:
    from search.runners import ray_join

    began = time.monotonic()
    with pytest.raises(ResourceError, match=words), ray_join.cluster(ResourcesSection(address=address)):
        pass
    assert time.monotonic() - began < 30


def test_reasons_of_a_refusal_are_one_line() -> None:
    from ray.exceptions import AuthenticationError

    from search.runners.ray_join import _no_cluster

    mismatch = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.59\n    Python: 3.12\n")
    assert _no_cluster("h:1", mismatch).faults == (
        "resources.address: Version mismatch: The cluster was started with: Ray: 2.59 Python: 3.12; use the same "
        "versions on all nodes",
    )
    (line,) = _no_cluster("h:1", AuthenticationError("Token authentication is enabled\nbut")).faults
    assert "found none here; set RAY_AUTH_MODE=token" in line
    (line,) = _no_cluster(None, ConnectionError("a\nb")).faults
    assert "no Ray cluster at this machine (a b)" in line


@pytest.mark.parametrize(
    ("address", "warned"),
    [("127.0.0.1:8265", False), ("localhost:8265", False), ("", False), ("[::1]:8265", False), ("10.0.0.7:8265", True)],
)
def test_a_dashboard_beyond_loopback_is_warned_of(
    address: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.runners.ray_join import _warn_of_dashboard

    _warn_of_dashboard(address)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: Ray's dashboard listens at {address}, not on loopback only;") is warned
    assert bool(said) is warned


def test_room_is_counted_node_by_node(capsys: pytest.CaptureFixture[str]) -> None:
    from search.runners.ray_cluster import Cluster

    def node(name: str, **have: float) -> dict[str, Any]:
        return {"NodeID": name, "Resources": have}

    there = Cluster(ResourcesSection(cpus=2, gpus=0.5), "h:1")
    there._alive = [node("a", CPU=5, GPU=1), node("b", CPU=3), node("c", CPU=3, GPU=4)]
    assert there.limit() == 3
    capped = Cluster(ResourcesSection(cpus=2, concurrency=2), "h:1")
    capped._alive = there._alive
    assert capped.limit() == 2
    there._alive = there._alive[1:2]
    assert [there.limit(), there.limit()] == [1, 1], "one waits, so that a cluster that grows on demand grows"
    assert capsys.readouterr().err == (
        "no node has the resources of a trial now (cpus: 2, gpus: 0.5); waiting for a node to join\n"
    ), "said once"


def test_a_node_that_takes_no_connection_has_left() -> None:
    from search.runners.ray_cluster import Cluster

    there = Cluster(ResourcesSection(), "h:1")
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        there._alive = [{"NodeID": "a", "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": port}]
        assert not there.has_left("a")
        assert there.has_left("b")
    assert there.has_left("a"), "the head says so a quarter of a minute later"


def test_the_watch_gives_a_head_time_and_our_own_node_little(monkeypatch: pytest.MonkeyPatch) -> None:
    from search.errors import LostClusterError
    from search.runners import ray_watch

    clock = SimpleNamespace(now=0.0)
    closed: set[int] = set()
    monkeypatch.setattr(ray_watch.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(ray_watch, "takes_connections", lambda host, port, secs: port not in closed)
    context = SimpleNamespace(gcs_address="h:1", get_node_id=lambda: "me")
    monkeypatch.setattr(ray_watch.ray, "get_runtime_context", lambda: context)
    me = {"NodeID": "me", "NodeManagerAddress": "h", "NodeManagerPort": 2}
    monkeypatch.setattr(ray_watch.ray, "nodes", lambda: [me])

    def watch_for(secs: float) -> None:
        for _ in range(int(secs)):
            clock.now += 1.0
            watch.check()

    watch = ray_watch.Watch("h:1")
    closed.add(1)
    watch_for(20)
    closed.clear()
    watch_for(3)
    closed.add(1)
    watch_for(20)
    with pytest.raises(
        LostClusterError, match=("lost the Ray cluster at h:1: its head accepts no connection; everything")
    ):
        watch_for(10)
    closed.clear()
    watch = ray_watch.Watch("h:1")
    watch_for(3)
    closed.add(2)
    with pytest.raises(LostClusterError, match="this machine's Ray node has ended"):
        watch_for(8)
