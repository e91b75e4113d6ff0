"""Draw docs/pictures/verdict.png, the forest plot of the demo: `python docs/draw_verdict.py`, some minutes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURE = Path(__file__).with_name("pictures") / "verdict.png"

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "search.cli", "demo", "--set", f"storage={folder}"], check=True)
        shutil.copy(Path(folder) / "demo" / "comparison" / "forest.png", PICTURE)
