"""The tools of the harness do to a sweep what they say."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from page import to_markdown
from proxy import Proxy
from run import Row
from servers import can_mount, mount, unmount
from world import HOOK, World

pytestmark = pytest.mark.slow


class _Answer(http.server.BaseHTTPRequestHandler):
    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = Proxy(server.server_address[1])
    yield proxy
    proxy.close()
    server.shutdown()
    server.server_close()


def _get(proxy: Proxy, timeout: float = 10.0) -> bytes:
    with urllib.request.urlopen(proxy.uri, timeout=timeout) as answer:
        return bytes(answer.read())


def test_the_switch_fails_the_server_and_brings_it_back(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _get(proxy) == b"here"
    proxy.switch("error")
    with pytest.raises(urllib.error.HTTPError, match="500"):
        _get(proxy)
    proxy.switch("gone")
    with pytest.raises(urllib.error.URLError, match="refused"):
        _get(proxy)
    proxy.switch("pass")
    assert _get(proxy) == b"here"
    monkeypatch.setattr("proxy.SLOW_SECS", 0.5)
    proxy.switch("slow")
    before, since = _Answer.count, time.monotonic()
    assert _get(proxy) == b"here"
    assert time.monotonic() - since >= 0.5
    with pytest.raises(TimeoutError):
        _get(proxy, timeout=0.1)
    assert _Answer.count == before + 2, "the server did what it was asked, only the answer was late"


def test_a_mark_finds_processes_whoever_their_parent_is(world: World) -> None:
    mark = f"{world.mark}/marked/"
    program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    subprocess.run([sys.executable, "-c", program], check=True, env=world.env("marked/"))
    (orphan,) = processes.marked(mark)
    assert processes.await_none(mark, 0.2) == [orphan]
    processes.end(mark)
    assert not processes.marked(mark)


def test_servers_that_are_kept_are_not_left_over(world: World) -> None:
    server = subprocess.Popen(["sleep", "60"], env=world.env("some" + processes.KEPT))
    mark = f"{world.mark}/some/"
    assert [item.pid for item in processes.marked(mark)] == [server.pid]
    assert processes.await_none(mark, 0.0) == []
    server.kill()
    server.wait()


def _with_hook(folder: Path, program: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(HOOK), "HYBRID_SEARCH_FAULTS_HOOK": str(folder)}
    return subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True).stdout


def test_the_clock_jumps_while_a_process_runs(tmp_path: Path) -> None:
    program = (
        "import time, pathlib; before = time.time(), time.time_ns(); "
        f"pathlib.Path({str(tmp_path / 'clock')!r}).write_text('-7200'); "
        "print(round(time.time() - before[0]), round((time.time_ns() - before[1]) / 1e9))"
    )
    assert _with_hook(tmp_path, program).split() == ["-7200", "-7200"]


def test_a_batch_that_is_too_large_finds_no_memory(tmp_path: Path) -> None:
    (tmp_path / "most_images").write_text("2")
    program = (
        "import search.training.learner as learner, torch\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))\n"
        "for size in (2, 3):\n"
        "    try:\n"
        "        learner.objective(model, torch.zeros(size, 1, 2, 2), torch.zeros(size, dtype=torch.long),"
        " label_smoothing=0.0, rnn_l2=0.0)\n"
        "        print('fits')\n"
        "    except RuntimeError as error:\n"
        "        print(str(error)[-24:])\n"
    )
    assert _with_hook(tmp_path, program).splitlines() == ["fits", "(Cannot allocate memory)"]


def test_epochs_that_the_journal_has_are_in_the_trace(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from search.records import EpochMetrics, TrialRecord\n"
        "from search.journal.journal import Journal\n"
        "record = TrialRecord(key='a', number=0, label='', kind='trial', point={}, blocks=(), curve=(), outcome=None,"
        " started_at=0.0, finished_at=None, node='')\n"
        "metrics = EpochMetrics(epoch=1, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5,"
        " learning_rate=0.1, elapsed_secs=1.0, num_images=8)\n"
        f"with Journal(Path({str(tmp_path / 'study')!r})) as journal:\n"
        "    journal.begin(record)\n"
        "    journal.epoch('a', metrics, 'node')\n"
    )
    (tmp_path / "study").mkdir()
    _with_hook(tmp_path, program)
    (line,) = (tmp_path / "trace").read_text().splitlines()
    assert json.loads(line)[:3] == ["told", "a", 1]


def test_a_mounted_disk_can_be_filled_to_its_end(tmp_path: Path) -> None:
    if not can_mount(tmp_path / "try"):
        pytest.skip("mounting a small disk needs root")
    from episode import Episode

    disk = tmp_path / "disk"
    disk.mkdir()
    assert mount(disk, 1)
    try:
        ballast = Episode.fill(None, disk)  # type: ignore[arg-type]
        with pytest.raises(OSError, match="No space left"):
            (disk / "more").write_bytes(b"0123456789" * 1000)
        (disk / "more").unlink(missing_ok=True)
        ballast.unlink()
        (disk / "more").write_bytes(b"0123456789")
    finally:
        unmount(disk)


def test_the_page_names_each_fault_and_how_to_see_it_again() -> None:
    row = Row(
        kind="kill-driver", seed=7001, chain=("kill-driver",), moment="2 ep + 0.10 s", starts=1, secs=12.3, result="ok"
    )
    broken = Row(
        kind="ctrl-c", seed=7002, chain=("ctrl-c",), moment="-", starts=0, secs=1.0, result="BROKEN: a | b\nmore"
    )
    page = to_markdown([broken, row], seed=7, mins=3.0, jobs=2, num_cpus=2)
    assert "| 1 | kill-driver | 7001 | 2 ep + 0.10 s | 1 | 12 | ok |" in page
    assert "| 2 | ctrl-c | 7002 | - | 0 | 1 | BROKEN: a / b |" in page
    assert "1 of 2 are ok" in page
    assert "make faults SEED=7" in page
