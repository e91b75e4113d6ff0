"""Training speed and peak memory of every preset, against the same model in plain PyTorch.

Both train in float32 with batches of 128 and Adam: ours as the training loop does (channels-last memory, `objective`),
the peer (`bench/peers/plain_models.py`) as tutorials do. Steps alternate, and the median ratio of paired steps is
reported. Select presets by prefixes of their names: `python -m bench.models yin/ yilmaz/cnn`.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bench.peers import plain_models
from bench.report import machine, write_page
from hybrid_models.build import build
from hybrid_models.config.model import ModelConfig
from hybrid_models.counting import torch_trainable
from hybrid_models.objective import objective
from search.commands.models import INPUT
from search.training.memory import keep_freed_memory
from spaces.presets import load_preset, preset_names

BATCH = 128
MIN_PAIRS, MIN_SECS = 3, 6.0
BOUND = 0.95

Step = Callable[[], None]


def make_step(name: str, side: str, device: str) -> Step:
    """Return a function that runs one training step of a preset; `side` is `ours` or `plain`."""
    images = torch.randn(BATCH, 3, 32, 32, device=device)
    labels = torch.randint(10, (BATCH,), device=device)
    if side == "ours":
        config = ModelConfig.from_dict({**load_preset(name), **INPUT})
        model: Any = build(config, torch.Generator().manual_seed(0)).to(device, memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    else:
        model = plain_models.make(name).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)

    def step() -> None:
        loss = objective(model, images, labels)[0] if side == "ours" else plain_models.loss(model, images, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step.num_parameters = torch_trainable(model)  # type: ignore[attr-defined]
    return step


def time_pairs(name: str, device: str) -> dict[str, float]:
    """Time alternating steps; return seconds of both sides, and the median over pairs of plain / ours."""
    steps = {side: make_step(name, side, device) for side in ("ours", "plain")}
    assert len({step.num_parameters for step in steps.values()}) == 1, name  # type: ignore[attr-defined]
    secs: dict[str, list[float]] = {side: [] for side in steps}
    started = time.perf_counter()
    while len(secs["ours"]) <= MIN_PAIRS or time.perf_counter() - started < MIN_SECS:
        # Alternate the order, because the second step of a pair finds a warm cache.
        for side in sorted(steps, reverse=len(secs["ours"]) % 2 == 1):
            secs[side].append(_timed(steps[side], device))
    pairs = list(zip(secs["ours"], secs["plain"], strict=True))[1:]  # the first pair is a warm-up
    return {
        "ours_secs": statistics.median(ours for ours, _ in pairs),
        "plain_secs": statistics.median(plain for _, plain in pairs),
        "ratio": statistics.median(plain / ours for ours, plain in pairs),
    }


def _timed(step: Step, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_memory(name: str, side: str, device: str) -> float:
    """Return the peak memory, MiB, that two training steps add to a process without a model."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step = make_step(name, side, device)
        step(), step()
        return torch.cuda.max_memory_allocated() / 2**20
    before = _resident("VmRSS")
    step = make_step(name, side, device)
    step(), step()
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found.group(1)) / 1024


def run_apart(job: Callable[..., Any], *args: str) -> Any:
    """Run a job in a separate process; on a CPU, in one that has imported torch already."""
    context = multiprocessing.get_context("spawn" if "cuda" in args else "fork")
    with ProcessPoolExecutor(1, mp_context=context, initializer=keep_freed_memory) as pool:
        return pool.submit(job, *args).result()


def measure(name: str, device: str) -> dict[str, Any]:
    """Measure both sides of one preset."""
    row = {"name": name, **run_apart(time_pairs, name, device)}
    for side in ("ours", "plain"):
        row[f"{side}_mib"] = run_apart(peak_memory, name, side, device)
    print(to_row(row), flush=True)
    return row


def to_row(row: dict[str, Any]) -> str:
    """Return a row of the table as Markdown."""
    pace = [BATCH / row[f"{side}_secs"] for side in ("ours", "plain")]
    return (
        f"| {row['name']} | {pace[0]:,.0f} | {pace[1]:,.0f} | {row['ratio']:.2f} "
        f"| {row['ours_mib']:,.0f} | {row['plain_mib']:,.0f} |"
    )


def to_section(rows: list[dict[str, Any]], title: str) -> str:
    """Return a table and its summary as Markdown."""
    ratios = [row["ratio"] for row in rows]
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    slow = [f"{row['name']} ({row['ratio']:.2f})" for row in rows if row["ratio"] < BOUND]
    table = "\n".join(map(to_row, rows))
    return f"""## {title}

| preset | ours, images/s | plain, images/s | ratio | ours, MiB | plain, MiB |
|---|---|---|---|---|---|
{table}

**Lowest ratio {min(ratios):.2f}, geometric mean {mean:.2f}.** Below {BOUND}: {", ".join(slow) or "none"}.
"""


def main(prefixes: tuple[str, ...] = ()) -> None:
    """Measure, and write bench/models.md unless only some presets were selected."""
    torch.set_num_threads(1)
    names = [name for name in preset_names() if name.startswith(prefixes or "")]
    sections = [to_section([measure(name, "cpu") for name in names], "One CPU thread")]
    if torch.cuda.device_count():
        sections.append(to_section([measure(name, "cuda") for name in names], "GPU"))
    if prefixes:
        print(*sections, sep="\n")
        return
    write_page(
        "models.md",
        f"""# Training steps of every preset, against the same model written plainly

Float32, batch {BATCH}, 32x32x3, Adam; forward, backward and update. Ours as the training loop runs it (channels-last
memory), the peer with torch's own layers in default memory (`bench/peers/plain_models.py`), equal in parameters. Steps
alternate; the ratio is the median over at least {MIN_PAIRS} pairs of plain seconds by ours: above 1 ours is faster.
Memory is what two steps add at their peak to a process without a model.

{machine()}

{chr(10).join(sections)}""",
    )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
