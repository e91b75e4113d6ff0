"""scikit-learn's embedded digits: 1,797 gray images of 8x8 pixels, without files or network."""

from __future__ import annotations

import importlib.metadata

import numpy as np

from search.data.images import resize
from search.data.listing import Listing, Part

BRIGHTEST = 16
"""Largest gray level of the source, which counts from 0."""


def digits_manifest() -> list[str]:
    """Return the manifest of the content: the scikit-learn version that contains the digits."""
    return [f"scikit-learn {importlib.metadata.version('scikit-learn')}"]


def scan_digits(size: int | None) -> Listing:
    """List the digits; there is no official test set."""
    from sklearn.datasets import load_digits

    source = load_digits()
    gray = np.rint(source.images * (255 / BRIGHTEST)).astype(np.uint8)
    pixels = np.repeat(gray[..., None], 3, axis=-1)
    part = Part(
        ids=tuple(f"{position:04d}" for position in range(len(pixels))),
        labels=source.target.astype(np.int64),
        read=lambda position: resize(pixels[position], size),
    )
    return Listing(classes=tuple(str(name) for name in source.target_names), train=part, test=None)
