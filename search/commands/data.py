"""The `data` command: describes a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search.data.datasets import SOURCES, DataConfig, default_cache_dir, fetch, scan
from search.data.listing import class_counts
from search.data.store import entry_folder, open_entry


def describe(config: DataConfig, cache_dir: Path | None = None) -> dict[str, Any]:
    """Describe a data set without decoding it; download it first if `config.download` is set.

    Returns:
        JSON-able: name; root (None if the source is embedded); classes; per part (train, test, and val if the data set
        has one) the number of images and the images per class; notes (how the folders were read); num_ignored (files
        that are not images); left_out (folders that are not classes, with their numbers of images); streamed (decoded
        during training, not in advance); cached; cache (folder); and image_size (height, width), digest and
        bytes_on_disk, which are None until the data set is cached.

    Raises:
        DataError: The images are missing, have an unknown layout, or could not be downloaded.
    """
    if config.download:
        fetch(config)
    dataset = scan(config)
    fixed = {} if dataset.val is None else {"val": dataset.val}
    parts = {"train": dataset.train, **fixed, "test": dataset.test}
    folder = entry_folder(config, default_cache_dir() if cache_dir is None else cache_dir)
    data = open_entry(folder, config.place)
    sizes = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["sizes"] if data is not None else {}
    return {
        "name": config.name,
        "root": str(config.folder) if SOURCES[config.name].on_disk else None,
        "classes": list(dataset.classes),
        "num_images": {name: len(part.labels) for name, part in parts.items()},
        "images_per_class": {name: class_counts(part.labels, dataset.classes) for name, part in parts.items()},
        "notes": [*dataset.notes, *(data.duplicates if data is not None else ())],
        "num_ignored": dataset.num_ignored,
        "left_out": dict(dataset.left_out),
        "streamed": config.streamed,
        "cached": data is not None,
        "cache": str(folder),
        "image_size": list(data.image_size) if data is not None else None,
        "digest": data.digest if data is not None else None,
        "bytes_on_disk": sum(sizes.values()) if data is not None else None,
    }
