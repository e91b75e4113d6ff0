"""Memory of the decoded data: mapped and shared, against a copy in each process.

Each worker reads every training image once per epoch, for two epochs. Linux only (`/proc/self/smaps_rollup`).
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench.report import machine, write_page

MODES = ("imports", "mapped", "copied", "dataset")
LABELS = {
    "mapped": "ours: mapped, shared by all",
    "copied": "a copy in each process",
    "dataset": "decoded by each process, as a plain script does",
}


def memory_mib() -> dict[str, float]:
    """Return the resident, proportional and private memory of this process, MiB."""
    fields: dict[str, int] = {}
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0])
    private = fields["Private_Clean"] + fields["Private_Dirty"]
    return {"rss": fields["Rss"] / 1024, "pss": fields["Pss"] / 1024, "private": private / 1024}


def worker(mode: str, root: str, cache: str, ready: Barrier, results: multiprocessing.Queue[dict[str, float]]) -> None:
    """Read the whole training part, and report memory while all other workers still hold theirs."""
    import numpy as np
    import torch

    from search.data.batches import TrainBatches
    from search.data.datasets import DataConfig, scan
    from search.data.store import ImageSet, open_data

    torch.set_num_threads(1)
    config = DataConfig(name="cifar10", root=root)
    start = time.perf_counter()
    images = open_data(config, Path(cache)).train
    if mode == "dataset":
        part = scan(config).train
        pixels = np.stack([part.read(position) for position in range(len(part.labels))])
        images = ImageSet(pixels=pixels, labels=part.labels, ids=images.ids, ids_digest="")
    elif mode == "copied":
        images = ImageSet(pixels=np.array(images.pixels), labels=images.labels, ids=images.ids, ids_digest="")
    open_secs = time.perf_counter() - start
    start = time.perf_counter()
    if mode != "imports":
        batches = TrainBatches(images, np.arange(len(images.labels)), 128, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        total = sum(int(pixels[0, 0, 0, 0]) for _ in range(2) for pixels, _ in batches.epoch(generator))
        assert total > 0
    epoch_secs = (time.perf_counter() - start) / 2
    ready.wait()
    results.put({**memory_mib(), "open_secs": open_secs, "epoch_secs": epoch_secs})
    ready.wait()


def measure(mode: str, num_processes: int, root: str, cache: str) -> dict[str, float]:
    """Run the workers; return memory summed over processes, MiB, and mean seconds."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(num_processes)
    results: multiprocessing.Queue[dict[str, float]] = context.Queue()
    processes = [context.Process(target=worker, args=(mode, root, cache, ready, results)) for _ in range(num_processes)]
    for process in processes:
        process.start()
    rows = [results.get() for _ in processes]
    for process in processes:
        process.join()
    totals = {name: sum(row[name] for row in rows) for name in ("rss", "pss", "private")}
    return totals | {name: sum(row[name] for row in rows) / num_processes for name in ("open_secs", "epoch_secs")}


def main() -> None:
    """Measure and write bench/data_memory.md; HYBRID_SEARCH_TEST_DATA must name the folder of CIFAR-10 images."""
    root = os.environ.get("HYBRID_SEARCH_TEST_DATA")
    if root is None:
        print("data_memory: set HYBRID_SEARCH_TEST_DATA to the folder that holds cifar10/; skipped")
        return
    with tempfile.TemporaryDirectory() as cache:
        # Decode in a separate process, so that the first worker does not differ from the others.
        script = (
            "import sys; from pathlib import Path; from search.data.datasets import DataConfig;"
            "from search.data.store import open_data;"
            "open_data(DataConfig(name='cifar10', root=sys.argv[1]), Path(sys.argv[2]))"
        )
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script, root, cache], check=True)
        decode_secs = time.perf_counter() - start
        found = {(mode, n): measure(mode, n, root, cache) for mode in MODES for n in (1, 4)}
    base = {n: found["imports", n] for n in (1, 4)}
    rows = [
        f"| {LABELS[mode]} | {found[mode, 1]['pss'] - base[1]['pss']:.0f} "
        f"| {found[mode, 4]['pss'] - base[4]['pss']:.0f} | {found[mode, 4]['private'] - base[4]['private']:.0f} |"
        for mode in MODES[1:]
    ]
    write_page(
        "data_memory.md",
        f"""# Memory of the decoded data

Every worker reads all 50,000 CIFAR-10 training images (147 MiB decoded) twice. MiB above a process that only imports
({base[1]["pss"]:.0f} MiB each); PSS counts shared pages once, private pages belong to one process alone. Decoding all
60,000 JPEGs, once per node: {decode_secs:.0f} s, imports included.

{machine()}

| data | PSS, 1 process | PSS, 4 processes | private, 4 processes |
|---|---|---|---|
{chr(10).join(rows)}
""",
    )


if __name__ == "__main__":
    main()
