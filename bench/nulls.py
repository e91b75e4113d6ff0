"""Null studies: one configuration trained on many blocks with this project's training loop, stored as correctness bits.

`python -m bench.nulls digits` trains on scikit-learn's digits; `python -m bench.nulls cifar10 FOLDER` on a fifth of the
CIFAR-10 images in FOLDER, resized to 16x16. An optional last argument is the number of repeats. Both continue from the
stored repeats; delete the file to start again. Images are not stored.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.storage.disk import unpack_bits

FOLDER = Path(__file__).parent / "nulls"
SEED = 4
"""Study seed, from which split, initial weights and batch order of every repeat are derived."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The configuration, data and training settings of a null study."""

    data: dict[str, Any]
    preset: str
    train: dict[str, Any]
    num_repeats: int


RECIPES = {
    "digits": Recipe(
        data={"name": "digits"},
        preset="ecrnn/crnn-bilstm-16",
        train={"epochs": 9, "batch": 32, "precision": "float32"},
        num_repeats=120,
    ),
    "cifar10": Recipe(
        data={"name": "cifar10", "limit": 10_000, "image_size": 16},
        preset="yin/cnn+gru",
        train={"epochs": 1, "batch": 32, "precision": "float32"},
        num_repeats=100,
    ),
}
SPLIT: dict[str, Any] = {"method": "random", "fraction": 0.3}


@dataclass(frozen=True, kw_only=True, eq=False)
class NullStudy:
    """Repeats of one configuration, in the order of their blocks."""

    name: str
    correct: NDArray[np.uint8]
    """Correctness of every test image, 0 or 1, shape (R, M)."""
    val_accuracy: NDArray[np.float64]
    """Validation accuracy, fraction, shape (R,)."""
    ratio: float
    """Number of validation images divided by the number of training images."""
    meta: dict[str, Any]
    """Recipe, versions, seconds per repeat, and a digest of the test images' names."""


def load_null(name: str, folder: Path = FOLDER) -> NullStudy:
    """Read a stored null study."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        meta = json.loads(str(stored["meta"]))
        return NullStudy(
            name=name,
            correct=unpack_bits(stored["correct"], meta["num_test"]),
            val_accuracy=stored["val_accuracy"],
            ratio=meta["num_val"] / meta["num_train"],
            meta=meta,
        )


def save_null(path: Path, rows: list[NDArray[np.uint8]], val_accuracy: list[float], meta: dict[str, Any]) -> None:
    """Write packed rows, validation accuracies and metadata atomically."""
    beside = path.with_suffix(".partial.npz")
    np.savez_compressed(beside, correct=np.stack(rows), val_accuracy=np.array(val_accuracy), meta=json.dumps(meta))
    beside.replace(path)


def train_null(name: str, root: str | None, num_repeats: int) -> None:
    """Train the missing repeats of a null study one by one on one thread, and store each."""
    import torch

    from search.data.splits import SplitConfig, second_size
    from search.data.store import open_data
    from search.journal.versions import versions
    from search.records import Progress
    from search.seeds import make_block
    from search.study.bind import bind, load_facts
    from search.study.load import parse_study
    from search.training.loop import train
    from spaces.presets import load_preset

    torch.set_num_threads(1)
    recipe, path = RECIPES[name], FOLDER / f"{name}.npz"
    document = {
        "name": f"null-{name}",
        "seed": SEED,
        "data": recipe.data | ({"root": root} if root else {}),
        "split": SPLIT,
        "space": "ecrnn",
        "model": {"init": "keras", "bn_style": "torch"},
        "train": recipe.train,
        "search": {"trials": 1},
    }
    study = parse_study(document, "bench/nulls.py")
    data, facts = open_data(study.data), load_facts(study)
    num_val = second_size(facts.num_train, SplitConfig(**SPLIT))
    meta: dict[str, Any] = {
        "preset": recipe.preset,
        "recipe": {key: document[key] for key in ("seed", "split", "model", "train")} | {"data": recipe.data},
        "data_digest": facts.key,
        "test_ids_digest": data.test.ids_digest,
        "num_train": facts.num_train - num_val,
        "num_val": num_val,
        "num_test": facts.num_test,
    }
    rows: list[NDArray[np.uint8]] = []
    val_accuracy: list[float] = []
    secs: list[float] = []
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            before = json.loads(str(stored["meta"]))
            changed = sorted(key for key in meta if meta[key] != before[key])
            if changed:
                raise SystemExit(f"{path}: trained with another {', '.join(changed)}; delete it to begin anew")
            rows, val_accuracy, secs = list(stored["correct"]), stored["val_accuracy"].tolist(), before["secs"]
    for index in range(len(rows), num_repeats):
        start = time.perf_counter()
        # Repeats outside a sweep have the purpose "compare".
        block = make_block(SEED, "compare", index)
        spec = bind(study, load_preset(recipe.preset), facts, (block,), score_test=True, label=recipe.preset)
        last: Progress | None = None
        with tempfile.TemporaryDirectory() as folder:
            for progress in train(spec, data, Path(folder), device="cpu"):
                last = progress or last
            rows.append(np.load(Path(folder) / "correct.npy", allow_pickle=False)[0])
        assert last is not None
        assert last.metrics.val_accuracy is not None
        val_accuracy.append(last.metrics.val_accuracy)
        secs.append(round(time.perf_counter() - start, 2))
        FOLDER.mkdir(exist_ok=True)
        save_null(path, rows, val_accuracy, meta | {"secs": secs, "versions": versions()})
        assert last.result is not None
        print(f"{name} {block.name}: test {last.result.test_accuracy:.4f}, {secs[-1]:.1f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in RECIPES:
        raise SystemExit(f"usage: python -m bench.nulls {{{'|'.join(RECIPES)}}} [FOLDER OF IMAGES] [REPEATS]")
    numbers = [int(word) for word in sys.argv[2:] if word.isdigit()]
    roots = [word for word in sys.argv[2:] if not word.isdigit()]
    train_null(sys.argv[1], roots[0] if roots else None, numbers[0] if numbers else RECIPES[sys.argv[1]].num_repeats)
