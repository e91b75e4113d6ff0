"""A cache of decoded images: decoded once per node, shared by all processes through memory-mapped files.

A cache entry is a folder of `.npy` files with a `meta.json` that lists their sizes. It is written to a temporary folder
under a lock and then renamed, so incomplete entries never appear; damaged entries are detected and rebuilt. Entries of
streamed sets contain labels and names, but no pixels.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from search.data.datasets import MAX_SIDE, DataConfig, Dataset, default_cache_dir, fetch, manifest, scan
from search.data.decoding import MAX_FAULTS, Faults, decode
from search.data.duplicates import Duplicates
from search.data.errors import CacheError, DataError, ImageError
from search.data.files import MAX_LIST_BYTES, read_regular
from search.data.images import check_depth
from search.data.listing import Part
from search.data.splits import SplitConfig, split
from search.data.stream import CROP, StreamedSet
from search.errors import StorageFaultError
from search.storage.disk import describe_fault
from search.storage.locks import locked
from search.text.printable import printable

__all__ = [
    "ImageData",
    "ImageSet",
    "default_cache_dir",
    "entry_folder",
    "open_data",
    "open_entry",
    "open_received",
    "receive",
    "send",
]

FORMAT = 4
"""Version of the cache format; part of the folder name."""
PIECE_BYTES = 1 << 24
"""Bytes per piece of a file that is sent to another node."""

Progress = Callable[[int, int], None]
"""Receives the number of decoded images and the total."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """One part of a data set. The arrays are read-only memory maps and are loaded on access."""

    pixels: NDArray[np.uint8]
    """Shape (N, H, W, 3)."""
    labels: NDArray[np.int64]
    """Class index of each image, (N,)."""
    ids: NDArray[np.str_]
    """Name of each image, (N,)."""
    ids_digest: str
    """Digest of the names in order; sets with equal digests can be compared image by image."""


Images = ImageSet | StreamedSet
"""One part of a data set, decoded in advance or streamed."""


class ImageData:
    """A data set that is ready for use. The test set is opened on the first access to `.test`, never before.

    Args:
        folder: The cache entry.
        place: Folder that the names of streamed images are relative to; None if the images are in the cache.
    """

    def __init__(self, folder: Path, place: Path | None = None) -> None:
        meta = json.loads(read_regular(folder / "meta.json", MAX_LIST_BYTES))
        self._folder = folder
        self._place = place
        self._ids_digests: dict[str, str] = meta["ids_digests"]
        self.name: str = meta["name"]
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.image_size: tuple[int, int] = (meta["height"], meta["width"])
        self._num_images: dict[str, int] = meta["num_images"]
        self.num_train: int = self._num_images["train"]
        self.num_test: int = self._num_images["test"]
        self.num_val: int = meta["num_val"]
        """Size of the data set's own validation set, stored at the end of `train`; 0: each block draws one."""
        self.duplicates: tuple[str, ...] = tuple(meta["duplicates"])
        """Remarks on images that are in two parts."""
        self.notes: tuple[str, ...] = (*meta["notes"], *self.duplicates)
        """All remarks, also on how the folders were interpreted where their names leave a choice."""
        self.digest: str = meta["digest"]
        """Digest of the pixels, labels and classes of both parts, independent of their location. Of a streamed set,
        names and a sample of the files stand for the pixels."""

    @property
    def folder(self) -> Path:
        """The cache entry."""
        return self._folder

    def __reduce__(self) -> tuple[type[ImageData], tuple[Path, Path | None]]:
        """Pickle the paths only; another process on the node maps the same files."""
        return type(self), (self._folder, self._place)

    @functools.cached_property
    def train(self) -> Images:
        """The training images, including those for validation."""
        return self._open("train")

    @functools.cached_property
    def test(self) -> Images:
        """The test images."""
        return self._open("test")

    def divide(self, config: SplitConfig, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions in `train` of the training and the validation images; see `split`.

        Args:
            config: How to draw the validation part; a data set's own validation set is the same for every seed.
            seed: Split seed of the block.

        Raises:
            ClassMissingError: A class has no image in one of the parts.
            DataError: The data set has its own validation set, and the settings request another split.
        """
        return split(self.train.labels, config, seed, self.classes, num_fixed=self.num_val)

    def _open(self, part: str) -> Images:
        def load(name: str) -> NDArray[Any]:
            path = self._folder / f"{part}_{name}.npy"
            try:
                array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except (ValueError, EOFError) as error:  # the header is damaged, or declares more data than the file has
                raise CacheError(f"{path}: damaged ({error}); remove {self._folder}; it is then made again") from error
            if len(array) != self._num_images[part]:
                raise CacheError(
                    f"{path}: expected {self._num_images[part]:,} images, found {len(array):,}; remove "
                    f"{self._folder}; it is then made again"
                )
            return array

        labels, ids, ids_digest = load("labels"), load("ids"), self._ids_digests[part]
        if self._place is None:
            return ImageSet(pixels=load("pixels"), labels=labels, ids=ids, ids_digest=ids_digest)
        return StreamedSet(place=self._place, crop=self.image_size[0], labels=labels, ids=ids, ids_digest=ids_digest)


def entry_folder(config: DataConfig, cache_dir: Path) -> Path:
    """Return the folder of a data set's cache entry."""
    return cache_dir / f"{config.name}-{manifest(config)}-v{FORMAT}"


def open_entry(folder: Path, place: Path | None = None) -> ImageData | None:
    """Open a cache entry (see `ImageData`); return None if it is missing or its files have changed.

    Raises:
        StorageFaultError: The entry cannot be read; it may be intact.
    """
    try:
        sizes = json.loads(read_regular(folder / "meta.json", MAX_LIST_BYTES))["sizes"]
        if all((folder / name).stat().st_size == size for name, size in sizes.items()):
            return ImageData(folder, place)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        pass
    except OSError as error:
        raise StorageFaultError(describe_fault(error, folder)) from error
    return None


def open_data(config: DataConfig, cache_dir: Path | None = None, on_progress: Progress | None = None) -> ImageData:
    """Open a data set, decoding it first if it is not in the node's cache; streamed sets are only listed.

    Thread- and process-safe: an entry is written under a lock.

    Args:
        config: The images.
        cache_dir: Folder of decoded images, on a local disk; None uses `default_cache_dir()`.
        on_progress: Receives the progress of decoding; not called if the data set is in the cache.

    Raises:
        DataError: The images are missing, unreadable or of unknown layout, or the cache is not writable.
    """
    cache_dir = default_cache_dir() if cache_dir is None else cache_dir
    if config.download:
        fetch(config)
    folder = entry_folder(config, cache_dir)
    data = open_entry(folder, config.place)
    if data is not None:
        return data
    with _locked(folder):
        data = open_entry(folder, config.place)  # another process may have written it
        if data is not None:
            return data
        with _written(folder) as beside:
            _write(config, scan(config), beside, on_progress)
    return ImageData(folder, config.place)


def send(data: ImageData) -> Iterator[tuple[str, bytes]]:
    """Read a cache entry, to send it to a node without the images.

    Yields:
        Name of a file, and its next piece.
    """
    for path in sorted(data.folder.iterdir()):
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                yield path.name, piece


def open_received(config: DataConfig, data_key: str, cache_dir: Path | None = None) -> ImageData | None:
    """Open the copy of a data set that this node received, without its images; None if there is none."""
    data = open_entry(_received_folder(config, data_key, cache_dir))
    return data if data is not None and data.digest == data_key else None


def receive(
    config: DataConfig,
    data_key: str,
    fetch_pieces: Callable[[], Iterable[tuple[str, bytes]]],
    cache_dir: Path | None = None,
) -> bool:
    """Write a cache entry received from another node, to be opened by `open_received`.

    Args:
        config: The images.
        data_key: Digest of the content.
        fetch_pieces: Returns the output of `send`; called only if no process of this node has the entry.
        cache_dir: Folder of decoded images; None uses `default_cache_dir()`.

    Returns:
        False if the set is streamed or the entry existed before the call, else True.

    Raises:
        DataError: The received content has another digest.
        CacheError: The cache is not writable.
    """
    if config.streamed or open_received(config, data_key, cache_dir) is not None:
        return False
    folder = _received_folder(config, data_key, cache_dir)
    with _locked(folder):
        if open_received(config, data_key, cache_dir) is None:
            with _written(folder) as beside:
                for name, piece in fetch_pieces():
                    with (beside / Path(name).name).open("ab") as stream:
                        stream.write(piece)
                sent = open_entry(beside)
                if sent is None or sent.digest != data_key:
                    found = "a damaged copy" if sent is None else sent.digest
                    raise DataError(f"data: expected {config.name} images {data_key} from the driver, found {found}")
    return True


def _received_folder(config: DataConfig, data_key: str, cache_dir: Path | None) -> Path:
    return (default_cache_dir() if cache_dir is None else cache_dir) / f"{config.name}-{data_key}-v{FORMAT}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a cache entry against other processes."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder.with_name(f".{folder.name}.lock")))
        except OSError as error:
            raise CacheError(_unwritable(folder.parent, error)) from error
        yield


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces the cache entry on success."""
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)  # left by a process that was killed
        beside.mkdir()
        yield beside
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    except OSError as error:
        raise CacheError(_unwritable(folder.parent, error)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> str:
    why = error.strerror or error
    return f"{folder} cannot be written ({why}); free disk space there, or set HYBRID_SEARCH_CACHE to another folder"


def _write(config: DataConfig, dataset: Dataset, folder: Path, on_progress: Progress | None) -> None:
    train = dataset.train if dataset.val is None else dataset.train.join(dataset.val)
    num_val = len(train.labels) - len(dataset.train.labels)
    parts = {"train": train, "test": dataset.test}
    duplicates = Duplicates()
    crop = config.image_size or CROP
    shape = (crop, crop, 3) if config.streamed else _shape_of(dataset.train)
    digest = hashlib.sha256(json.dumps([dataset.classes, shape, *([num_val] if num_val else [])]).encode())
    for name, part in parts.items():
        np.save(folder / f"{name}_labels.npy", part.labels)
        np.save(folder / f"{name}_ids.npy", np.array(part.ids, dtype=np.str_))
        digest.update(part.labels.astype("<i8").tobytes())
    if config.streamed:
        digest.update(manifest(config).encode())
    else:
        for name, pixels in _write_pixels(parts, shape, folder, on_progress):
            digest.update(pixels.data)
            duplicates.add(name, pixels)
    meta: dict[str, Any] = {
        "name": config.name,
        "classes": dataset.classes,
        "height": shape[0],
        "width": shape[1],
        "num_images": {name: len(part.labels) for name, part in parts.items()},
        "num_val": num_val,
        "notes": dataset.notes,
        "duplicates": tuple(duplicates.notes({name: part.ids for name, part in parts.items()}, num_val)),
        "num_ignored": dataset.num_ignored,
        "digest": digest.hexdigest()[:32],
        "ids_digests": {name: _digest_of(part.ids) for name, part in parts.items()},
        "sizes": {path.name: path.stat().st_size for path in sorted(folder.glob("*.npy"))},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _write_pixels(
    parts: dict[str, Part], shape: tuple[int, ...], folder: Path, on_progress: Progress | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Decode all parts into their files, yielding the part and each chunk (n, H, W, 3) after it is written.

    Raises:
        ImageError: Lists every kind of fault in all parts.
    """
    total = sum(len(part.labels) for part in parts.values())
    parts["train"].brightest.clear()  # discards the image read for its shape
    faults = Faults(shape)
    num_done = 0
    for name, part in parts.items():
        with (folder / f"{name}_pixels.npy").open("wb") as stream:
            _write_header(stream, (len(part.labels), *shape))
            # Written instead of memory-mapped: on a full disk a mapped write kills the process, a normal write raises.
            for pixels in decode(part, shape, faults):
                stream.write(pixels.data)
                num_done += len(pixels)
                if on_progress is not None:
                    on_progress(num_done, total)
                yield name, pixels
    faults.refuse()
    check_depth(parts["train"].brightest)


def _write_header(stream: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _digest_of(ids: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(ids).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _shape_of(part: Part) -> tuple[int, ...]:
    """Return the shape of the first readable image; unreadable ones are reported when all are decoded.

    Raises:
        DataError: The image exceeds the largest size.
    """
    for position in range(min(MAX_FAULTS, len(part.labels))):
        with contextlib.suppress(ImageError):
            shape = part.read(position).shape
            if max(shape) > MAX_SIDE:
                raise DataError(
                    f"data.image_size must be set where images are larger than {MAX_SIDE:,} pixels a side, got "
                    f"{shape[1]:,}x{shape[0]:,} for {printable(part.ids[position])}"
                )
            return shape
    return (1, 1, 3)
