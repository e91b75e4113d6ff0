"""Run the commands and Python blocks of the documentation: `python tests/documentation/run_examples.py [PAGE...]`.

Each page has a folder of its own, with images (`photos/`, `photo.jpg`, ...), `docs/examples`, and a finished study
(`my-study.yaml`) if its blocks name it and the page writes no study file. Blocks run in the order
of the page. A command must end with the expected exit code, print something, and print what its comments say.
`blocks.py` lists the comments. `--list` only lists the blocks that are not run.
The notebooks of `examples/` are pages too, see `notebooks.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from blocks import Block, Page, read_page
from notebooks import NOTEBOOKS, check_notebook

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/papers/*.md"))]
STUDY = """name: my-study
data: {name: digits, limit: 200}
space: ecrnn
fix: {rnn: bilstm, enc_on: false, depth: 1, layout: positions}
train: {epochs: 1, batch: 32}
search: {trials: 3, scheduler: none}
resources: {runner: inline}
compare: {baselines: [ecrnn/cnn], repeats: 5}
"""
SERVERS = re.compile(r"^hybrid-search (ui|serve) |--watch")
OTHERS = ("MLFLOW_", "RAY_", "COLUMNS")
"""Environment variables that would change what a page shows."""
COMMAND_SECS = 1800
ANSWER_SECS = 600
"""Longest wait for the first line of a server."""


class Fault(Exception):
    """A block did not do what the page says."""


class Workplace:
    """A folder in which pages are run one after the other, and the finished study that they start with."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "page"
        self._finished = base / "finished"
        self._base = base
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(OTHERS)},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "HYBRID_SEARCH_CACHE": str(base / "cache"),
            "OMP_NUM_THREADS": "1",
        }

    def open(self, page: Page) -> None:
        """Make the folder of a page."""
        shutil.rmtree(self.folder, ignore_errors=True)
        blocks = [block for block in page.blocks if block.is_run or block.title]
        own = any((block.title or "").endswith(".yaml") for block in blocks)
        if own or not any(re.search(r"my-study|\bwinner\b", block.text) for block in blocks):
            self._fill()
            return
        if not self._finished.exists():
            self._fill()
            (self.folder / "my-study.yaml").write_text(STUDY, encoding="utf-8")
            for command in ("sweep", "compare"):
                self.run(f"hybrid-search {command} my-study.yaml")
            self._complete_copies()
            self.run("hybrid-search export my-study.yaml --to winner")
            shutil.copytree(self.folder, self._finished)
            return
        shutil.copytree(self._finished, self.folder)  # to the same path, which MLflow's records contain

    def _complete_copies(self) -> None:
        """Wait for MLflow's copy, which a slow machine has not completed when a command ends."""
        for _ in range(5):
            with contextlib.suppress(Fault):
                self.run("hybrid-search status my-study.yaml --check")
                return
            self.run("hybrid-search compare my-study.yaml")

    def _fill(self) -> None:
        import numpy as np
        from PIL import Image

        shutil.copytree(ROOT / "docs" / "examples", self.folder / "docs" / "examples")
        rng = np.random.default_rng(0)
        for name in [
            *(f"photos/{label}/{number}.jpg" for label in ("cat", "dog") for number in range(40)),
            "more/one.png",
            *("photo.jpg", "cat.jpg", "one.jpg"),
        ]:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            light = 60 if "cat" in name else 160
            pixels = rng.normal(light, 40, (16, 16, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(path)
        (self.folder / "list.csv").write_text("image\nphotos/cat/0.jpg\nphotos/dog/0.jpg\n", encoding="utf-8")
        self.run(f"python {self.folder}/docs/examples/make.py docs/examples")

    def run_notebook(self, path: Path) -> list[str]:
        """Run a notebook of `examples/` in a folder of its own; return its faults."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return check_notebook(path, self.folder, self._env)

    def run(self, command: str, expected: int = 0) -> str:
        """Run a command and return what it prints.

        Raises:
            Fault: It ends with another exit code, prints nothing or a traceback, or takes too long.
        """
        try:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_SECS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Fault(f"{command}: no end after {COMMAND_SECS} s") from None
        if done.returncode != expected or "Traceback" in done.stdout:
            raise Fault(f"{command}: exit code {done.returncode}, expected {expected}\n{done.stdout[-2000:]}")
        if not done.stdout.strip() and ">" not in command and not command.startswith("python"):
            raise Fault(f"{command}: printed nothing")
        return done.stdout

    def serve(self, command: str) -> str:
        """Start a command that runs until Ctrl-C, wait for its first line, end it, and return what it printed.

        Raises:
            Fault: It prints nothing, or does not end.
        """
        if "--watch" not in command:
            command += f" --port {_free_port()}"
        printed = self._base / "printed"
        with printed.open("w") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._env,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        until = time.monotonic() + ANSWER_SECS
        while not printed.read_text() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Fault(f"{command}: does not end at Ctrl-C") from None
        text = printed.read_text()
        if code not in {0, 130} or not text or "Traceback" in text:
            raise Fault(f"{command}: exit code {code}\n{text[-2000:]}")
        return text


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run_block(block: Block, place: Workplace, before: str) -> str:
    """Run one block and return what it prints; `before` is what the block before it printed.

    Raises:
        Fault: The block does not do what the page says.
    """
    if block.title:
        text = block.text
        if block.small:
            text = yaml.safe_dump(_made_small(yaml.safe_load(text), block.small))
        (place.folder / block.title).write_text(text, encoding="utf-8")
        return ""
    if block.language == "text":
        return _check_text(block, place, before)
    if block.language == "yaml":
        yaml.safe_load(block.text)
        return ""
    printed = ""
    if block.language == "python":
        script = place.folder / "block.py"
        script.write_text(block.text, encoding="utf-8")
        printed = place.run("python block.py")
    elif block.language == "sh":
        code = int(block.comments.get("exit", "0"))
        for position, command in enumerate(block.commands, 1):
            if command.startswith("hybrid-search "):
                command += "".join(f" --set {key}={value}" for key, value in block.small.items())
            if SERVERS.search(command):
                printed += place.serve(command)
            else:
                printed += place.run(command, code if position == len(block.commands) else 0)
    pattern = block.comments.get("prints")
    if pattern and not re.search(pattern, printed, re.DOTALL):
        raise Fault(f"expected the output to match {pattern!r}, found\n{printed[-2000:]}")
    return printed


def _check_text(block: Block, place: Workplace, before: str) -> str:
    first, _, rest = block.text.partition("\n")
    if first.startswith("$ "):
        printed, shown = place.run(first[2:], int(block.comments.get("exit", "0"))), rest
    elif "output" in block.comments:
        printed, shown = before, block.text
    else:
        return ""
    if not re.search(shape(shown), printed):
        raise Fault(f"expected the output\n{shown}\nup to numbers, found\n{printed[-3000:]}")
    return printed


def shape(text: str) -> str:
    """Return a regular expression for a printed text: any numbers, any white space, anything for `...`.

    >>> bool(re.search(shape("mean 0.93\\n... of 5 runs"), "mean  0.9\\nof 50 of 51 runs"))
    True
    """
    words = ("".join(_word(part) for part in re.split(r"(\.\.\.|\d[\d.,]*|\.\d+)", word)) for word in text.split())
    return r"\s+".join(words)


def _word(part: str) -> str:
    if part == "...":
        return r"[\s\S]*?"
    return r"[\d.,]+" if re.fullmatch(r"\d[\d.,]*|\.\d+", part) else re.escape(part)


def _made_small(study: dict[str, Any], small: dict[str, str]) -> dict[str, Any]:
    for key, value in small.items():
        section, _, name = key.rpartition(".")
        (study.setdefault(section, {}) if section else study)[name] = yaml.safe_load(value)
    return study


def run_page(page: Page, place: Workplace) -> tuple[int, list[str]]:
    """Run the blocks of a page; return how many were run, and the faults."""
    left_out = {block.line for block, _ in page.not_run()}
    num_run, faults, printed = 0, [], ""
    place.open(page)
    for block in page.blocks:
        if page.reason or block.line in left_out or "not run" in block.comments:
            continue
        try:
            printed = run_block(block, place, printed)
        except (Fault, yaml.YAMLError) as error:
            faults.append(f"{page.path.relative_to(ROOT)}, line {block.line}: {error}")
        num_run += block.is_run
    return num_run, faults


def main() -> int:
    """Run the pages; return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores Ctrl-C for what it starts by `&`
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help="names such as study.md; all pages if there are none")
    parser.add_argument("--list", action="store_true", help="list the blocks that are not run")
    given = parser.parse_args()
    names = [path.name for path in (*PAGES, *NOTEBOOKS)]
    if unknown := [name for name in given.pages if name not in names]:
        parser.error(f"unknown page {unknown[0]}; known: {', '.join(names)}")
    pages = [read_page(path) for path in PAGES if not given.pages or path.name in given.pages]
    faults: list[str] = []
    if not given.list:
        with tempfile.TemporaryDirectory(prefix="docs-test-") as base:
            place = Workplace(Path(base))
            for page in pages:
                start = time.monotonic()
                if not page.reason and any(block.is_run for block in page.blocks):
                    num_run, found = run_page(page, place)
                    faults += found
                    secs, state = time.monotonic() - start, f"{len(found)} FAILED" if found else "ok"
                    print(f"{page.path.name:20} {num_run:3} run  {secs:5.0f} s  {state}", *found, sep="\n", flush=True)
            for path in NOTEBOOKS:
                if not given.pages or path.name in given.pages:
                    start = time.monotonic()
                    found = place.run_notebook(path)
                    faults += found
                    secs, state = time.monotonic() - start, "FAILED" if found else "ok"
                    print(f"{path.name:20}          {secs:5.0f} s  {state}", *found, sep="\n", flush=True)
    left_out = [(page, block, reason) for page in pages for block, reason in page.not_run()]
    print(f"\nNot run: {len(left_out)} blocks")
    for page, block, reason in left_out:
        print(f"  {page.path.relative_to(ROOT)}, line {block.line}: {reason}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
