"""Images decoded once per node and shared by every process of it through memory-mapped files.

A cache entry is a folder of `.npy` files and a `meta.json` with their sizes. It is written beside its place under a
lock and renamed into it, so that there is never half an entry, and a damaged one is found out and made anew. Of a set
that is streamed it holds labels and names, but no pixels.
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
from search.data.errors import CacheError, DataError, ImageError
from search.data.files import MAX_LIST_BYTES, read_regular
from search.data.images import check_depth
from search.data.listing import Part
from search.data.splits import SplitConfig, split
from search.data.stream import CROP, StreamedSet
from search.errors import StorageFaultError
from search.storage.disk import in_words
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

FORMAT = 3
"""Of the cache entry; part of its folder's name."""
PIECE_BYTES = 1 << 24
"""Of a file that is sent to another node."""

Progress = Callable[[int, int], None]
"""Called with the images done and the images there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """One part of a data set. The arrays are read-only views of files: nothing is copied until it is read."""

    pixels: NDArray[np.uint8]
    """(N, H, W, 3)."""
    labels: NDArray[np.int64]
    """(N,)."""
    ids: NDArray[np.str_]
    """Name of each image, (N,)."""
    ids_digest: str
    """Of the names in their order: two sets with the same are paired image by image."""


Images = ImageSet | StreamedSet
"""One part of a data set, decoded ahead or not."""


class ImageData:
    """A data set that is ready for use. The test part is opened when `.test` is first touched, never before.

    Args:
        folder: Its cache entry.
        place: Folder that the images' names are relative to, where they are streamed; None where they are decoded.
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
        """Images of a validation part of the data set's own, the last ones of `train`; 0: each block draws one."""
        self.notes: tuple[str, ...] = tuple(meta["notes"])
        """How the folders were read, where their names alone do not say it."""
        self.digest: str = meta["digest"]
        """Of the pixels, labels and classes of both parts: the same content anywhere has the same. Of a streamed set,
        names and some beginnings stand for the pixels."""

    @property
    def folder(self) -> Path:
        """Its cache entry."""
        return self._folder

    def __reduce__(self) -> tuple[type[ImageData], tuple[Path, Path | None]]:
        """Travel as a path: another process of the node maps the same files."""
        return type(self), (self._folder, self._place)

    @functools.cached_property
    def train(self) -> Images:
        """The training part, validation images included."""
        return self._open("train")

    @functools.cached_property
    def test(self) -> Images:
        """The test part."""
        return self._open("test")

    def divide(self, config: SplitConfig, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions in `train` of the images that train and of those that validate; see `split`.

        Args:
            config: How to draw the validation part; a part of the data set's own is the same for every seed.
            seed: Of the block.

        Raises:
            ClassMissingError: A class has no image in one of the parts.
            DataError: The data set has a validation part of its own, and the settings ask for another one.
        """
        return split(self.train.labels, config, seed, self.classes, num_fixed=self.num_val)

    def _open(self, part: str) -> Images:
        def load(name: str) -> NDArray[Any]:
            path = self._folder / f"{part}_{name}.npy"
            try:
                array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except (ValueError, EOFError) as error:  # its header is damaged, or claims more than the file holds
                raise CacheError(
                    f"{path}: damaged ({error}); remove {self._folder}, which is then made anew"
                ) from error
            if len(array) != self._num_images[part]:
                raise CacheError(
                    f"{path}: expected {self._num_images[part]:,} images, found {len(array):,}; remove {self._folder}, "
                    "which is then made anew"
                )
            return array

        labels, ids, ids_digest = load("labels"), load("ids"), self._ids_digests[part]
        if self._place is None:
            return ImageSet(pixels=load("pixels"), labels=labels, ids=ids, ids_digest=ids_digest)
        return StreamedSet(place=self._place, crop=self.image_size[0], labels=labels, ids=ids, ids_digest=ids_digest)


def entry_folder(config: DataConfig, cache_dir: Path) -> Path:
    """Where the decoded images of a data set lie, once they do."""
    return cache_dir / f"{config.name}-{manifest(config)}-v{FORMAT}"


def open_entry(folder: Path, place: Path | None = None) -> ImageData | None:
    """Open a cache entry (see `ImageData`); None where there is none or its files are not as they were written.

    Raises:
        StorageFaultError: The machine cannot read it; it may be a good one.
    """
    try:
        sizes = json.loads(read_regular(folder / "meta.json", MAX_LIST_BYTES))["sizes"]
        if all((folder / name).stat().st_size == size for name, size in sizes.items()):
            return ImageData(folder, place)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        pass
    except OSError as error:
        raise StorageFaultError(in_words(error, folder)) from error
    return None


def open_data(config: DataConfig, cache_dir: Path | None = None, on_progress: Progress | None = None) -> ImageData:
    """Open a data set, decoding it first if this node has not yet; one that is streamed is listed only.

    Args:
        config: Which images.
        cache_dir: Where decoded images are kept; a local disk. None takes `default_cache_dir()`.
        on_progress: Told how many images are decoded of how many; called only where something is decoded.

    Raises:
        DataError: The images are missing, in no known layout, unreadable, or the cache cannot be written.
    """
    cache_dir = default_cache_dir() if cache_dir is None else cache_dir
    if config.download:
        fetch(config)
    folder = entry_folder(config, cache_dir)
    data = open_entry(folder, config.place)
    if data is not None:
        return data
    with _locked(folder):
        data = open_entry(folder, config.place)  # another process may have been quicker
        if data is not None:
            return data
        with _written(folder) as beside:
            _write(config, scan(config), beside, on_progress)
    return ImageData(folder, config.place)


def send(data: ImageData) -> Iterator[tuple[str, bytes]]:
    """Read a cache entry for a node that has no images of its own.

    Yields:
        A file's name and the next piece of it.
    """
    for path in sorted(data.folder.iterdir()):
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                yield path.name, piece


def open_received(config: DataConfig, data_key: str, cache_dir: Path | None = None) -> ImageData | None:
    """Open what this node was sent of a data set, without looking for the images themselves; None if it was not."""
    data = open_entry(_received_folder(config, data_key, cache_dir))
    return data if data is not None and data.digest == data_key else None


def receive(
    config: DataConfig,
    data_key: str,
    fetch_pieces: Callable[[], Iterable[tuple[str, bytes]]],
    cache_dir: Path | None = None,
) -> bool:
    """Write a cache entry that another node sent, for `open_received` to find.

    Args:
        config: Which images.
        data_key: Digest of their content.
        fetch_pieces: Gives what `send` read; called unless another process of this node was quicker.
        cache_dir: Where decoded images are kept; None takes `default_cache_dir()`.

    Returns:
        Whether the entry is new to the caller: False if it was there before anybody was asked.

    Raises:
        DataError: What came is not the content asked for.
        CacheError: The cache cannot be written.
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
    """Let one process at a time work on a cache entry."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder.with_name(f".{folder.name}.lock")))
        except OSError as error:
            raise CacheError(_unwritable(folder.parent, error)) from error
        yield


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[Path]:
    """Give a folder beside a cache entry, which takes its place once it is whole."""
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
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
    return f"{folder} cannot be written ({why}); make room there, or set HYBRID_SEARCH_CACHE to another folder"


def _write(config: DataConfig, dataset: Dataset, folder: Path, on_progress: Progress | None) -> None:
    train = dataset.train if dataset.val is None else dataset.train.join(dataset.val)
    num_val = len(train.labels) - len(dataset.train.labels)
    parts = {"train": train, "test": dataset.test}
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
        for pixels in _write_pixels(parts, shape, folder, on_progress):
            digest.update(pixels.data)
    meta: dict[str, Any] = {
        "name": config.name,
        "classes": dataset.classes,
        "height": shape[0],
        "width": shape[1],
        "num_images": {name: len(part.labels) for name, part in parts.items()},
        "num_val": num_val,
        "notes": dataset.notes,
        "num_ignored": dataset.num_ignored,
        "digest": digest.hexdigest()[:32],
        "ids_digests": {name: _digest_of(part.ids) for name, part in parts.items()},
        "sizes": {path.name: path.stat().st_size for path in sorted(folder.glob("*.npy"))},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _write_pixels(
    parts: dict[str, Part], shape: tuple[int, ...], folder: Path, on_progress: Progress | None
) -> Iterator[NDArray[np.uint8]]:
    """Decode all parts into their files, yielding each chunk (n, H, W, 3) once it is written.

    Raises:
        ImageError: With every kind of fault in any of the parts.
    """
    total = sum(len(part.labels) for part in parts.values())
    parts["train"].brightest.clear()  # of the image that was read for its shape
    faults = Faults(shape)
    num_done = 0
    for name, part in parts.items():
        with (folder / f"{name}_pixels.npy").open("wb") as stream:
            _write_header(stream, (len(part.labels), *shape))
            # Written, not mapped: a full disk then raises instead of killing the process.
            for pixels in decode(part, shape, faults):
                stream.write(pixels.data)
                num_done += len(pixels)
                if on_progress is not None:
                    on_progress(num_done, total)
                yield pixels
    faults.refuse()
    check_depth(parts["train"].brightest)


def _write_header(stream: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _digest_of(ids: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(ids).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _shape_of(part: Part) -> tuple[int, ...]:
    """Shape of the first image that can be read; the unreadable ones before it are named when all are decoded.

    Raises:
        ImageError: It is larger than any model is given.
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
