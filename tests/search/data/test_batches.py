"""Batches: every image once, in a seeded order, without copies of the data."""

from __future__ import annotations

import gc
import itertools
import warnings

import numpy as np
import pytest
import torch

from search.data import batches as module
from search.data.batches import EvalBatches, TrainBatches
from search.data.errors import DataError
from search.data.store import ImageSet

CPU = torch.device("cpu")


def _images(number: int = 100) -> ImageSet:
    """Images whose first pixel tells which they are."""
    pixels = np.repeat(np.arange(number, dtype=np.uint8), 4 * 4 * 3).reshape(number, 4, 4, 3)
    pixels.flags.writeable = False
    return ImageSet(pixels=pixels, labels=np.arange(number) % 7, ids=np.arange(number).astype(np.str_), ids_digest="")


def _order(batches: TrainBatches | EvalBatches, seed: int = 0) -> list[list[int]]:
    source = batches.epoch(torch.Generator().manual_seed(seed)) if isinstance(batches, TrainBatches) else iter(batches)
    found = []
    for pixels, labels in source:
        assert pixels.dtype == torch.uint8
        assert pixels.shape[1:] == (4, 4, 3)
        assert labels.dtype == torch.int64
        rows = pixels[:, 0, 0, 0].long()
        assert torch.equal(rows % 7, labels)
        found.append(rows.tolist())
    return found


def test_every_image_once_in_a_seeded_order() -> None:
    rows = np.arange(0, 100, 2)
    batches = TrainBatches(_images(), rows, 16, CPU)
    first = _order(batches, 1)
    assert [len(batch) for batch in first] == [16, 16, 16, 2]
    assert len(batches) == 4
    assert sorted(itertools.chain(*first)) == rows.tolist()
    assert first == _order(batches, 1)
    assert first != _order(batches, 2)


@pytest.mark.parametrize("first", range(5))
def test_an_epoch_that_goes_on_has_the_batches_that_are_missing(first: int) -> None:
    batches = TrainBatches(_images(), np.arange(0, 100, 2), 16, CPU)
    missing = batches.epoch(torch.Generator().manual_seed(1), first=first)
    rows = [pixels[:, 0, 0, 0].tolist() for pixels, _ in missing]
    assert rows == _order(batches, 1)[first:]


@pytest.mark.parametrize(
    ("number", "size", "sizes"),
    [(33, 16, [16, 17]), (32, 16, [16, 16]), (34, 16, [16, 16, 2]), (3, 2, [3]), (8, 8, [8]), (2, 2, [2])],
)
def test_no_batch_of_one(number: int, size: int, sizes: list[int]) -> None:
    batches = TrainBatches(_images(), np.arange(number), size, CPU)
    assert [len(batch) for batch in _order(batches)] == sizes
    assert len(batches) == len(sizes)


def test_batch_larger_than_the_training_part() -> None:
    with pytest.raises(DataError, match=r"train\.batch must be at most the 7 training images, got 8"):
        TrainBatches(_images(), np.arange(7), 8, CPU)


@pytest.mark.parametrize(("number", "size"), [(1, 8), (0, 8), (8, 1)])
def test_too_few_images_to_train(number: int, size: int) -> None:
    with pytest.raises(DataError, match=f"training needs 2 images and batches of 2 or more, got {number} and {size}"):
        TrainBatches(_images(), np.arange(number), size, CPU)


def test_scoring_keeps_the_order() -> None:
    rows = np.arange(5, 38)
    batches = EvalBatches(_images(), rows, 16, CPU)
    assert [len(batch) for batch in _order(batches)] == [16, 16, 1]
    assert len(batches) == 3
    assert list(itertools.chain(*_order(batches))) == rows.tolist()


def test_read_only_files_give_writable_batches_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels, _ = next(iter(EvalBatches(_images(), np.arange(10), 4, CPU)))
        pixels += 1


def _lies_on_device_once(device: torch.device) -> None:
    images = _images()
    rows = np.arange(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = TrainBatches(images, rows, 16, device), EvalBatches(images, rows, 16, device)
    assert first._fetch._pixels is second._fetch._pixels is not None
    assert len(module._resident) == 1
    del first, second, images
    gc.collect()
    assert not module._resident


def test_a_set_lies_on_a_device_once_and_only_while_it_is_used() -> None:
    _lies_on_device_once(torch.device("meta"))


@pytest.mark.gpu
def test_gpu_gives_the_same_batches() -> None:
    images, rows, device = _images(), np.arange(3, 90), torch.device("cuda")
    assert _order(TrainBatches(images, rows, 16, CPU)) == [
        pixels[:, 0, 0, 0].long().tolist()
        for pixels, _ in TrainBatches(images, rows, 16, device).epoch(torch.Generator().manual_seed(0))
    ]
    del images
    gc.collect()
    _lies_on_device_once(device)
