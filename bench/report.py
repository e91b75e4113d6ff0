"""Writes the result pages, and describes the machine on which they were measured."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from search.journal.versions import versions


def machine() -> str:
    """Return one paragraph on the machine and the software."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*:\s*(.+)", info)
    flags = "with" if "avx512_bf16" in info else "without"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"Machine: {os.cpu_count()} cores of {model.group(1) if model else platform.processor()} ({flags} bf16 in "
        f"hardware), {memory:.0f} GiB, no GPU, shared and noisy: read the ratios. {software}."
    )


def write_page(name: str, text: str) -> None:
    """Write a page to the folder of this module."""
    (Path(__file__).parent / name).write_text(text, encoding="utf-8")
    print(f"bench/{name} written")
