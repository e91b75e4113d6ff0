"""What a local Ray cluster opens to others: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import json, os, sys
from pathlib import Path
import psutil
from search.runners.ray_local import asks_for_token
from search.runners.ray_tune import cluster
from search.study.config import ResourcesSection
import ray
with cluster(ResourcesSection(dashboard=len(sys.argv) > 1)):
    ray.get(ray.remote(lambda: 1).remote())
    here = psutil.Process()
    processes = [here, *here.children(recursive=True)]
    sockets = [item for process in processes for item in process.net_connections("inet") if item.status == "LISTEN"]
    ips = {item.laddr.ip for item in sockets}
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    context = ray.get_runtime_context()
    print(json.dumps({
        "ips": sorted(ips), "num": len(processes), "session": str(session), "address": context.gcs_address,
        "closed": oct(session.parents[1].stat().st_mode & 0o777), "mode": os.environ.get("RAY_AUTH_MODE"),
        "asks": asks_for_token(),
    }), flush=True)
    sys.stdin.readline()
"""
TERMINATED = """
import os, signal, time
from search.runners.interruption import interruptible
from search.runners.ray_tune import cluster
from search.study.config import ResourcesSection
import ray

def end():
    shutdown()
    ended.append(True)
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

ended, shutdown, ray.shutdown = [], ray.shutdown, end
with interruptible():
    ours = signal.getsignal(signal.SIGTERM)
    try:
        with cluster(ResourcesSection()):
            assert signal.getsignal(signal.SIGTERM) == ours, "while joined"
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except KeyboardInterrupt:
                print("heard while joined", flush=True)
    except KeyboardInterrupt:
        print("heard while leaving", ended, flush=True)
"""
INTRUDER = """
import sys
from ray._raylet import GcsClient
print("in:", len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=60)))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user who has no token yet."""
    names = ("RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "HOME": str(tmp_path)}


def test_a_local_cluster_is_for_this_user_alone(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        found = json.loads(driver.stdout.readline())
        assert found["num"] > 4
        assert {ip.removeprefix("::ffff:") for ip in found["ips"]} == {"127.0.0.1"}
        assert found["closed"] == "0o700"
        assert (found["mode"], found["asks"]) == ("token", True)
        assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o777 == 0o600
        stranger = {**environment, "HOME": str(tmp_path / "stranger"), "RAY_AUTH_MODE": "disabled"}
        intruder = [sys.executable, "-c", INTRUDER, found["address"]]
        refused = subprocess.run(intruder, env=stranger, capture_output=True, text=True, timeout=300, check=False)
        assert "in:" not in refused.stdout
        assert "authentication" in refused.stderr.lower()
        friend = {**environment, "RAY_AUTH_MODE": "token"}
        let_in = subprocess.run(intruder, env=friend, capture_output=True, text=True, timeout=300, check=False)
        assert let_in.stdout == "in: 1\n", let_in.stderr
        driver.stdin.write("\n")
        driver.stdin.close()
        assert driver.wait(timeout=300) == 0
    assert not Path(found["session"]).parents[1].exists()


def test_sigterm_stays_ours_while_joined_and_while_leaving(environment: dict[str, str]) -> None:
    """Ray puts handlers of its own in our place, twice, and takes all of them away when it ends."""
    ended = subprocess.run(
        [sys.executable, "-c", TERMINATED], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "heard while joined\nheard while leaving [True]\n"), ended.stderr


def test_sigterm_while_ray_starts_ends_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from search.runners.ray_tune import cluster
    from search.study.config import ResourcesSection

    def start(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(ray, "init", start)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt), cluster(ResourcesSection()):
            pass
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)
