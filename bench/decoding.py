"""Decoding speed: Tiny ImageNet's folder through the store, against a plain Pillow loop; then reopening the cache.

Each round is a separate process that times one of them; rounds alternate, so that noise affects all equally. CPU time
(user and system) is compared, because wall time on a shared machine depends on other processes. Linux only.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from bench.report import machine, write_page

ROUNDS = 9
SCRIPT = """
import json, os, sys, tempfile
from pathlib import Path
import numpy as np
from PIL import Image
from search.data.datasets import DataConfig, scan
from search.data.store import open_data

mode, root, num_cores = sys.argv[1], sys.argv[2], int(sys.argv[3])
cores = sorted(os.sched_getaffinity(0))[:num_cores]
os.sched_setaffinity(0, cores)
config = DataConfig(name="tiny-imagenet", root=root)
dataset = scan(config)
ids = dataset.train.ids + dataset.test.ids
place = Path(root) / "tiny-imagenet-200" if (Path(root) / "tiny-imagenet-200").is_dir() else Path(root)
paths = [place / name for name in ids]

def bare(paths):
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))

def cpu_secs():
    return sum(os.times()[:4])  # of this process, its threads and the children it waited for

seconds = {}
if mode == "bare":
    children = []
    start = cpu_secs()
    for core in cores[1:]:
        pid = os.fork()
        if pid == 0:
            os.sched_setaffinity(0, {core})
            bare(paths[cores.index(core)::num_cores])
            os._exit(0)
        children.append(pid)
    bare(paths[::num_cores])
    for pid in children:
        os.waitpid(pid, 0)
    seconds["decode"] = cpu_secs() - start
else:
    with tempfile.TemporaryDirectory() as cache:
        for what in ("decode", "again"):
            start = cpu_secs()
            data = open_data(config, Path(cache))
            seconds[what] = cpu_secs() - start
print(json.dumps({"num": len(paths), **seconds}))
"""


def measure(mode: str, root: str, num_cores: int) -> dict[str, float]:
    """Run one round; return seconds and the number of images."""
    command = [sys.executable, "-c", SCRIPT, mode, root, str(num_cores)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Measure and write bench/decoding.md; HYBRID_SEARCH_TEST_DATA must name the folder of the images."""
    root = os.environ.get("HYBRID_SEARCH_TEST_DATA")
    if root is None:
        print("decoding: set HYBRID_SEARCH_TEST_DATA to the folder that holds tiny-imagenet-200/; skipped")
        return
    num_cores = len(os.sched_getaffinity(0))
    rows, agains = [], []
    num = 0
    for cores in sorted({1, num_cores}):
        ours, bare = [], []
        for _ in range(ROUNDS):
            bare.append(measure("bare", root, cores))
            ours.append(measure("ours", root, cores))
        num = int(ours[0]["num"])
        rates = [[num / item["decode"] for item in found] for found in (ours, bare)]
        ratios = sorted(one / two for one, two in zip(*rates, strict=True))
        middle = [statistics.median(rate) for rate in rates]
        rows.append(
            f"| {cores} | {middle[0]:,.0f} | {middle[1]:,.0f} | {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )
        agains += [item["again"] for item in ours]
    write_page(
        "decoding.md",
        f"""# Decoding, once per node

{num:,} JPEGs of 64x64 in Tiny ImageNet's layout. Ours: `open_data` on an empty cache, from looking through the folder
to the entry written and its digest known. Bare: `np.asarray(Image.open(path).convert("RGB"))` in a loop, one process
per core, nothing looked for, kept or written. Medians of {ROUNDS} alternating rounds, files in the page cache.

{machine()}

| cores | ours, images per CPU second | bare Pillow, images per CPU second | ratio (smallest to largest) |
|---|---|---|---|
{chr(10).join(rows)}

Opened again, by any process of the node: {statistics.median(agains):.2f} CPU seconds, in which the folder is looked
through and nothing is decoded. `tests/search/data/test_store.py` opens one set in four processes at once: one decodes,
three wait.
""",
    )


if __name__ == "__main__":
    main()
