"""The small studies that are hurt: one body per reference run, and the flavours in which it is run."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUM_TRIALS = 8
"""Of the reference run; episodes take the first of its points."""
NUM_EPOCHS = 4
DIVERGING = 1.0e30
"""A learning rate that no network survives."""
NUM_CLASSES, NUM_IMAGES = 3, 80

SPACE = {
    "backbone": "cnn4",
    "cnn_bn": True,
    "cnn_dropout": 0.0,
    "enc_on": False,
    "rnn": ["none", "gru"],
    "pool_head": {"fixed": "flatten", "when": {"rnn": "none"}},
    "nodes": {"choice": [4, 8], "when": {"rnn": "gru"}},
    "depth": {"fixed": 1, "when": {"rnn": "gru"}},
    "layout": {"fixed": "positions", "when": {"rnn": "gru"}},
    "merge": {"fixed": "serial", "when": {"rnn": "gru"}},
    "readout": {"fixed": "last", "when": {"rnn": "gru"}},
    "rnn_bn": {"fixed": False, "when": {"rnn": "gru"}},
    "fc": "-",
    "dropout": [0.0, 0.2],
    "lr": {"float": [0.0005, 0.02], "log": True},
}
"""CNN and GRU with a searched learning rate: quick, conditional and continuous."""

PLAIN: dict[str, Any] = {
    "seed": 3,
    "data": {"name": "digits", "limit": 300},
    "space": SPACE,
    # Written out, as the best choice differs between machines.
    "train": {"epochs": NUM_EPOCHS, "batch": 16, "precision": "float32"},
    # Random points depend on their place only, not on the order in which trials end.
    "search": {"sampler": "random", "scheduler": "asha", "reduction": 2, "trials": NUM_TRIALS},
}


def _body(name: str) -> dict[str, Any]:
    body = copy.deepcopy(PLAIN)
    if name == "nan":
        cnn = {key: value for key, value in SPACE.items() if not isinstance(value, (dict, list))}
        cnn |= {"rnn": "none", "pool_head": "flatten", "dropout": 0.0}
        body["space"] = {**cnn, "dropout": [0.0, 0.2], "lr": [DIVERGING, 0.001, 0.003, 0.01]}
        first = {**cnn, "dropout": 0.0, "lr": DIVERGING}
        body["search"] |= {"enqueue": [first], "max_failed_fraction": 0.9, "trials": 6}
    elif name == "images":
        body["data"] = {"name": "folder"}
    return body


BODIES = {name: _body(name) for name in ("plain", "nan", "images")}


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """How a study is run."""

    body: str = "plain"
    runner: str = "inline"
    tracking: str = "embedded"
    """`embedded` (SQLite in the storage folder), `server`, `proxy` before it, `own` server, or `disk` of its own."""
    database: bool = False
    """Optuna in PostgreSQL."""
    disk: bool = False
    """The study's folder and the trials in it are small file systems of their own."""
    cluster: bool = False
    """A Ray cluster of two nodes instead of a local one."""
    alone: bool = False
    """It hurts a server that all episodes share: one at a time."""
    chain: int = 3
    """So many faults hit one sweep."""


FLAVOURS = {
    "inline": Flavour(),
    "nan": Flavour(body="nan", chain=2),
    "images": Flavour(body="images", chain=2),
    "proxy": Flavour(tracking="proxy", chain=1),
    "own-server": Flavour(tracking="own", chain=2),
    "database": Flavour(database=True, tracking="server", alone=True, chain=3),
    "disk": Flavour(disk=True, chain=2),
    "tracking-disk": Flavour(tracking="disk", chain=1),
    "ray": Flavour(runner="ray", tracking="server", chain=3),
    "nodes": Flavour(runner="ray", tracking="server", cluster=True, chain=3),
}


def make_images(root: Path) -> None:
    """Write tiny PNG files of noise around one grey per class, always the same."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(NUM_CLASSES):
        folder = root / f"class-{label}"
        folder.mkdir(parents=True)
        for number in range(NUM_IMAGES):
            pixels = rng.normal(80 + 40 * label, 60, size=(8, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
