"""Normalisation and augmentation, against plain arithmetic image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from search.data import augment as module
from search.data.augment import METHODS, augment, fit_normaliser, prepare
from search.data.errors import DataError
from search.data.store import ImageSet

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 6, 8, 3), dtype=np.uint8)
PIXELS[..., 1] //= 2
IMAGES = ImageSet(pixels=PIXELS, labels=np.arange(50) % 2, ids=np.array([str(n) for n in range(50)]), ids_digest="")
ROWS = np.arange(0, 50, 3)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(size: int = 32, number: int = 64) -> Tensor:
    images = torch.rand(number, 3, size, size, generator=_seeded(9)) + 1
    return images.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("chunk", [4, 1024])
def test_constants_come_from_the_training_part_only(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    part = PIXELS[ROWS].astype(np.float64) / 255
    fitted = fit_normaliser(IMAGES, ROWS, "global")
    assert fitted.mean == pytest.approx((part.mean(),) * 3)
    assert fitted.std == pytest.approx((part.std(),) * 3)
    fitted = fit_normaliser(IMAGES, ROWS, "channel")
    assert fitted.mean == pytest.approx(tuple(part.mean(axis=(0, 1, 2))))
    assert fitted.std == pytest.approx(tuple(part.std(axis=(0, 1, 2))))
    assert fit_normaliser(IMAGES, np.arange(50), "global") != fit_normaliser(IMAGES, ROWS, "global")


@pytest.mark.parametrize("method", ["global", "channel", "half", "unit"])
def test_prepare_is_the_formula(method: str) -> None:
    fitted = fit_normaliser(IMAGES, ROWS, method)
    images = prepare(torch.from_numpy(PIXELS), fitted)
    expected = (PIXELS / 255 - np.array(fitted.mean)) / np.array(fitted.std)
    assert images.shape == (50, 3, 6, 8)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert prepare(torch.from_numpy(PIXELS), fitted, torch.bfloat16).dtype == torch.bfloat16


def test_prepare_can_be_exported_with_any_batch_size() -> None:
    fitted = fit_normaliser(IMAGES, ROWS, "channel")

    class Prepare(torch.nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return prepare(pixels, fitted)

    pixels = torch.from_numpy(PIXELS)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(Prepare(), (pixels[:2],), dynamic_shapes=({0: batch},)).module()
    for number in (1, 2, 50):
        torch.testing.assert_close(program(pixels[:number]), prepare(pixels[:number], fitted))


def test_bounds_of_the_fixed_methods() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 1, 1, 3)
    assert prepare(ends, fit_normaliser(IMAGES, ROWS, "half"))[:, 0, 0, 0].tolist() == pytest.approx([-1, 1])
    assert prepare(ends, fit_normaliser(IMAGES, ROWS, "unit"))[:, 0, 0, 0].tolist() == pytest.approx([0, 1])


def test_no_contrast_or_unknown_method() -> None:
    flat = ImageSet(pixels=np.full_like(PIXELS, 7), labels=IMAGES.labels, ids=IMAGES.ids, ids_digest="")
    with pytest.raises(DataError, match="channel divides by the deviation of the pixels, which is 0"):
        fit_normaliser(flat, ROWS, "channel")
    with pytest.raises(DataError, match="normalise must be one of global, channel, half, unit, got 'zca'"):
        fit_normaliser(IMAGES, ROWS, "zca")
    with pytest.raises(DataError, match=r"augment must be one of none, hflip, .*, got 'mixup'"):
        augment(_batch(), "mixup", _seeded())


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("method", METHODS)
def test_seed_decides_and_form_is_kept(method: str, size: int) -> None:
    images = _batch(size)
    kept = images.clone()
    changed = augment(images, method, _seeded(1))
    assert torch.equal(images, kept)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(changed, augment(images, method, _seeded(1)))
    assert torch.equal(changed, augment(images, method, _seeded(2))) == (method == "none")


def _which(changed: Tensor, original: Tensor, options: dict[str, Callable[[Tensor], Tensor]]) -> list[str]:
    found = []
    for after, before in zip(changed, original, strict=True):
        found.append(next((name for name, change in options.items() if torch.equal(after, change(before))), "?"))
    return found


def test_flips_mirror_whole_images_half_of_the_time() -> None:
    images = _batch(8, 400)
    options: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda x: x,
        "h": lambda x: x.flip(2),
        "v": lambda x: x.flip(1),
        "hv": lambda x: x.flip(1, 2),
    }
    found = _which(augment(images, "hflip", _seeded()), images, options)
    assert set(found) == {"", "h"}
    assert 150 < found.count("h") < 250
    found = _which(augment(images, "hvflip", _seeded()), images, options)
    assert set(found) == {"", "h", "v", "hv"}
    assert all(60 < found.count(name) < 140 for name in options)


def test_crop_moves_by_up_to_four_of_thirty_two_and_fills_with_zero() -> None:
    images = _batch(32, 600)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    changed = augment(images, "crop_hflip", _seeded())
    offsets = set()
    for after, around in zip(changed, padded, strict=True):
        places = [
            (top, left)
            for top in range(9)
            for left in range(9)
            for window in [around[:, top : top + 32, left : left + 32]]
            if torch.equal(after, window) or torch.equal(after, window.flip(2))
        ]
        assert len(places) == 1
        offsets.update(places)
    assert {top for top, _ in offsets} == {left for _, left in offsets} == set(range(9))


def test_cutout_takes_a_square_of_eight_of_thirty_two() -> None:
    images = _batch(32, 300)
    changed = module._cutout(images, _seeded())
    holes = (changed == 0).all(dim=1)
    assert torch.equal(torch.where(holes[:, None], 0, images), changed)
    heights, widths = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(heights * widths, holes.sum(dim=(1, 2)))
    assert (int(heights.max()), int(widths.max())) == (8, 8)
    assert (int(heights.min()), int(widths.min())) == (4, 4)  # a centre on the border leaves half of the square inside


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_gpu_draws_the_same_changes(method: str) -> None:
    images = _batch()
    changed = augment(images.cuda(), method, _seeded(3))
    torch.testing.assert_close(changed.cpu(), augment(images, method, _seeded(3)))
