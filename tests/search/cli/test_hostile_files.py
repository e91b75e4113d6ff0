"""Study files that were written to hurt: one line each, in bounded time and memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_models.config.model import ConfigError, ModelConfig
from search.errors import StudyError
from search.study.load import load_study

ROOT = Path(__file__).parents[3]


def _aliases(first: str, more: str) -> str:
    """Nine levels of nine aliases each: 400 million values in a kilobyte."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{level}: &a{level} " + more.replace("_", f"*a{level - 1}") for level in range(1, 10)]
    return "\n".join(lines)


def _mapping(item: str) -> str:
    return "{" + ", ".join(f"k{place}: {item}" for place in range(9)) + "}"


HOSTILE = {
    "aliases of lists": (_aliases("[x, x]", f"[{', '.join('_' * 9)}]"), "expected at most 50,000 values"),
    "aliases of mappings": (_aliases("{x: 1}", _mapping("_")), "expected at most 50,000 values"),
    "merged aliases": (_aliases("{x: 1}", f"{{<<: [{', '.join('_' * 9)}]}}"), "expected at most 50,000 values"),
    "a list in itself": ("a: &a [*a]", "expected at most 50 levels of mappings and lists"),
    "a mapping in itself": ("a: &a {b: *a}", "expected at most 50 levels of mappings and lists"),
    "open brackets": ("[" * 100_000, "not YAML: maximum recursion depth"),
    "open braces": ("{a: " * 5000, "not YAML: maximum recursion depth"),
    "deep list": ("- " * 3000 + "x", "not YAML: maximum recursion depth"),
    "endless": ("a" * 300_000, "expected at most 250,000 characters"),
    "many keys": ("".join(f"k{number}: 1\n" for number in range(25_000)), "expected at most 50,000 values"),
    "the same key": ("a: 1\n" * 300, "key 'a' occurs twice"),
    "many digits": ("seed: " + "9" * 10_000, "not YAML: Exceeds the limit"),
    "many hexadecimal digits": ("seed: 0x" + "f" * 10_000, "seed: expected a number of at most 64 bits"),
    "base 60": ("seed: " + ":".join(["59"] * 5000), "seed: expected a number of at most 64 bits"),
    "binary": ("name: !!binary " + "A" * 10_000, "name: expected text"),
    "many parameters": (f"space: {_mapping('1')[:-1]}, {', '.join(f'p{n}: [1, 2]' for n in range(300))}}}", "missing"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_study_file_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    text, words = HOSTILE[case]
    path = tmp_path / "study.yaml"
    path.write_text(text)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(StudyError, match=words) as caught:
        load_study(path)
    assert time.process_time() - began < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert len(caught.value.faults) <= 20
    assert all(len(fault) < 500 and "\n" not in fault for fault in caught.value.faults)


def test_the_command_refuses_it_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(HOSTILE["merged aliases"][0])
    command = [sys.executable, "-m", "search.cli", "plan", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def _with(**fields: Any) -> str:
    study = yaml.safe_load((ROOT / "spaces/studies/demo.yaml").read_text())
    return yaml.safe_dump({**study, **fields}, sort_keys=False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a" * 300}, "name: .*at most 100 characters"),
        ({"space": {f"p{number}": [1, 2] for number in range(3000)}, "fix": {}}, "space: expected at most 200 param"),
        ({"seed": 10**300}, "seed: expected a number of at most 64 bits"),
    ],
)
def test_what_is_too_large_is_named(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(_with(**fields))
    with pytest.raises(StudyError, match=words):
        load_study(path)


MODEL = {
    "backbone": "cnn4",
    "cnn_bn": True,
    "cnn_dropout": 0.0,
    "enc_on": True,
    "enc_bn": True,
    "enc_depth": 1,
    "enc_code": 64,
    "rnn": "lstm",
    "nodes": 16,
    "depth": 1,
    "layout": "positions",
    "merge": "serial",
    "readout": "last",
    "rnn_bn": False,
    "fc": "-",
    "dropout": 0.0,
    "input_channels": 3,
    "input_height": 32,
    "input_width": 32,
    "num_classes": 10,
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("depth", 10**9, "depth: expected a whole number from 1 to 64"),
        ("enc_depth", 10**9, "enc_depth: expected a whole number from 1 to 64"),
        ("nodes", 10**18, "expected at most 60000000 parameters"),
        ("enc_code", 10**18, "expected at most 60000000 parameters"),
        ("fc", "9" * 10_000, "fc: expected - or widths"),
        ("fc", "-".join(["9"] * 50_000), "fc: expected - or widths"),
        ("input_height", 10**15, "expected at most"),
    ],
)
def test_a_model_without_bounds_is_refused_before_it_is_counted(name: str, value: Any, words: str) -> None:
    ModelConfig.from_dict(MODEL)
    began = time.process_time()
    with pytest.raises(ConfigError, match=words) as caught:
        ModelConfig.from_dict({**MODEL, name: value})
    assert time.process_time() - began < 5
    assert len(str(caught.value)) < 2000
