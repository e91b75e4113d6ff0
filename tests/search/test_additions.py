"""The seven additions of CONTRIBUTING.md, made to a copy of the packages in no other files than it names, and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Edit = tuple[str, str, str]
"""File, a text in it, and what is written before that text. An empty text: a new file."""

ADDITIONS: dict[str, list[Edit]] = {
    "scheduler": [
        (
            "search/sweep/schedulers.py",
            "def make_scheduler(",
            "class FirstEpoch:\n"
            '    """Stops every trial after its first epoch."""\n\n'
            "    def observe(self, key: str, epoch: int, value: float | None) -> bool:\n"
            "        return False\n\n\n",
        ),
        (
            "search/sweep/schedulers.py",
            '        case "none":',
            '        case "first":\n            return FirstEpoch()\n',
        ),
        ("search/study/config.py", '"plateau", "none"]', '"first", '),
    ],
    "sampler": [
        (
            "search/sampling/methods.py",
            '            case "random" | "grid":',
            '            case "brute":\n'
            "                from optuna.samplers import BruteForceSampler\n\n"
            "                return BruteForceSampler(seed=seed)\n",
        ),
        (
            "search/study/samplers.py",
            '    "random": Method(learns=False, learns_limits=False),',
            '    "brute": Method(),\n',
        ),
    ],
    "backbone": [
        (
            "hybrid_models/config/shapes.py",
            '    "plain": _plain,',
            '    "cnn2": lambda _: (Block((8,)), Block((16,))),\n',
        ),
        ("hybrid_models/config/rules.py", '"resnet20", "yincnn", "plain")', '"cnn2", '),
    ],
    "data set": [
        (
            "search/data/stripes.py",
            "",
            '"""Eight by eight pixels, striped or not."""\n\n'
            "import numpy as np\n\n"
            "from search.data.listing import Listing, Part\n\n\n"
            "def scan_stripes(size):\n"
            "    pixels = np.zeros((80, 8, 8, 3), np.uint8)\n"
            "    pixels[::2, ::2] = 255\n"
            "    ids, labels = tuple(map(str, range(80))), np.arange(80) % 2\n"
            "    part = Part(ids=ids, labels=labels, read=lambda at: pixels[at])\n"
            '    return Listing(classes=("striped", "plain"), train=part, test=None)\n',
        ),
        (
            "search/data/datasets.py",
            "from search.data.tiny_imagenet import",
            "from search.data.stripes import scan_stripes\n",
        ),
        (
            "search/data/datasets.py",
            '    "cifar10": Source(',
            '    "stripes": Source(manifest=lambda *_: ["1"], scan=lambda *_: scan_stripes(None), on_disk=False),\n',
        ),
    ],
    "significance test": [
        (
            "search/significance/tests/sign.py",
            "",
            '"""The sign test: in how many blocks A scored higher."""\n\n'
            "from scipy import stats\n\n"
            "from search.significance.records import Interval, MeanTest\n\n\n"
            "def sign_test(diff, *, alpha=0.05):\n"
            "    p = stats.binomtest(int((diff > 0).sum()), int((diff != 0).sum())).pvalue\n"
            "    whole = Interval(low=float(diff.min()), high=float(diff.max()), level=1 - alpha)\n"
            '    return MeanTest(name="sign test", estimate=float(diff.mean()), interval=whole, p=p, se=0.0,\n'
            '        df=float("nan"), t=float("nan"), num_blocks=len(diff))\n',
        ),
        (
            "search/significance/methods.py",
            '    "wilcoxon": Method(',
            '    "sign": Method(title="sign test", min_blocks=5, estimand=THIS_DATA, why="Asked for.", limits="",\n'
            "        run=lambda pair, declared: sign_test(pair.per_block, alpha=declared.alpha)),\n",
        ),
        (
            "search/significance/methods.py",
            "@dataclass(frozen=True, kw_only=True)\nclass Method:",
            "from search.significance.tests.sign import sign_test\n\n",
        ),
        ("search/significance/declared.py", '    "wilcoxon",', '    "sign",\n'),
    ],
    "metric": [
        ("search/records.py", "    learning_rate: float\n", "    two_losses: float = 0.0\n"),
        (
            "search/training/loop.py",
            "        elapsed_secs=0.0,\n",
            "        two_losses=2 * sum(item[0] for item in trained),\n",
        ),
        ("search/tracking/run_values.py", '        "learning_rate",\n', '        "two_losses",\n'),
    ],
    "storage": [],
}
"""What CONTRIBUTING.md describes, as somebody would write it."""

STUDY = """
name: added
storage: {storage}
data: {{name: stripes}}
space:
  backbone: cnn2
  cnn_bn: true
  cnn_dropout: 0.0
  rnn: none
  pool_head: gap
  enc_on: false
  fc: "-"
  dropout: [0.0, 0.1, 0.2]
  lr: [1.0e-3, 1.0e-2]
train: {{epochs: 3, batch: 16}}
search: {{trials: 2, sampler: brute, scheduler: first}}
resources: {{runner: inline, cpus: 1}}
tracking: {{enabled: false}}
"""


def named_files(addition: str) -> set[str]:
    """The files that CONTRIBUTING.md names for an addition."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| a ") and addition in line.split("|")[1])
    return set(re.findall(r"`([\w/]+\.py)`", row.split("|")[2]))


def write(folder: Path, edits: list[Edit]) -> None:
    for file, anchor, added in edits:
        path = folder / file
        if not anchor:
            path.write_text(added, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count(anchor) == 1, f"{file}: {anchor!r} stands there {text.count(anchor)} times"
        path.write_text(text.replace(anchor, added + anchor), encoding="utf-8")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for package in ("search", "spaces", "hybrid_models"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for edits in ADDITIONS.values():
        write(folder, edits)
    return folder


def run(packages: Path, *command: str, state: Path | None = None) -> str:
    script = f"import sys; sys.path.insert(0, {str(packages)!r}); from search.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *command],
        cwd=packages.parent,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HYBRID_SEARCH_STATE": str(state or packages.parent / "state")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("addition", ADDITIONS)
def test_an_addition_changes_no_file_that_is_not_named(addition: str) -> None:
    named = {name.replace("NAME", "*") for name in named_files(addition)}
    changed = {file for file, _, _ in ADDITIONS[addition]}
    assert all(any(Path(file).match(name) for name in named) for file in changed), (changed, named)
    assert len(changed) <= 3


@pytest.mark.slow
def test_they_work_together(packages: Path, tmp_path: Path) -> None:
    study = tmp_path / "added.yaml"
    storage = tmp_path / "runs"
    study.write_text(STUDY.format(storage=f"file://{storage}"), encoding="utf-8")
    run(packages, "sweep", str(study), "--json", state=tmp_path / "state")
    (journal,) = (tmp_path / "state").rglob("journal.jsonl")
    assert (storage / "added").is_dir()
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    ends = [event["outcome"]["word"] for event in events if event["event"] == "end"]
    assert ends == ["stopped", "stopped"], "the scheduler stops each trial after its first epoch"
    epochs = [event for event in events if event["event"] == "epoch"]
    assert len(epochs) == 2
    assert all(epoch["metrics"]["two_losses"] > epoch["metrics"]["train_loss"] > 0 for epoch in epochs)


def test_the_significance_test_decides(packages: Path, tmp_path: Path) -> None:
    rows = [
        f"{name},{block},{start + block / slope:.4f}"
        for name, start, slope in (("a", 0.6, 100), ("b", 0.5, 210))
        for block in range(8)
    ]
    table = tmp_path / "scores.csv"
    table.write_text("\n".join(["config,block,score", *rows]), encoding="utf-8")
    found = json.loads(
        run(packages, "analyze", str(table), "--method", "sign", "--estimand", "this-data", "--all-pairs", "--json")
    )
    assert found["comparisons"][0]["test"] == "sign test"
    assert found["comparisons"][0]["p"] == pytest.approx(2 / 2**8)
