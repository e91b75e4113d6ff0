"""docker/slurm.sh with stand-ins for Slurm, Ray and the command: who is started where, and what happens at the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "slurm.sh"
GUIDE = Path(__file__).parents[2] / "docs" / "cluster.md"
JOB = 10_000_000 + os.getpid()
FOLDER = Path(f"/tmp/ray-{JOB}")
STAND_INS = {
    "scontrol": 'echo "scontrol $*" >> "$CALLS"; [ "$1" != show ] || printf "node-1\\nnode-2\\nnode-3\\n"',
    # Drops its own options and runs the rest here.
    "srun": 'while [ "${1#--}" != "$1" ]; do case "$1" in --nodelist=*) at="${1#*=}";; esac; shift; done\n'
    'echo "srun $at $(basename "${2:-}")  $(basename "$1")" >> "$CALLS"; exec "$@"',
    "ray": 'echo "ray $*" >> "$CALLS"; [ "$1" != health-check ] || { grep -q "^ray start --head" "$CALLS"; exit; }\n'
    '[ -s "$RAY_AUTH_TOKEN_PATH" ] && [ "$(stat -c %a "$RAY_AUTH_TOKEN_PATH")" = 600 ] || exit 9\n'
    'echo "token ok" >> "$CALLS"; trap "exit 0" TERM; sleep 60 >/dev/null 2>&1 & wait',
    "hybrid-search": 'echo "hybrid-search $*" >> "$CALLS"; [ "$2" != quick ] || {\n'
    '  for _ in $(seq 600); do [ "$(grep -c "token ok" "$CALLS")" -lt 3 ] || exit 3; sleep 0.05; done; }\n'
    "trap 'sleep 1; echo saved >> \"$CALLS\"; exit 130' TERM; sleep 60 >/dev/null 2>&1 & wait",
}


@pytest.fixture
def folder() -> Iterator[None]:
    """Ray's session folders are gone afterwards."""
    yield
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture
def submit(tmp_path: Path, folder: None) -> object:
    """Starts the script as Slurm would."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **more: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "CALLS": str(tmp_path / "calls"),
            "SLURM_JOB_ID": str(JOB),
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_NODELIST": "node-[1-3]",
            "SLURM_CPUS_PER_TASK": "4",
            "HYBRID_SEARCH_HOME": str(tmp_path / "checkout"),
            "HEAD_IP": "10.0.0.1",
            **more,
        }
        (tmp_path / "checkout").mkdir(exist_ok=True)
        if not (tmp_path / "checkout" / "docker").exists():
            (tmp_path / "checkout" / "docker").symlink_to(SCRIPT.parent)
        process = subprocess.Popen(
            ["bash", SCRIPT, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def calls(tmp_path: Path) -> str:
    return (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""


def wait_for(tmp_path: Path, what: str) -> None:
    end = time.monotonic() + 30
    while what not in calls(tmp_path):
        assert time.monotonic() < end, calls(tmp_path)
        time.sleep(0.05)


def test_head_workers_and_command_in_one_allocation(tmp_path: Path, submit: object) -> None:
    job = submit("sweep", "quick")  # type: ignore[operator]
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 3, output  # the command's own code
    told = calls(tmp_path)
    port, dashboard_port = 20000 + JOB % 10000, 30000 + JOB % 10000
    assert f"ray start --head --block --port {port}" in told
    assert told.count(f"ray start --block --address 10.0.0.1:{port}") == 2
    assert "--num-cpus 4" in told
    assert told.count(f"--temp-dir {FOLDER}/ray") == 3
    assert FOLDER.stat().st_mode & 0o777 == 0o700
    assert f"--dashboard-host 127.0.0.1 --dashboard-port {dashboard_port}" in told
    nodes = [line.split()[1] for line in told.splitlines() if line.startswith("srun")]
    assert sorted(nodes) == ["node-1", "node-2", "node-3"]
    assert f"hybrid-search sweep quick --set resources.address=10.0.0.1:{port}" in told
    assert "token ok" in told
    assert not list((tmp_path / "home").rglob("*.token")), "the token outlived the job"
    assert "requeue" not in told


@pytest.mark.slow
@pytest.mark.parametrize("requeue", ["0", "1"])
def test_when_the_time_is_up_the_driver_saves(tmp_path: Path, submit: object, requeue: str) -> None:
    job = submit("sweep", "study.yaml", REQUEUE=requeue)  # type: ignore[operator]
    wait_for(tmp_path, "hybrid-search sweep")
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)  # as --signal=B:TERM@120: to the batch script alone
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 130, output
    told = calls(tmp_path)
    assert told.count("saved") == 1
    assert (f"scontrol requeue {JOB}" in told) == (requeue == "1")
    assert not list((tmp_path / "home").rglob("*.token"))


def test_a_folder_of_somebody_else_ends_the_job_in_words(tmp_path: Path, submit: object) -> None:
    theirs = Path("/usr")
    if os.geteuid() == 0:
        FOLDER.mkdir()
        shutil.chown(FOLDER, "nobody")
        theirs = FOLDER
    job = submit("sweep", "x", **({} if theirs == FOLDER else {"RAY_TEMP": str(theirs)}))  # type: ignore[operator]
    output, _ = job.communicate(timeout=60)
    assert job.returncode != 0
    assert f"ray-head.sh: RAY_TEMP={theirs} must belong to you" in output
    assert "ray start" not in calls(tmp_path)
    assert "hybrid-search sweep" not in calls(tmp_path)


def test_more_nodes_join_from_a_shell_without_the_environment(tmp_path: Path, folder: None) -> None:
    """The guide's line, as Slurm would run it in the folder of `sbatch`: the `ray` of .venv, an own folder."""
    lines = GUIDE.read_text().partition("**More nodes.**")[2].partition("`HEAD:PORT`")[0]
    (line,) = re.findall(r"--wrap '([^']*)'", lines)
    exported = dict(pair.split("=") for pair in re.findall(r"--export=ALL,(\S+)", lines)[0].split(","))
    checkout = tmp_path / "checkout"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / "docker").symlink_to(SCRIPT.parent)
    (checkout / ".venv" / "bin" / "ray").write_text('#!/bin/sh\necho "ray $*"\n')
    (checkout / ".venv" / "bin" / "ray").chmod(0o755)
    (checkout / ".venv" / "bin" / "activate").write_text(f'PATH="{checkout}/.venv/bin:$PATH"; export PATH\n')
    bare = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": str(JOB)}
    joined = subprocess.run(
        ["sh", "-c", line], cwd=checkout, env={**bare, **exported}, capture_output=True, text=True, check=False
    )
    assert joined.returncode == 0, joined.stderr
    assert joined.stdout.startswith("ray start --block --address HEAD:PORT ")
    assert f"--temp-dir {FOLDER}/ray" in joined.stdout


def test_a_wrong_folder_is_named(tmp_path: Path, submit: object) -> None:
    job = submit("sweep", "x", HYBRID_SEARCH_HOME="/nowhere")  # type: ignore[operator]
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 2
    assert "slurm.sh: no /nowhere/docker/ray-head.sh; set HYBRID_SEARCH_HOME" in output
