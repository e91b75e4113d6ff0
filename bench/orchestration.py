"""Overhead per trial: 200 one-epoch trials of a trivial model, with MLflow."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import machine, write_page
from search.journal.reading import read_events, read_records

NUM_TRIALS = 200
ROUNDS = 3
STUDY = f"""
name: trivial
data: {{name: digits, limit: 64}}
space:
  backbone: cnn4
  cnn_bn: false
  cnn_dropout: 0.0
  enc_on: false
  rnn: none
  pool_head: flatten
  fc: "-"
  dropout: 0.0
  lr: {{float: [1.0e-4, 1.0e-2], log: true}}
train: {{epochs: 1, batch: 32}}
search: {{trials: {NUM_TRIALS}, sampler: tpe, scheduler: none}}
resources: {{concurrency: 2}}
"""


def main() -> None:
    """Measure and write bench/orchestration.md."""
    rows, costs, whole = [], [], []
    for index in range(ROUNDS):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
            start = time.perf_counter()
            command = [sys.executable, "-m", "search.cli", "sweep", str(folder / "study.yaml")]
            subprocess.run([*command, "--set", f"storage={folder}"], check=True, capture_output=True)
            process_secs = time.perf_counter() - start
            records = list(read_records(folder / "trivial").values())
            events = list(read_events(folder / "trivial" / "journal.jsonl"))
        ends = [event["at"] for event in events if event["event"] == "end"]
        assert len(ends) == NUM_TRIALS
        # Two trials run in parallel, so that wall time is half the training time.
        training = sum(record.elapsed_secs for record in records) / 2
        # Measured from the end of the first trial, to exclude the start of the workers.
        per_trial = (ends[-1] - ends[0] - training * (NUM_TRIALS - 1) / NUM_TRIALS) / (NUM_TRIALS - 1)
        total = (process_secs - training) / NUM_TRIALS
        costs.append(per_trial)
        whole.append(total)
        rows.append(f"| {index + 1} | {training:.1f} | {ends[-1] - ends[0]:.1f} | {per_trial:.3f} | {total:.3f} |")
        print(rows[-1], flush=True)
    write_page(
        "orchestration.md",
        f"""# What a trial costs beyond its training

{NUM_TRIALS} one-epoch trials of a trivial model (a CNN on 64 digits), TPE, two at a time, MLflow on SQLite. "Per trial"
is the wall time from the first trial's end to the last one's, less the training, per trial; "whole command" spreads
everything over the trials: imports, starting Ray and its workers, MLflow's own rest at the end.

{machine()}

| round | training, s of wall | sweep, s | per trial, s | whole command, s per trial |
|---|---|---|---|---|
{chr(10).join(rows)}

**Median: {statistics.median(costs):.3f} s per trial beyond training; {statistics.median(whole):.3f} s with the whole
command** (imports, Ray, workers, MLflow's rest) spread over the {NUM_TRIALS} trials.
""",
    )


if __name__ == "__main__":
    main()
