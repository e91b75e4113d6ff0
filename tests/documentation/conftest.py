"""The runner is modules in this folder, run as a program too: put the folder on the path for its tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
