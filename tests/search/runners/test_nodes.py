from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.data.datasets import DataConfig
from search.runners import node_check as nodes
from search.runners.node_check import NodeReport, NodeRequirements, fault_of, inspect_node, needs_of
from search.study.config import StudyConfig

NEEDS = NodeRequirements(folder="/mnt/runs/a", data=DataConfig(name="digits"), data_key="d", bfloat16=False)
DRIVER = NodeReport(
    versions=(("python", "3.11"), ("torch", "2.15.0"), ("ray", "2.60.0"), ("hybrid-search", "of code a1")),
    mark="m",
    has_images=True,
    gpus=(),
)


def told(**changes: Any) -> NodeReport:
    return dataclasses.replace(DRIVER, **changes)


def test_a_node_like_the_driver_has_no_fault() -> None:
    assert fault_of("w", NEEDS, DRIVER, DRIVER) is None


@pytest.mark.parametrize(
    ("changes", "needs", "words"),
    [
        (
            {"versions": (("python", "3.12"), ("torch", "2.14.1"), *DRIVER.versions[2:])},
            {},
            "node w: expected python 3.11, torch 2.15.0 as on the driver, found python 3.12, torch 2.14.1: install "
            "the same versions there",
        ),
        (
            {"versions": DRIVER.versions[:3]},
            {},
            "node w: expected hybrid-search of code a1 as on the driver, found hybrid-search none: install the same "
            "versions there",
        ),
        (
            {"mark": None},
            {},
            "node w: expected the study's folder /mnt/runs/a, found none: mount the same storage there",
        ),
        (
            {"mark": "other"},
            {},
            "node w: expected the study's folder /mnt/runs/a, found another one: mount the same storage there",
        ),
        (
            {"has_images": False},
            {"data": DataConfig(name="imagenet", root="/mnt/imagenet")},
            "node w: expected the images of imagenet in data.root /mnt/imagenet, found none: they are read "
            "during training and cannot be sent, mount them there",
        ),
        (
            {"gpus": (("Tesla T4", 7.5), ("Tesla T4", 7.5))},
            {"bfloat16": True},
            "node w: train.precision: expected GPUs with bfloat16 in hardware, found Tesla T4: set it to float32",
        ),
    ],
)
def test_each_lack_is_named_with_its_mend(changes: dict[str, Any], needs: dict[str, Any], words: str) -> None:
    assert fault_of("w", dataclasses.replace(NEEDS, **needs), told(**changes), DRIVER) == words


def test_a_node_has_one_line_however_much_it_lacks() -> None:
    line = fault_of("w", NEEDS, told(mark=None, versions=()), DRIVER)
    assert line is not None
    assert "\n" not in line
    assert line.count("node w") == 1
    assert "torch 2.15.0" in line
    assert "/mnt/runs/a" in line


def test_storage_that_is_no_folder_needs_no_mark() -> None:
    assert fault_of("w", dataclasses.replace(NEEDS, folder=None), told(mark=None), DRIVER) is None


def test_one_capable_gpu_leaves_the_question_to_the_trial() -> None:
    needs = dataclasses.replace(NEEDS, bfloat16=True)
    assert fault_of("w", needs, told(gpus=(("Tesla T4", 7.5), ("A10", 8.6))), DRIVER) is None


def test_looking_tells_what_is_here(tmp_path: Path) -> None:
    needs = NodeRequirements(
        folder=str(tmp_path), data=DataConfig(name="imagenet", root=str(tmp_path)), data_key="d", bfloat16=False
    )
    before = inspect_node(needs)
    assert before.mark is None
    assert not before.has_images
    (tmp_path / nodes.MARK).write_text("mine")
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    after = inspect_node(needs)
    assert after.mark == "mine"
    assert after.has_images
    assert [name for name, _ in after.versions] == ["python", "torch", "ray", "hybrid-search"]
    assert "+" not in dict(after.versions)["torch"]


def test_the_gpus_tool_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Tesla T4, 7.5'\necho 'NVIDIA H200, NVL, 9.0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    needs = dataclasses.replace(NEEDS, folder=None, bfloat16=True)
    assert inspect_node(needs).gpus == (("Tesla T4", 7.5), ("NVIDIA H200, NVL", 9.0))
    assert inspect_node(dataclasses.replace(needs, bfloat16=False)).gpus == ()
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert inspect_node(needs).gpus == ()


def test_the_digest_is_that_of_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").write_text("")
    data = package / "a.yaml"
    data.write_text("a: 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(nodes, "PACKAGES", ("p",))
    nodes.code_digest.cache_clear()
    before = nodes.code_digest()
    nodes.code_digest.cache_clear()
    (package / "notes.txt").write_text("not code")
    assert nodes.code_digest() == before
    nodes.code_digest.cache_clear()
    data.write_text("a: 2")
    assert nodes.code_digest() != before
    nodes.code_digest.cache_clear()


def test_needs_are_those_of_the_study(make_study: Callable[..., StudyConfig], facts: Any) -> None:
    study = make_study(resources={"gpus": 0.5}, train={"epochs": 1, "precision": "auto"})
    needs = needs_of(study, facts)
    assert needs.bfloat16
    assert needs.folder == str(study.folder.absolute())
    assert needs.data_key == facts.key
    assert not needs_of(make_study(), facts).bfloat16
