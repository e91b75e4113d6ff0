"""Files that are no images, or claim too much: only regular files are opened, and bounds hold before decoding."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data import files
from search.data.datasets import DataConfig
from search.data.errors import DataError, ImageError, UnreadableError
from search.data.files import NotRegularError, TooLargeError, read_regular
from search.data.images import MAX_BYTES, read_image
from search.data.store import open_data
from search.text.printable import printable

MakeFolder = Callable[..., Path]
DEEP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 257 * 4
"""Gray levels over the whole range of 16 bits."""


def write_png16(path: Path, values: np.ndarray) -> None:
    """Write 16-bit RGB, (H, W, 3), which Pillow itself cannot."""
    height, width = values.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def _special(path: Path, kind: str) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link to a FIFO":
        os.mkfifo(path.with_suffix(".pipe"))
        path.symlink_to(path.with_suffix(".pipe"))
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "link to a FIFO", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = Path("a.png")
    _special(path, kind)
    words = rf"a\.png: not a readable image \(it is a {kind.removeprefix('link to a ')}, not a regular file\); replace"
    with pytest.raises(UnreadableError, match=words):
        read_image(path, None)


def test_a_file_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.png")
    regular = tmp_path / "b.png"
    regular.touch()
    seen = regular.stat()
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "stat", lambda _: seen)  # as it was a moment ago
        with pytest.raises(NotRegularError, match="a FIFO"):
            read_regular(tmp_path / "a.png", 10)


def test_a_file_is_bounded_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(TooLargeError, match="it has 5 bytes, and the maximum is 4"):
        read_regular(path, 4)
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(UnreadableError, match=r"and the maximum is 536,870,912\); save it smaller"):
        read_image(path, (8, 8))


def test_sides_are_bounded_before_anything_is_allocated(make_folder: MakeFolder, cache: Path) -> None:
    with pytest.raises(DataError, match="image_size must be from 1 to 4,096 pixels, got 100000"):
        DataConfig(name="digits", image_size=100_000)
    root = make_folder({"cat": 2, "dog": 2}, size=(5000, 2))
    with pytest.raises(DataError, match=r"image_size must be set where images are larger than 4,096 .* 5,000x2 for"):
        open_data(DataConfig(name="folder", root=str(root), test_fraction=0.5), cache)


def _deep_folder(make_folder: MakeFolder, values: list[np.ndarray]) -> DataConfig:
    root = make_folder({"cat": 0, "dog": 0})
    for number, one in enumerate(values):
        Image.fromarray(one).save(root / ("cat", "dog")[number % 2] / f"{number:02d}.png")
    return DataConfig(name="folder", root=str(root), test_fraction=0.5)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_a_set_of_fewer_bits_than_16_is_not_read_as_black(make_folder: MakeFolder, cache: Path, bits: int) -> None:
    config = _deep_folder(make_folder, [DEEP >> (16 - bits)] * 8)
    with pytest.raises(ImageError, match=rf"all 16-bit images \(8\) .* so they use {bits} bits? and .*nearly black"):
        open_data(config, cache)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_a_set_of_16_bits_may_hold_a_dark_image(make_folder: MakeFolder, cache: Path) -> None:
    values = [DEEP] * 7 + [DEEP >> 6]
    data = open_data(_deep_folder(make_folder, values), cache)
    assert max(data.train.pixels.max(), data.test.pixels.max()) == 252
    mostly = _deep_folder(lambda counts: make_folder(counts, name="mostly"), [DEEP >> 4] * 7 + [DEEP])
    with pytest.raises(ImageError, match="7 of 8 16-bit images have no value above 4,095"):
        open_data(mostly, cache)


def test_12_bits_in_16_of_colour_and_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    colour = np.stack([DEEP, DEEP.T, DEEP // 2], axis=-1)
    write_png16(path, colour)
    assert np.array_equal(read_image(path, None), (colour >> 8).astype(np.uint8))
    for shift in (4, 8):
        write_png16(path, colour >> shift)
        with pytest.raises(UnreadableError, match=r"no value above .* nearly black.*; scale its values to 16 bits, or"):
            read_image(path, None)
    Image.fromarray(DEEP >> 4).save(tmp_path / "gray.tif")
    with pytest.raises(UnreadableError, match=r"no value above 4,047 of 65,535"):
        read_image(tmp_path / "gray.tif", None)


@pytest.mark.parametrize("maxval", [4095, 65535])
def test_the_range_that_a_file_declares_is_used(tmp_path: Path, maxval: int) -> None:
    path = tmp_path / "a.pgm"
    values = DEEP if maxval == 65535 else DEEP >> 4
    path.write_bytes(b"P5\n8 8\n%d\n" % maxval + values.astype(">u2").tobytes())
    assert np.abs(read_image(path, None)[..., 0].astype(int) - (DEEP >> 8)).max() <= 1


@pytest.mark.parametrize("mode", ["I", "F"])
def test_ranges_that_are_not_known_are_not_guessed(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(UnreadableError, match=r"whose range is unknown.*; save it with 8 bits per channel"):
        read_image(path, None)


@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second])
    assert read_image(path, None)[0, 0].tolist() == [255, 0, 0]


def test_unreadable_images_of_all_parts_are_one_line_per_kind(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({"train/cat": 4, "train/dog": 4, "test/cat": 3, "test/dog": 3})
    for name in ("train/cat/000.png", "test/cat/001.png", "test/dog/002.png", "test/dog/001.png"):
        (root / name).write_bytes(b"")
    Image.new("F", (8, 8)).save(root / "test/dog/f.tif")
    with pytest.raises(ImageError) as caught:
        open_data(DataConfig(name="folder", root=str(root)), cache)
    assert len(caught.value.faults) == 2
    assert caught.value.faults[0].startswith("4 images are not readable: ")
    assert "and 1 more; replace or remove them" in caught.value.faults[0]
    assert caught.value.faults[1].startswith(f"{root}/test/dog/f.tif: not a readable image (its pixels are floating")


def test_images_of_many_sizes_are_one_line_with_examples(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({"cat": 10, "dog": 10})
    for number in range(12):
        Image.new("RGB", (9 + number // 3, 5)).save(root / f"dog/m{number:02d}.png")
    with pytest.raises(ImageError) as caught:
        open_data(DataConfig(name="folder", root=str(root)), cache)
    (fault,) = caught.value.faults
    assert "got 8x8 for the first image and other sizes for 12 of the 32 read: 9x5 (3 images, dog/m00.png), " in fault
    assert "and 1 more sizes; set it, such as to 32" in fault


def test_names_are_shown_without_what_a_terminal_acts_on() -> None:
    assert printable("c\x1b[31mat\n\u202e\udcff\u00e9 ü") == "c\\x1b[31mat\\n\\u202e\\udcff\u00e9 ü"
    assert printable("a\nb\x07", keep="\n") == "a\nb\\x07"
