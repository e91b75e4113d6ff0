"""A sweep and a comparison through the address of a Ray cluster of two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from search.journal.reading import read_records


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a cluster of two nodes with one CPU each, both processes of this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.ray
def test_trials_run_on_both_nodes(tmp_path: Path, address: str) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "name": "two-nodes",
                "storage": str(tmp_path / "runs"),
                "data": {"name": "digits"},
                "space": "ecrnn",
                "fix": {"layout": "positions"},
                "train": {"epochs": 3, "batch": 32},
                "search": {"trials": 8, "scheduler": "none"},
                "compare": {"baselines": ["ecrnn/cnn"], "repeats": 3},
            }
        )
    )
    program = [sys.executable, "-m", "search.cli"]
    swept = subprocess.run(
        [*program, "sweep", str(study), "--address", address, "--json"], check=True, capture_output=True, timeout=300
    )
    assert json.loads(swept.stdout)["trials"]["completed"] == 8
    folder = tmp_path / "runs" / "two-nodes"
    nodes = {record.node for record in read_records(folder).values()}
    assert len(nodes) == 2, nodes
    compared = subprocess.run(
        [*program, "compare", str(folder), "--address", address, "--json"], check=True, capture_output=True, timeout=300
    )
    comparison = json.loads(compared.stdout)["comparisons"][0]
    assert comparison["num_blocks"] == 3
    assert comparison["sentence"]


@pytest.mark.slow
@pytest.mark.ray
def test_a_gpu_that_no_node_has_is_refused_with_the_numbers(tmp_path: Path, address: str) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "name": "greedy",
                "storage": str(tmp_path / "runs"),
                "data": {"name": "digits"},
                "space": "ecrnn",
                "train": {"epochs": 1},
                "search": {"trials": 1},
                "resources": {"gpus": 1, "address": address},
            }
        )
    )
    refused = subprocess.run(
        [sys.executable, "-m", "search.cli", "sweep", str(study)], capture_output=True, text=True, timeout=120
    )
    assert refused.returncode == 2
    assert "resources.gpus: a trial requests 1, but no node has more than 0 (2 nodes); lower it" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "runs").exists(), "nothing half-written"
