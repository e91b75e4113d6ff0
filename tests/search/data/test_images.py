"""Decoding: any kind of image becomes RGB, a damaged one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data.errors import ImageError
from search.data.images import read_image, resize

GRAY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
RGB = np.stack([GRAY, GRAY.T, 255 - GRAY], axis=-1)


def _save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_rgb_is_kept(tmp_path: Path) -> None:
    pixels = read_image(_save(tmp_path / "a.png", Image.fromarray(RGB)), None)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, RGB)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    deep = mode == "I;16"
    image = Image.fromarray(GRAY.astype(np.uint16) * 257) if deep else Image.fromarray(RGB).convert(mode)
    assert image.mode == mode
    pixels = read_image(_save(tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}", image), None)
    expected = np.stack([GRAY] * 3, axis=-1) if deep else np.asarray(Image.fromarray(RGB).convert(mode).convert("RGB"))
    assert pixels.shape == (8, 8, 3)
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_not_laid_over_a_colour(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    image.putalpha(Image.fromarray(GRAY.T.copy()))
    expected = np.asarray(Image.fromarray(RGB).convert(mode[:-1]).convert("RGB"))
    assert np.array_equal(read_image(_save(tmp_path / "a.png", image), None), expected)


def test_exif_orientation_is_left_alone(tmp_path: Path) -> None:
    image = Image.fromarray(RGB[:, :6])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    image.save(tmp_path / "a.png", exif=exif)
    assert Image.open(tmp_path / "a.png").getexif()[0x0112] == 6
    assert np.array_equal(read_image(tmp_path / "a.png", None), RGB[:, :6])


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert np.array_equal(read_image(tmp_path / "a.png", None), np.asarray(image.convert("RGB")))


def test_size(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", Image.fromarray(RGB).resize((20, 10)))
    assert read_image(path, None).shape == (10, 20, 3)
    assert read_image(path, (4, 6)).shape == (4, 6, 3)
    assert np.array_equal(read_image(_save(tmp_path / "b.png", Image.fromarray(RGB)), (4, 4)), resize(RGB, 4))
    assert resize(RGB, None) is RGB


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "missing", "float"])
def test_damaged_image_names_its_path(tmp_path: Path, damage: str) -> None:
    path = _save(
        tmp_path / "bad.png", Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    )
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "text":
        path.write_text("not an image")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        path = _save(tmp_path / "bad.tif", Image.fromarray(np.zeros((4, 4), dtype=np.float32)))
    fix = "save it with 8 bits per channel" if damage == "float" else "replace or remove it"
    with pytest.raises(ImageError, match=rf"^{path}: not a readable image \(.+\); {fix}$"):
        read_image(path, None)
