"""Images in a NumPy archive: one array of pixels and one of labels per part."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data.errors import LayoutError, some
from search.data.images import resize
from search.data.layout import at
from search.data.listing import Listing, Part, Use
from search.text.printable import printable

SPELLINGS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
PIXELS, LABELS = ("images", "x", "data"), ("labels", "y", "targets")
"""Words for the two arrays of a part, before or after the name of the part: x_train, train_images."""
CLASSES = ("classes", "class_names")
_PART = re.compile(r"(^|[^a-z])(train|trn|val|valid|validation|dev|test|tst)([^a-z]|$)")
"""Names of the optional array with the name of each class."""
MAX_BYTES = 1 << 35
"""Largest array that is read."""
KNOWN = "arrays such as train_images and train_labels, or x_train, y_train, x_test and y_test"


def npz_manifest(root: Path, use: Use) -> Iterator[str]:  # noqa: ARG001
    """Yield name, size and checksum of each array."""
    with _opened(root) as archive:
        for item in sorted(archive.infolist(), key=lambda item: item.filename):
            yield f"{item.filename} {item.file_size} {item.CRC}"


def scan_npz(root: Path, size: int | None, use: Use) -> Listing:
    """List the images of an archive.

    Pixels are uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3). Labels, (N,) or (N, 1), are whole numbers or
    texts. `classes` names the classes, which numbers count from 0; without it the labels themselves are the names.

    Args:
        root: The file.
        size: Side in pixels that images are resized to; None keeps their size.
        use: The classes and parts that the study needs.

    Raises:
        LayoutError: Arrays are missing, or have another type, shape or size; one line per fault.
    """
    faults: list[str] = []
    with _opened(root) as archive:
        names = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
        found = {part: pair for part in SPELLINGS if (pair := _find(part, names)) is not None}
        used = {*CLASSES, *(name for pair in found.values() for name in pair)}
        if alone := [name for name in names if name not in used and _PART.search(name.lower())]:
            raise LayoutError(
                f"{at(root)}: expected {KNOWN}, found {some(sorted(alone))} without a partner of such a name; rename "
                "or remove it"
            )
        pairs = {part: pair for part, pair in found.items() if part != "test" or use.needs_test}
        if "train" not in pairs:
            raise LayoutError(f"{at(root)}: looked for {KNOWN}; found {some(sorted(names)) or 'no array'}; rename them")
        wanted = [name for pair in pairs.values() for name in pair] + [name for name in CLASSES if name in names]
        arrays = {name: _load(archive, names[name], root) for name in wanted}
    faults += [
        f"{at(root)}: {name}: expected different texts, found {arrays[name].dtype} of shape {arrays[name].shape}"
        for name in CLASSES
        if name in arrays and (arrays[name].dtype.kind != "U" or len(np.unique(arrays[name])) < arrays[name].size)
    ]
    given = next((arrays[name].reshape(-1) for name in CLASSES if name in arrays), None)
    for pixels, labels in pairs.values():
        faults += [f"{at(root)}: {fault}" for fault in _faults(pixels, arrays[pixels], labels, arrays[labels])]
    if faults:
        raise LayoutError(*faults)
    values = {part: arrays[labels].reshape(-1).tolist() for part, (_, labels) in pairs.items()}
    classes = sorted(set(values["train"])) if given is None else [str(name) for name in given]
    numbered = given is not None and arrays[pairs["train"][1]].dtype.kind != "U"
    index = {value: position for position, value in enumerate(range(len(classes)) if numbered else classes)}
    for part, there in values.items():
        wrong = _class_faults(set(there), index, classes, use)
        faults += [f"{at(root)}: {pairs[part][1]}: {fault}" for fault in wrong]
    if faults:
        raise LayoutError(*faults)
    parts = {
        part: _part(name, arrays[name], [index[value] for value in values[part]], size)
        for part, (name, _) in pairs.items()
    }
    return Listing(classes=tuple(map(str, classes)), train=parts["train"], val=parts.get("val"), test=parts.get("test"))


def _opened(root: Path) -> zipfile.ZipFile:
    try:
        if not root.is_file():
            raise LayoutError(f"{at(root)}: expected a .npz file, found {'a folder' if root.is_dir() else 'nothing'}")
        return zipfile.ZipFile(root)
    except zipfile.BadZipFile:
        raise LayoutError(f"{at(root)}: not a .npz archive; write it with np.savez_compressed") from None


def _find(part: str, names: Mapping[str, zipfile.ZipInfo]) -> tuple[str, str] | None:
    """Return the names of the arrays of a part: pixels and labels."""
    by_plain = {name.lower(): name for name in names}
    pairs = [
        (form.format(part=word, kind=pixels), form.format(part=word, kind=labels))
        for word in SPELLINGS[part]
        for form in ("{part}_{kind}", "{kind}_{part}")
        for pixels in PIXELS
        for labels in LABELS
    ]
    if part == "train":
        pairs += [(pixels, labels) for pixels in PIXELS for labels in LABELS]
    return next(
        ((by_plain[pixels], by_plain[labels]) for pixels, labels in pairs if {pixels, labels} <= by_plain.keys()), None
    )


def _load(archive: zipfile.ZipFile, item: zipfile.ZipInfo, root: Path) -> NDArray[Any]:
    """Read an array after its header was compared with the size of its file, which bounds the memory."""
    name = item.filename.removesuffix(".npy")
    try:
        with archive.open(item) as stream:
            version = np.lib.format.read_magic(stream)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](stream)
            num_bytes = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or num_bytes + stream.tell() != item.file_size:
                raise ValueError("its header does not fit its content")
            if num_bytes > MAX_BYTES:
                raise ValueError(f"it has {num_bytes:,} bytes, and the maximum is {MAX_BYTES:,}")
        with archive.open(item) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise LayoutError(
            f"{at(root)}: {printable(name)}: cannot be read ({printable(str(error))}); write it again with np.savez"
        ) from error
    except MemoryError:
        raise LayoutError(
            f"{at(root)}: {printable(name)}: it does not fit into memory; store fewer images, or use a folder"
        ) from None


def _faults(name: str, pixels: NDArray[Any], label_name: str, labels: NDArray[Any]) -> Iterator[str]:
    if pixels.dtype != np.uint8:
        yield f"{name}: expected uint8 from 0 to 255, found {pixels.dtype}; convert the pixels"
    if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[-1] in {1, 3})):
        moved = pixels.ndim == 4 and pixels.shape[1] in {1, 3}
        mend = "move the channels to the end" if moved else "one gray or RGB image per row"
        yield f"{name}: expected the shape (N, H, W) or (N, H, W, 3), found {pixels.shape}; {mend}"
        return
    if not pixels.size:
        yield f"{name}: expected at least one image of at least one pixel, found the shape {pixels.shape}"
    if labels.ndim != 1 and not (labels.ndim == 2 and labels.shape[1] == 1):
        mend = "; write the position of the 1 of each row" if labels.ndim == 2 else ""
        yield f"{label_name}: expected one label per image, of shape (N,), found {labels.shape}{mend}"
    elif labels.dtype.kind not in "iuU":
        yield f"{label_name}: expected whole numbers or texts, found {labels.dtype}; convert the labels"
    if labels.ndim and len(pixels) != len(labels):
        yield f"{name} and {label_name}: expected as many labels as images, found {len(pixels):,} and {len(labels):,}"


def _class_faults(there: set[Any], index: Mapping[Any, int], classes: Sequence[Any], use: Use) -> Iterator[str]:
    if unknown := sorted(there - index.keys()):
        yield f"expected labels of the {len(classes)} classes, found {some(list(map(str, unknown)))}; correct them"
    absent = [str(classes[position]) for value, position in index.items() if value not in there]
    if absent := [name for name in absent if not use.classes or name in use.classes]:
        yield f"no image of the class {some(absent)}; add some, or list the other classes in data.classes"


def _part(name: str, pixels: NDArray[np.uint8], labels: Sequence[int], size: int | None) -> Part:
    def read(position: int) -> NDArray[np.uint8]:
        image = pixels[position].reshape(*pixels.shape[1:3], -1)
        return resize(np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image, size)

    ids = tuple(f"{name}/{position:06d}" for position in range(len(pixels)))
    return Part(ids=ids, labels=np.array(labels, dtype=np.int64), read=read)
