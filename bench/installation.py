"""Size and time of the environments that `make` makes, with a warm package cache.

`python -m bench.installation [--before FOLDER] [--torch VERSION]` installs each of them twice in a temporary folder,
with uv if it is on the PATH, else with pip, and measures the second time. FOLDER is the repository before `make demo`
and `make test` installed different packages. VERSION is one of torch's builds without CUDA that the package index or
`PIP_FIND_LINKS` has, for example `2.15.0+cpu`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.report import machine, write_page
from bench.tables import table

ROOT = Path(__file__).parents[1]


def install(folder: Path, stamp: str, lock: Path) -> tuple[float, float, int]:
    """Make an environment twice.

    Args:
        folder: A repository.
        stamp: The file that its Makefile touches when the environment is complete.
        lock: Versions to install.

    Returns:
        Size in GB, seconds of the second time, and number of distributions.
    """
    secs = 0.0
    with tempfile.TemporaryDirectory() as name:
        venv = Path(name, "venv")
        for _ in range(2):
            shutil.rmtree(venv, ignore_errors=True)
            start = time.perf_counter()
            command = ["make", "--silent", f"VENV={venv}", f"LOCK={lock}", f"{venv}/{stamp}"]
            subprocess.run(command, cwd=folder, check=True)
            secs = time.perf_counter() - start
        size = sum(path.lstat().st_size for path in venv.rglob("*"))
        return size / 1e9, secs, len(list(venv.glob("lib/python*/site-packages/*.dist-info")))


def without_cuda(lock: Path, torch: str, folder: Path) -> Path:
    """Write a lock with another torch, and without what is there for torch's build with CUDA.

    Args:
        lock: The lock to copy.
        torch: Version of torch.
        folder: Folder of the copy.
    """
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not re.match(r"torch(vision)?==", line)]
    copy = folder / "without-cuda.lock"
    copy.write_text("\n".join([*lines, f"torch=={torch}", ""]), encoding="utf-8")
    return copy


def main() -> None:
    """Measure, and write `installation.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="an earlier repository")
    parser.add_argument("--torch", help="a version of torch without CUDA")
    arguments = parser.parse_args()
    lock = ROOT / "requirements.lock"
    found = {}
    if arguments.before:
        folder = arguments.before.resolve()
        found["`make demo` and `make test`, before"] = install(folder, ".installed", folder / "requirements.lock")
    found["`make demo`"] = install(ROOT, ".installed", lock)
    if arguments.torch:
        with tempfile.TemporaryDirectory() as name:
            other = without_cuda(lock, arguments.torch, Path(name))
            found[f"`make demo`, torch {arguments.torch}"] = install(ROOT, ".installed", other)
    found["`make test`"] = install(ROOT, ".installed-dev", lock)
    base_size, base_secs, _ = next(iter(found.values()))
    rows = [
        (name, f"{size:.2f} GB", f"{size / base_size:.2f}", f"{secs:.0f} s", f"{secs / base_secs:.2f}", str(number))
        for name, (size, secs, number) in found.items()
    ]
    installer = "uv" if shutil.which("uv") else "pip"
    write_page(
        "installation.md",
        f"""# Size and time of an installation

What `make` puts into an empty `.venv` with {installer}, the second time, so that every package is in the cache. To
measure again: `python -m bench.installation`, whose first lines describe its options.

{table(("environment", "size", "ratio", "time", "ratio", "distributions"), rows)}

{machine()}
""",
    )


if __name__ == "__main__":
    main()
