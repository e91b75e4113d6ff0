"""What all episodes share: folders, servers that start when they are first asked for, one reference run per study."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import processes
import yaml
from servers import PATIENCE, MLflowServer, Postgres, can_mount, find_postgres
from studies import BODIES, NUM_TRIALS, Flavour, make_images

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).parent / "hook"


class World:
    """One folder of everything, gone in the end unless it shall be kept.

    Args:
        folder: Where; a short path, as sockets lie below it. None: a new folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hf-")) if folder is None else folder
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.mark = self.folder.name
        self._guard = threading.RLock()
        self.alone = threading.Lock()
        """Held by whoever hurts a shared server."""

    def env(self, mark: str) -> dict[str, str]:
        """Environment of a process that belongs to an episode, or to all (`shared`)."""
        return {
            **os.environ,
            processes.MARK: f"{self.mark}/{mark}",
            "PYTHONPATH": os.pathsep.join([str(HOOK), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "HYBRID_SEARCH_CACHE": str(self.folder / "cache"),
            # Sums of floats depend on the number of threads.
            "OMP_NUM_THREADS": "1",
            # Ray's workers rename themselves, and would wipe their mark out.
            "SPT_NOENV": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "COLUMNS": "200",
        }

    def why_not(self, flavour: Flavour) -> str | None:
        """Why episodes of a flavour cannot be run by this user on this machine."""
        if flavour.database and find_postgres() is None:
            return "PostgreSQL is not installed"
        if flavour.database and not _has_psycopg():
            return "psycopg2 is not installed"
        if (flavour.disk or flavour.tracking == "disk") and not self._can_mount:
            return "mounting a small disk needs root"
        return None

    @functools.cached_property
    def _can_mount(self) -> bool:
        return can_mount(self.folder / "mount")

    @functools.cached_property
    def _server(self) -> MLflowServer:
        return MLflowServer(self.folder / "mlflow", self.env("shared"))

    @functools.cached_property
    def _postgres(self) -> Postgres:
        return Postgres(self.folder / "postgres", self.env("shared"))

    @property
    def server(self) -> MLflowServer:
        """The MLflow server for all."""
        with self._guard:
            return self._server

    @property
    def postgres(self) -> Postgres:
        """The PostgreSQL server for all."""
        with self._guard:
            return self._postgres

    @functools.cached_property
    def _empty_database(self) -> Path:
        from search.tracking.mlflow_client import connect, default_uri

        folder = self.folder / "empty"
        connect(default_uri(folder)).search_experiments()
        return folder / "mlflow.db"

    def give_database(self, folder: Path) -> None:
        """Put an MLflow database with tables and nothing in them into a folder; making one takes seconds."""
        with self._guard:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._empty_database, folder / "mlflow.db")

    def images(self) -> Path:
        """The folder of images for all; copy it before it is hurt."""
        with self._guard:
            root = self.folder / "images"
            if not root.exists():
                make_images(root)
            return root

    def reference(self, body: str) -> Path:
        """Folder of the undisturbed sweep of a study: every trial to its last epoch, all weights kept."""
        with self._guard:
            storage = self.folder / "reference"
            if not (storage / body / "journal.jsonl").exists():
                study = self.study(body, name=body, storage=storage)
                study["search"]["scheduler"] = "none"
                study |= {
                    "resources": {"runner": "inline"},
                    "tracking": {"enabled": False},
                    "compare": {"finalists": NUM_TRIALS},
                }
                run_quietly(study, storage / f"{body}.yaml", self.env("shared"))
            return storage / body

    def study(self, body: str, *, name: str, storage: Path) -> dict[str, Any]:
        """Content of a study file."""
        study: dict[str, Any] = copy.deepcopy(BODIES[body])
        if body == "images":
            study["data"]["root"] = str(self.images())
        return {"name": name, "storage": str(storage), **study}

    def close(self, *, keep: bool) -> None:
        """End every process; let the folder go unless somebody wants to look."""
        processes.end(f"{self.mark}/")
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def run_quietly(study: Mapping[str, Any], file: Path, env: Mapping[str, str]) -> None:
    """Run a sweep to its end, undisturbed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(dict(study), sort_keys=False))
    command = [sys.executable, "-m", "search.cli", "sweep", str(file)]
    done = subprocess.run(
        command, env=dict(env), cwd=ROOT, check=False, capture_output=True, text=True, timeout=300 * PATIENCE
    )
    if done.returncode:
        raise RuntimeError(f"the undisturbed sweep of {file} failed:\n{done.stderr}")


def _has_psycopg() -> bool:
    import importlib.util

    return importlib.util.find_spec("psycopg2") is not None
