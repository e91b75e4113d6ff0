"""Speed of the analysis: ten configurations on 50,000 images, and the crossed test against a plain statsmodels loop.

Each measurement runs in a separate process on one core, which reads its input from a file and reports its peak memory.
Rounds alternate between our code and the peer, so that noise affects both equally.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from bench.report import machine, write_page

NUM_CONFIGS, NUM_BLOCKS, NUM_IMAGES = 10, 30, 50_000
NUM_PAIRS = NUM_CONFIGS * (NUM_CONFIGS - 1) // 2
PEER_SIZES = (100, 300, 1000)
"""Numbers of test images for which the peer fits into memory."""
ROUNDS = 3
MAX_SECS, MAX_GIB, MIN_RATIO = 20, 2, 50

START = """
import itertools, json, os, resource, sys, time
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
began = time.perf_counter()
import numpy as np

def done(**found):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(json.dumps({"secs": time.perf_counter() - began, "peak_gib": peak, **found}))
"""
READ = """
with np.load(sys.argv[1]) as stored:
    correct, names = stored["correct"], [str(name) for name in stored["configs"]]
pairs = list(itertools.combinations(range(len(names)), 2))[: int(sys.argv[2])]
"""
WHOLE = """
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.results import Results

blocks = tuple(str(block) for block in range(correct.shape[1]))
results = Results(
    configs=tuple(names),
    blocks=dict.fromkeys(names, blocks),
    correct={name: list(rows) for name, rows in zip(names, correct)},
)
start = time.perf_counter()
found = judge_results([results], [(names[a], names[b]) for a, b in pairs], Declared())
judged = time.perf_counter() - start
verdicts = [str(item.verdict) for item in found]
done(judge_secs=judged, p=[item.p for item in found], verdicts={word: verdicts.count(word) for word in set(verdicts)})
"""
COMMAND = """
import contextlib, io
sys.argv = ["hybrid-search", "analyze", sys.argv[1], "--all-pairs", "--json"]
from search.cli import main

text = io.StringIO()
with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    main()
verdicts = [item["verdict"] for item in json.loads(text.getvalue())["comparisons"]]
done(verdicts={word: verdicts.count(word) for word in set(verdicts)})
"""
OURS = """
from search.significance.tests.crossed import satterthwaite_test

start = time.perf_counter()
bits = correct.view(np.int8)
p = [satterthwaite_test(bits[a] - bits[b], variance="plain").p for a, b in pairs]
done(loop_secs=time.perf_counter() - start, p=p)
"""
PEER = """
import pandas as pd
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

def p_of(diff):
    num_blocks, num_images = diff.shape
    block, image = np.indices(diff.shape)
    table = pd.DataFrame({"d": diff.ravel().astype(float), "repeat": block.ravel(), "image": image.ravel()})
    squares = anova_lm(ols("d ~ C(repeat) + C(image)", table).fit())["mean_sq"]
    repeats, images, residual = (squares[name] for name in ("C(repeat)", "C(image)", "Residual"))
    both = repeats + images - residual
    df = both**2 / (
        repeats**2 / (num_blocks - 1)
        + images**2 / (num_images - 1)
        + residual**2 / ((num_blocks - 1) * (num_images - 1))
    )
    return 2 * stats.t.sf(abs(diff.mean()) / (both / diff.size) ** 0.5, df)

start = time.perf_counter()
p = [p_of(correct[a].astype(int) - correct[b]) for a, b in pairs]
done(loop_secs=time.perf_counter() - start, p=p)
"""


def simulate(num_images: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Simulate correctness of ten configurations 0.25 percentage points apart, shape (configs, blocks, images)."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(1, 1.5, num_images).astype(np.float32)
    correct = np.empty((NUM_CONFIGS, NUM_BLOCKS, num_images), dtype=np.uint8)
    for config in range(NUM_CONFIGS):
        taste = rng.normal(0.01 * config, 0.3, num_images).astype(np.float32)
        for block in range(NUM_BLOCKS):
            noise = rng.standard_normal(num_images, dtype=np.float32)
            correct[config, block] = hardness + taste + rng.normal(0, 0.02) + 0.7 * noise > 0
    return correct


def store(folder: Path, num_images: int) -> Path:
    """Write simulated results to a file that `hybrid-search analyze` reads."""
    path = folder / f"{num_images}.npz"
    np.savez_compressed(
        path,
        correct=simulate(num_images),
        configs=np.array([f"config-{place}" for place in range(NUM_CONFIGS)]),
        blocks=np.array([str(block) for block in range(NUM_BLOCKS)]),
    )
    return path


def measure(script: str, path: Path, num_pairs: int) -> dict[str, Any]:
    """Run one script on one file in a separate process."""
    reading = "" if script is COMMAND else READ
    command = [sys.executable, "-c", START + reading + script, str(path), str(num_pairs)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **threads})
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def beside_peer(path: Path, num_pairs: int) -> dict[str, float]:
    """Measure seconds per pair and peak memory of our code and the peer, and check that their p-values are equal."""
    ours, peer = [], []
    for _ in range(ROUNDS):
        peer.append(measure(PEER, path, num_pairs))
        ours.append(measure(OURS, path, num_pairs))
    np.testing.assert_allclose(ours[0]["p"], peer[0]["p"], rtol=1e-6)
    whole = measure(WHOLE, path, NUM_PAIRS)
    return {
        "ours": statistics.median(item["loop_secs"] for item in ours) / num_pairs,
        "peer": statistics.median(item["loop_secs"] for item in peer) / num_pairs,
        "ratio": statistics.median(b["loop_secs"] / a["loop_secs"] for a, b in zip(ours, peer, strict=True)),
        "whole": whole["judge_secs"] / NUM_PAIRS,
        "ours_gib": max(item["peak_gib"] for item in ours),
        "peer_gib": max(item["peak_gib"] for item in peer),
    }


def to_page(
    command: list[dict[str, Any]],
    whole: list[dict[str, Any]],
    bare: dict[str, Any],
    small: Mapping[int, Mapping[str, float]],
) -> str:
    """Return the page as Markdown."""
    rows = "\n".join(
        f"| {NUM_BLOCKS} x {size:,} | {1000 * row['ours']:.2f} ms | {row['peer']:.2f} s | {row['ratio']:,.0f} "
        f"| {1000 * row['whole']:.0f} ms | {row['ours_gib']:.2f} GiB | {row['peer_gib']:.2f} GiB |"
        for size, row in small.items()
    )
    (low, first), (high, last) = min(small.items()), max(small.items())
    growth = {side: np.log(last[side] / first[side]) / np.log(high / low) for side in ("ours", "peer")}
    dummies = 8 * NUM_BLOCKS * NUM_IMAGES * (NUM_BLOCKS + NUM_IMAGES) / 2**30
    lines = [
        _line("`analyze FILE --all-pairs --json`, whole process", command, "secs", f"{MAX_SECS} s", "s"),
        _line("its peak memory", command, "peak_gib", f"{MAX_GIB} GiB", "GiB"),
        _line("the judgement alone, everything in memory", whole, "judge_secs", "", "s"),
        f"| the crossed test alone | {bare['loop_secs']:.2f} s | | |",
    ]
    summary = fill(
        f"**Lowest ratio {min(row['ratio'] for row in small.values()):,.0f}; at least {MIN_RATIO} was wanted.** From "
        f"{low} to {high:,} images the peer's time grows with the power {growth['peer']:.1f} of the number of images, "
        f"ours with {growth['ours']:.1f}. At {NUM_IMAGES:,} images the peer cannot run: its dummy columns alone would "
        f"take {dummies:,.0f} GiB.",
        120,
    )
    return f"""# What the analysis costs

## {NUM_CONFIGS} configurations, {NUM_BLOCKS} blocks, {NUM_IMAGES:,} images

Simulated correctness in a compressed `.npz`, all {NUM_PAIRS} pairs judged as one family: crossed test, Holm, intervals,
effects, rope, planning, the Multi-Bootstrap beside each, sentences. One core, a process of its own each time.

| | median of {len(command)} | smallest to largest | bound |
|---|---|---|---|
{chr(10).join(lines)}

Verdicts: {", ".join(f"{count} {word}" for word, count in sorted(command[0]["verdicts"].items()))}.

## Against a plain statsmodels loop

The peer: `anova_lm(ols("d ~ C(repeat) + C(image)", table).fit())` for each pair, and the same variance and degrees of
freedom from its mean squares. Same files, same pairs, p-values equal to six digits; {ROUNDS} alternating rounds,
medians per pair, imports and reading left out. "Whole analysis" is ours with everything that a comparison reports, per
pair of a family of {NUM_PAIRS}: most of it is the search for how many repeats the rope would take.

| blocks x images | ours, same test | statsmodels | ratio | ours, whole analysis | peak, ours | peak, statsmodels |
|---|---|---|---|---|---|---|
{rows}

{summary}

{machine()}
"""


def _line(what: str, found: list[dict[str, Any]], key: str, bound: str, unit: str) -> str:
    digits = 2 if unit == "GiB" else 1
    middle = statistics.median(item[key] for item in found)
    return f"| {what} | {middle:.{digits}f} {unit} | {_span(found, key, digits)} | {bound} |"


def _span(found: list[dict[str, Any]], key: str, digits: int = 1) -> str:
    values = [item[key] for item in found]
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def main() -> None:
    """Measure and write bench/analysis_speed.md."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = store(folder, NUM_IMAGES)
        command = [measure(COMMAND, path, NUM_PAIRS) for _ in range(ROUNDS)]
        whole = [measure(WHOLE, path, NUM_PAIRS) for _ in range(ROUNDS)]
        bare = measure(OURS, path, NUM_PAIRS)
        small = {size: beside_peer(store(folder, size), 3 if size < 1000 else 1) for size in PEER_SIZES}
    write_page("analysis_speed.md", to_page(command, whole, bare, small))


if __name__ == "__main__":
    main()
