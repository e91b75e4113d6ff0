"""Training epochs per second of the digits ECRNN sweep, against a plain Ray Tune script, in alternating rounds."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import machine, write_page
from search.journal.journal import Journal
from search.study.bind import load_facts
from search.study.config import StudyConfig
from search.study.load import load_study
from search.sweep.proposals import make_sampler

NUM_TRIALS, NUM_EPOCHS = 32, 3
ROUNDS = 3
STUDY = f"""
name: throughput
data: {{name: digits}}
space: ecrnn
fix: {{lr: 0.001}}
train: {{epochs: {NUM_EPOCHS}, batch: 32}}
search: {{trials: {NUM_TRIALS}, sampler: random, scheduler: asha, grace_epochs: {NUM_EPOCHS}}}
"""


def measure_ours(study: StudyConfig, storage: str) -> dict[str, float]:
    """Run our sweep in a separate process; return the seconds from joining the cluster to the last trial."""
    script = (
        "import sys, time, json\n"
        "from pathlib import Path\n"
        "from search.sweep.run import run_sweep\n"
        "from search.runners.ray_cluster import Cluster\n"
        "from search.study.load import load_study\n"
        "study = load_study(Path(sys.argv[1]), [f'storage={sys.argv[2]}'])\n"
        "inner, marks = Cluster.check_request, []\n"
        "Cluster.check_request = lambda there: (inner(there), marks.append(time.perf_counter()))[0]\n"
        "start = time.perf_counter()\n"
        "status = run_sweep(study)\n"
        "end = time.perf_counter()\n"
        "found = {'epochs': status.num_epochs, 'start_secs': marks[0] - start, 'sweep_secs': end - marks[0]}\n"
        "print(json.dumps(found))\n"
    )
    return _last_line([sys.executable, "-c", script, str(study), storage])


def _last_line(command: list[str]) -> dict[str, float]:
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    found["process_secs"] = time.perf_counter() - started
    return found


def draw_points(study_path: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the points that our sweep will draw from this study, as the sampler is deterministic."""
    study = load_study(study_path, [f"storage={folder / 'drawn'}"])
    study.folder.mkdir(parents=True)
    points = []
    with Journal(study.folder) as journal:
        sampler = make_sampler(study, load_facts(study), journal)
        for _ in range(NUM_TRIALS):
            asked = sampler.ask()
            assert asked is not None
            points.append(dict(asked[1]))
    return points


def main() -> None:
    """Measure and write bench/throughput.md."""
    rows, ratios, process_ratios = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        study = folder / "study.yaml"
        study.write_text(STUDY, encoding="utf-8")
        points = folder / "points.json"
        points.write_text(json.dumps(draw_points(study, folder / "draw")), encoding="utf-8")
        for index in range(ROUNDS):
            ours = measure_ours(study, str(folder / f"ours-{index}"))
            peer = _last_line(
                [
                    sys.executable,
                    "-m",
                    "bench.peers.ray_tune_script",
                    str(study),
                    str(points),
                    str(folder / f"p{index}"),
                ]
            )
            assert ours["epochs"] == peer["epochs"], (ours, peer)
            pace = {name: run["epochs"] / run["sweep_secs"] for name, run in (("ours", ours), ("peer", peer))}
            ratios.append(pace["ours"] / pace["peer"])
            process_ratios.append(peer["process_secs"] / ours["process_secs"])
            rows.append(
                f"| {index + 1} | {int(ours['epochs'])} | {pace['ours']:.2f} | {pace['peer']:.2f} | {ratios[-1]:.2f} | "
                f"{process_ratios[-1]:.2f} |"
            )
            print(rows[-1], flush=True)
    write_page(
        "throughput.md",
        f"""# Training epochs per second, against a plain Ray Tune script

The digits ECRNN sweep: {NUM_TRIALS} points drawn by our sampler, {NUM_EPOCHS} epochs each, none
stopped early, two trials at a time, one core each.
The peer (`bench/peers/ray_tune_script.py`: function trainable, OptunaSearch, ASHA, MLflowLoggerCallback, DataLoader)
trains the same models at the same points on the same split with the same batches. Seconds run from the joined Ray
cluster to the end of the sweep, MLflow included; "whole process" is from start to exit.

{machine()}

| round | epochs | ours, epochs/s | peer, epochs/s | ratio | ratio, whole process |
|---|---|---|---|---|---|
{chr(10).join(rows)}

**Median ratio: {statistics.median(ratios):.2f}** (whole process {statistics.median(process_ratios):.2f}).

The fewer trials and the longer each trains, the more of both is the same arithmetic: the
ratio falls as trials get longer.
""",
    )


if __name__ == "__main__":
    main()
