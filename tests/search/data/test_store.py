"""The cache: decoded once, shared, lazily opened, repaired when damaged."""

from __future__ import annotations

import dataclasses
import errno
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.commands.data import describe
from search.data import decoding, store
from search.data.datasets import DataConfig, scan
from search.data.decoding import Faults
from search.data.errors import CacheError, DataError, ImageError
from search.data.listing import Part
from search.data.splits import SplitConfig, split
from search.data.store import entry_folder, open_data, open_entry, open_received, receive, send

MakeFolder = Callable[..., Path]
PARTS = {"train/cat": 6, "train/dog": 6, "test/cat": 3, "test/dog": 2}
SOURCES = ["digits", "folder", "cifar10"]


@pytest.fixture
def config(make_folder: MakeFolder, request: pytest.FixtureRequest) -> DataConfig:
    name = getattr(request, "param", "folder")
    return DataConfig(name=name, root=None if name == "digits" else str(make_folder(PARTS)))


@pytest.mark.parametrize("config", SOURCES, indirect=True)
def test_every_source_keeps_the_contract(config: DataConfig, cache: Path) -> None:
    calls: list[tuple[int, int]] = []
    data = open_data(config, cache, on_progress=lambda done, total: calls.append((done, total)))
    dataset = scan(config)
    total = len(dataset.train.labels) + len(dataset.test.labels)
    assert calls[-1] == (total, total)
    assert data.name == config.name
    assert data.classes == dataset.classes
    for images, part in ((data.train, dataset.train), (data.test, dataset.test)):
        assert images.pixels.shape == (len(part.labels), *data.image_size, 3)
        assert images.pixels.dtype == np.uint8
        assert images.labels.dtype == np.int64
        assert np.array_equal(images.labels, part.labels)
        assert tuple(images.ids) == part.ids
        for position in (0, len(part.labels) - 1):
            assert np.array_equal(images.pixels[position], part.read(position))
        with pytest.raises(ValueError, match="read-only"):
            images.pixels[0] = 0
    assert (data.num_train, data.num_test) == (len(dataset.train.labels), len(dataset.test.labels))
    calls.clear()
    assert open_data(config, cache, on_progress=lambda done, total: calls.append((done, total))).digest == data.digest
    assert not calls


def test_digest_follows_content_not_place(make_folder: MakeFolder, tmp_path: Path) -> None:
    digests = [
        open_data(DataConfig(name="folder", root=str(make_folder(PARTS, name=name, seed=seed))), tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert digests[0].digest == digests[1].digest != digests[2].digest
    assert digests[0].train.ids_digest == digests[1].train.ids_digest != digests[0].test.ids_digest


def test_a_validation_part_of_its_own_is_the_same_for_every_seed(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({**PARTS, "val/cat": 2, "val/dog": 3})
    config = DataConfig(name="folder", root=str(root))
    data = open_data(config, cache)
    assert (data.num_train, data.num_val, data.num_test) == (17, 5, 5)
    divided = [data.divide(SplitConfig(), seed) for seed in (0, 1)]
    for train_rows, val_rows in divided:
        assert [name.partition("/")[0] for name in data.train.ids[train_rows]] == ["train"] * 12
        assert [name.partition("/")[0] for name in data.train.ids[val_rows]] == ["val"] * 5
    dataset = scan(config)
    assert dataset.val is not None
    val_rows = divided[0][1]
    assert np.array_equal(data.train.labels[val_rows], dataset.val.labels)
    assert np.array_equal(data.train.pixels[val_rows[2]], dataset.val.read(2))
    for asked in (SplitConfig(method="none"), SplitConfig(method="random"), SplitConfig(fraction=0.2)):
        with pytest.raises(DataError, match="its own validation part, 5 images, but split requests another one"):
            data.divide(asked, 0)


def test_where_the_validation_images_lie_is_part_of_the_digest(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})
    config = DataConfig(name="folder", root=str(root))
    before = open_data(config, tmp_path / "cache")
    for name in ("a", "b"):
        for path in sorted((root / "val" / name).iterdir()):
            path.rename(root / "train" / name / f"z{path.name}")
        (root / "val" / name).rmdir()
    (root / "val").rmdir()
    after = open_data(config, tmp_path / "cache")
    assert (before.num_val, after.num_val) == (4, 0)
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("config", "digest"),
    [("digits", "5e5e6c0dff34aad03d8e1624e4cb8bec"), ("folder", "43a3a6d8b1d564f937e4551965d6f7da")],
    indirect=["config"],
)
def test_digests_stay_what_they_were(config: DataConfig, cache: Path, digest: str) -> None:
    """They are part of every trial's key: another one would make all studies start anew."""
    assert open_data(config, cache).digest == digest


def test_test_part_is_not_opened_before_it_is_touched(config: DataConfig, cache: Path) -> None:
    open_data(config, cache)
    folder = entry_folder(config, cache)
    before = {path.name: path.stat().st_size for path in folder.glob("test_*.npy")}
    for name, size in before.items():  # same sizes, no content: opening them would fail
        (folder / name).write_bytes(b"\0" * size)
    data = open_data(config, cache)
    split(data.train.labels, SplitConfig(), 0)
    assert int(data.train.pixels.sum()) > 0
    assert data.num_test == 5
    opened = Path("/proc/self/maps").read_text()
    assert str(folder / "train_pixels.npy") in opened
    assert str(folder / "test_pixels.npy") not in opened
    with pytest.raises(ValueError, match=r"npy|pickle|magic"):
        _ = data.test


def test_travels_as_a_path(config: DataConfig, cache: Path) -> None:
    data = open_data(config, cache)
    assert data.train.pixels.size
    packed = pickle.dumps(data)
    assert len(packed) < 500
    assert np.array_equal(pickle.loads(packed).train.pixels, data.train.pixels)


OPEN = """
import sys
import time
from pathlib import Path
from search.data.datasets import DataConfig
from search.data.store import open_data
root, cache, log = sys.argv[1:]
calls = []
print("ready", flush=True)
sys.stdin.readline()
data = open_data(DataConfig(name="folder", root=root), Path(cache), on_progress=lambda *call: calls.append(call))
if calls:
    with open(log, "a") as stream:
        stream.write("decoded\\n")
print(data.digest, int(data.train.pixels.sum()))
"""


def test_four_processes_decode_once(make_folder: MakeFolder, cache: Path, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 200, "train/dog": 200, "test/cat": 50, "test/dog": 50}, size=(32, 32))
    command = [sys.executable, "-c", OPEN, str(root), str(cache), str(tmp_path / "log")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:  # all have imported everything before the first begins
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "decoded\n"
    assert len(found) == 1


@pytest.mark.parametrize("damage", ["truncated", "missing", "meta", "half"])
def test_damaged_entry_is_made_anew(config: DataConfig, cache: Path, damage: str) -> None:
    digest = open_data(config, cache).digest
    folder = entry_folder(config, cache)
    pixels = folder / "train_pixels.npy"
    if damage == "truncated":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "missing":
        (folder / "test_labels.npy").unlink()
    elif damage == "meta":
        (folder / "meta.json").write_text('{"sizes"')
    else:  # a process was killed while it wrote
        folder.rename(folder.with_name(f".{folder.name}.partial"))
    assert open_entry(folder) is None
    assert open_data(config, cache).digest == digest
    assert open_entry(folder) is not None
    assert not list(cache.glob(".*.partial"))


@pytest.mark.parametrize("claim", ["9" * 15, "1"])
def test_a_cached_array_that_claims_another_size_is_refused(config: DataConfig, cache: Path, claim: str) -> None:
    data = open_data(config, cache)
    path = data.folder / "train_pixels.npy"
    content = path.read_bytes()
    length = content.index(b"\n")
    header = content[10:length].replace(b"(12,", f"({claim},".encode()).rstrip()
    path.write_bytes(content[:10] + header.ljust(length - 10) + content[length:])
    with pytest.raises(CacheError, match=r"train_pixels\.npy: (damaged \(.*\)|expected 12 images, found 1); remove"):
        _ = open_data(config, cache).train


def test_all_corrupt_images_are_named_and_nothing_is_left(config: DataConfig, cache: Path) -> None:
    root = Path(config.root or "")
    bad = [root / "train/cat/000.png", root / "train/dog/003.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError) as caught:
        open_data(config, cache)
    (fault,) = caught.value.faults
    assert fault.startswith("2 images are not readable: ")
    assert all(str(path) in fault for path in bad)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_images_of_different_sizes_need_image_size(config: DataConfig, cache: Path) -> None:
    root = Path(config.root or "")
    Image.new("RGB", (10, 6)).save(root / "test/dog/000.png")
    with pytest.raises(ImageError, match=r"image_size must be set .* got 10x6 for test/dog/000.png and 8x8 for"):
        open_data(config, cache)
    sized = DataConfig(name="folder", root=config.root, image_size=4)
    assert open_data(sized, cache).test.pixels.shape == (5, 4, 4, 3)


def test_cache_that_cannot_be_written(config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"file/cache cannot be written .*HYBRID_SEARCH_CACHE"):
        open_data(config, tmp_path / "file/cache")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_write_header", full)
    with pytest.raises(CacheError, match="No space left on device"):
        open_data(config, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_missing_source_is_noticed_even_where_it_was_cached(config: DataConfig, cache: Path) -> None:
    open_data(config, cache)
    shutil.rmtree(Path(config.root or ""))
    with pytest.raises(ValueError, match="it does not exist"):
        open_data(config, cache)


def test_describe(config: DataConfig, cache: Path) -> None:
    before = describe(config, cache)
    assert before["cached"] is False
    assert before["digest"] is None
    assert before["images_per_class"] == {"train": {"cat": 6, "dog": 6}, "test": {"cat": 3, "dog": 2}}
    data = open_data(config, cache)
    after = describe(config, cache)
    assert after["cached"] is True
    assert (after["digest"], after["image_size"]) == (data.digest, [8, 8])
    assert after["bytes_on_disk"] > 17 * 8 * 8 * 3
    assert describe(DataConfig(name="digits", download=True), cache)["root"] is None


def test_a_chunk_stays_as_it_is_while_the_next_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 8)
    number = 100
    part = Part(
        ids=("",) * number,
        labels=np.zeros(number, dtype=np.int64),
        read=lambda row: np.full((1, 1, 3), row, dtype=np.uint8),
    )
    found, sizes = [], []
    for pixels in decoding.decode(part, (1, 1, 3), Faults((1, 1, 3))):
        time.sleep(0.005)
        found += pixels[:, 0, 0, 0].tolist()
        sizes.append(len(pixels))
    assert len(sizes) > 5
    assert found == list(range(number))


def test_real_cifar10(real_root: Path, cache: Path) -> None:
    data = open_data(DataConfig(name="cifar10", root=str(real_root), limit=1000), cache)
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert data.train.pixels.shape == (1000, 32, 32, 3)
    assert data.test.pixels.shape == (200, 32, 32, 3)
    assert (np.bincount(data.train.labels) == 100).all()
    assert 0.4 < data.train.pixels.mean() / 255 < 0.55


@pytest.fixture
def elsewhere(config: DataConfig) -> DataConfig:
    """The same images on a node that does not have them."""
    return dataclasses.replace(config, root="/nowhere")


def test_an_entry_that_is_sent_is_found_without_the_images(
    config: DataConfig, elsewhere: DataConfig, cache: Path
) -> None:
    data = open_data(config, cache)
    there = cache / "other"
    assert open_received(elsewhere, data.digest, there) is None
    assert receive(elsewhere, data.digest, lambda: send(data), there)
    received = open_received(elsewhere, data.digest, there)
    assert received is not None
    assert received.digest == data.digest
    assert np.array_equal(received.train.pixels, data.train.pixels)
    assert np.array_equal(received.test.labels, data.test.labels)
    # Once is enough for a node.
    assert not receive(elsewhere, data.digest, lambda: pytest.fail("asked twice"), there)


def test_what_is_sent_comes_in_pieces(config: DataConfig, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PIECE_BYTES", 1000)
    data = open_data(config, cache)
    pieces = list(send(data))
    assert len(pieces) > len({name for name, _ in pieces})
    assert max(len(piece) for _, piece in pieces) == 1000
    receive(config, data.digest, lambda: pieces, cache / "other")
    received = open_received(config, data.digest, cache / "other")
    assert received is not None
    assert np.array_equal(received.train.pixels, data.train.pixels)


def test_other_content_is_refused_and_leaves_nothing(config: DataConfig, elsewhere: DataConfig, cache: Path) -> None:
    data = open_data(config, cache)
    there = cache / "other"
    with pytest.raises(DataError, match=f"expected folder images 0123 from the driver, found {data.digest}"):
        receive(elsewhere, "0123", lambda: send(data), there)
    half = [piece for piece in send(data) if piece[0] != "train_pixels.npy"]
    with pytest.raises(DataError, match="found a damaged copy"):
        receive(elsewhere, data.digest, lambda: half, there)
    assert [path.name for path in there.iterdir() if path.suffix != ".lock"] == []


def test_a_sender_that_is_lost_leaves_nothing(config: DataConfig, cache: Path) -> None:
    data = open_data(config, cache)

    def pieces() -> Iterator[tuple[str, bytes]]:
        yield next(send(data))
        raise RuntimeError("the driver's node is gone")

    with pytest.raises(RuntimeError, match="gone"):
        receive(config, data.digest, pieces, cache / "other")
    assert open_received(config, data.digest, cache / "other") is None


def test_a_streamed_set_does_not_travel(cache: Path) -> None:
    config = DataConfig(name="imagenet", root="/nowhere")
    assert not receive(config, "d", lambda: pytest.fail("asked"), cache)
