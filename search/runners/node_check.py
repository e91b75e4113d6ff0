"""Check that each node has what a study needs: the driver's versions, the study's folder, images and suitable GPUs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from search.data.datasets import DataConfig
from search.own_models.source import DISTRIBUTION, outside_modules
from search.text.counted import counted

if TYPE_CHECKING:
    from search.study.bind import DataFacts
    from search.study.config import ResourcesSection, StudyConfig

PACKAGES = ("spaces", "hybrid_models", "search")
"""The project's own packages, which Ray sends to the nodes."""
MARK = ".nodes"
"""File in the study's folder whose content shows that a node sees the same folder as the driver."""
BFLOAT16_SINCE = 8.0
"""Lowest compute capability of CUDA GPUs with bfloat16 in hardware."""


@dataclass(frozen=True, kw_only=True)
class NodeRequirements:
    """Requirements of a study on every node."""

    folder: str | None
    """The study's folder; None if the storage is not a folder."""
    data: DataConfig
    data_key: str
    bfloat16: bool
    """Whether the node's GPUs must support bfloat16 in hardware."""
    modules: tuple[str, ...] = ()
    """Installed modules that the source of an own model imports."""
    distributions: tuple[str, ...] = ()
    """Installed distributions that contain an own model."""


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """Software, files and GPUs found on a node."""

    versions: tuple[tuple[str, str], ...]
    mark: str | None
    """Content of the mark file in the study's folder; None if the file is missing."""
    has_images: bool
    """Whether the node has the images, or the driver can send them."""
    gpus: tuple[tuple[str, float], ...]
    """Name and compute capability of each GPU; empty if unknown or not needed."""
    modules: tuple[str, ...] = ()
    """Those of the required modules that are installed."""


def needs_of(study: StudyConfig, facts: DataFacts) -> NodeRequirements:
    """Return the requirements of a study on every node."""
    root = study.data.root
    return NodeRequirements(
        folder=None if "://" in study.storage else str(study.folder.absolute()),
        data=dataclasses.replace(study.data, root=None if root is None else str(Path(root).expanduser().absolute())),
        data_key=facts.key,
        bfloat16=bool(study.resources.gpus) and study.train.precision == "bfloat16",
        modules=outside_modules(study.code),
        distributions=tuple(name.removeprefix(DISTRIBUTION) for name in study.code if name.startswith(DISTRIBUTION)),
    )


def inspect_node(needs: NodeRequirements) -> NodeReport:
    """Inspect this node."""
    mark = None
    if needs.folder is not None:
        try:
            mark = (Path(needs.folder) / MARK).read_text(encoding="utf-8")
        except OSError:
            mark = None
    return NodeReport(
        versions=tuple({**_versions(), **{name: _version_of(name) for name in needs.distributions}}.items()),
        mark=mark,
        has_images=not needs.data.streamed or needs.data.place is not None,
        gpus=tuple(_gpus()) if needs.bfloat16 else (),
        modules=tuple(name for name in needs.modules if util.find_spec(name) is not None),
    )


def fault_of(node: str, needs: NodeRequirements, report: NodeReport, driver: NodeReport) -> str | None:
    """Compare a node's report with the requirements and with the driver's report.

    Args:
        node: Name of the node.
        needs: Requirements of the study.
        report: Report of the node.
        driver: Report of the driver's node.

    Returns:
        One line with the node, what was expected, what was found and how to fix it; None if the node is suitable.
    """
    faults = []
    found = dict(report.versions)
    others = {
        name: (version, found.get(name, "none")) for name, version in driver.versions if found.get(name) != version
    }
    if others:
        expected = ", ".join(f"{name} {version}" for name, (version, _) in others.items())
        instead = ", ".join(f"{name} {version}" for name, (_, version) in others.items())
        faults.append(f"expected {expected} as on the driver, found {instead}: install the same versions there")
    if missing := [name for name in driver.modules if name not in report.modules]:
        faults.append(
            f"expected {', '.join(missing)}, which model.factory imports, as on the driver, found none: install "
            f"{'it' if len(missing) == 1 else 'them'} there"
        )
    if needs.folder is not None and report.mark != driver.mark:
        instead = "none" if report.mark is None else "another one"
        faults.append(f"expected the study's folder {needs.folder}, found {instead}: mount the same storage there")
    if not report.has_images:
        faults.append(
            f"expected the images of {needs.data.name} in data.root {needs.data.folder}, found none: they are read "
            "during training and cannot be sent, mount them there"
        )
    if report.gpus and all(capability < BFLOAT16_SINCE for _, capability in report.gpus):
        names = ", ".join(sorted({name for name, _ in report.gpus}))
        faults.append(f"train.precision: expected GPUs with bfloat16 in hardware, found {names}: set it to float32")
    return f"node {node}: {'; '.join(faults)}" if faults else None


def request_faults(resources: ResourcesSection, have: Sequence[Mapping[str, float]], where: str = "") -> list[str]:
    """Return why no node can ever run a trial; empty if some node can.

    Args:
        resources: Resources of a trial.
        have: Ray's `CPU` and `GPU` of each node.
        where: Name to use in messages instead of the nodes, such as `this machine`.
    """
    faults = []
    for word, wanted in (("gpus", resources.gpus), ("cpus", resources.cpus)):
        most = max((node.get(word[:-1].upper(), 0.0) for node in have), default=0.0)
        if wanted > most:
            found = (
                f"{where} has {most:g}" if where else f"no node has more than {most:g} ({counted(len(have), 'node')})"
            )
            faults.append(f"resources.{word}: a trial requests {wanted:g}, but {found}; lower it")
    if not faults and not any(trials_that_fit(resources, node) for node in have):
        faults.append(
            f"resources: no node has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs together; lower one of them"
        )
    return faults


def trials_that_fit(resources: ResourcesSection, have: Mapping[str, float]) -> int:
    """Return how many trials a node can run at the same time."""
    fits = math.floor(have.get("CPU", 0.0) / resources.cpus + 1e-9)
    if resources.gpus:
        fits = min(fits, math.floor(have.get("GPU", 0.0) / resources.gpus + 1e-9))
    return fits


def _versions() -> dict[str, str]:
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("torch", "ray"):
        found[name] = _version_of(name).partition("+")[0]  # CPU and GPU builds of one release are compatible
    return {**found, "hybrid-search": f"of code {code_digest()}"}


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


@functools.cache
def code_digest() -> str:
    """Return a digest of the project's own files, as this process imports them."""
    digest = hashlib.sha256()
    for folder in package_folders():
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".yaml"}:
                digest.update(f"{folder.name}/{path.relative_to(folder)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def package_folders() -> Iterator[Path]:
    """Yield the folders of the project's own packages."""
    for name in PACKAGES:
        found = util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        yield Path(found.origin).parent


def _gpus() -> Iterator[tuple[str, float]]:
    """Yield name and compute capability of each GPU from nvidia-smi; torch would allocate memory on each GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return
    command = [tool, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        report = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        for line in report.splitlines():
            name, _, capability = line.rpartition(", ")
            yield name, float(capability)
    except (OSError, ValueError, subprocess.SubprocessError):
        return
