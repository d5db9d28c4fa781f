"""Batches against crops and normalisation of one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sdd_core import Augmentation, Dataset, Split
from sdd_core.data import resident
from sdd_core.data.resident import AugmentationDraws, DeviceDataset, crop, normalise, padded_views

CPU = torch.device("cpu")
MEAN, STD = (0.1, 0.4), (0.2, 0.5)


def dataset(count: int = 10, *, float_images: bool = False, **about) -> Dataset:
    draw = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, 2, 5, 4), dtype=torch.uint8, generator=draw)
    if float_images:
        images = images.float()
    split = Split(images, torch.arange(count) % 2)
    return Dataset("mine", split, split, 2, **({"mean": MEAN, "std": STD} | about))


def seen(images: Tensor, scale: float = 255.0) -> np.ndarray:
    """What a network sees, by numpy in double precision."""
    channels = images.numpy().astype(np.float64) / scale
    shape = (1, 2, 1, 1)
    return (channels - np.array(MEAN).reshape(shape)) / np.array(STD).reshape(shape)


def one_by_one(images: Tensor, pad: int, top: list, left: list, flip: list) -> Tensor:
    """Crops made pixel by pixel."""
    _, _, height, width = images.shape
    out = torch.zeros_like(images)
    for index, image in enumerate(images):
        for y in range(height):
            for x in range(width):
                from_y = y + top[index] - pad
                from_x = (width - 1 - x if flip[index] else x) + left[index] - pad
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[index, :, y, x] = image[:, from_y, from_x]
    return out


@settings(max_examples=25)
@given(st.data(), st.integers(0, 3), st.integers(1, 6))
def test_a_batch_of_crops_is_each_image_cropped_by_itself(data, pad, count):
    images = dataset(7).train.images
    draws = st.lists(st.integers(0, 2 * pad), min_size=count, max_size=count)
    top, left = data.draw(draws), data.draw(draws)
    flip = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    chosen = torch.tensor(
        data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    )
    first = data.draw(st.integers(0, 2))
    before = [0] * first  # crops of an epoch, of which the batch has the last
    crops = AugmentationDraws(
        torch.tensor(before + top), torch.tensor(before + left),
        torch.tensor([False] * first + flip),
    )
    padded = torch.nn.functional.pad(images, (pad,) * 4)
    expected = one_by_one(images[chosen], pad, top, left, flip)
    on_gpu = padded.unfold(2, 5, 1).unfold(3, 4, 1)
    for places in (padded_views(padded, (2, 5, 4)), on_gpu):
        found = crop(places, chosen, crops, slice(first, first + count))
        assert torch.equal(found, expected)


@pytest.mark.parametrize("float_images", [False, True])
def test_normalise_is_the_formula_and_leaves_the_images_alone(float_images):
    data = dataset(float_images=float_images)
    before = data.train.images.clone()
    np.testing.assert_allclose(normalise(data.train.images, data), seen(before), atol=2e-6)
    assert torch.equal(data.train.images, before)


def test_normalise_knows_other_scales_and_no_mean():
    images = torch.tensor([[[[0, 8]]]], dtype=torch.uint8)
    split = Split(images, torch.tensor([0]))
    data = Dataset("mine", split, split, 2, scale=16.0)
    assert normalise(images, data).tolist() == [[[[0, 0.5]]]]
    values = torch.tensor([[3.0, -1.0]])
    split = Split(values, torch.tensor([0]))
    data = Dataset("mine", split, split, 2)
    assert torch.equal(normalise(values, data), values)
    data = Dataset("mine", split, split, 2, mean=(1.0, 1.0), std=(2.0, 4.0), scale=1.0)
    assert normalise(values, data).tolist() == [[1.0, -0.5]]


@pytest.mark.parametrize("float_images", [False, True])
@pytest.mark.parametrize("small_memory", [False, True])
@pytest.mark.parametrize("augment", [False, True])
def test_a_batch_is_what_the_network_should_see(monkeypatch, float_images, small_memory, augment):
    if small_memory:
        monkeypatch.setattr(resident, "NORMALISED_BYTES", 8)
    data = dataset(float_images=float_images, augmentation=Augmentation(pad=1, flip=True))
    raw = data.train.images.clone()
    frozen = DeviceDataset(data, CPU, augment)
    order = frozen.order(0, 1, 2)
    crops = frozen.crops(0, 1, 2)
    assert (crops is not None) == augment
    rows = slice(4, 8)
    batch = frozen.batch(order, crops, rows, frozen.buffer(4))
    images = raw[order[rows]]
    if crops is not None:
        images = one_by_one(
            images, 1, crops.top[rows].tolist(), crops.left[rows].tolist(),
            crops.flip[rows].tolist(),
        )
    np.testing.assert_allclose(batch, seen(images), atol=2e-6)
    assert batch.dtype == torch.float32
    assert torch.equal(data.train.images, raw)
    # Test images are the same images here; they are never augmented.
    tested = frozen.test_images
    tested = tested if tested.is_floating_point() else normalise(tested, data)
    np.testing.assert_allclose(tested, seen(raw), atol=2e-6)


def test_the_last_batch_may_be_smaller():
    frozen = DeviceDataset(dataset(10), CPU, augment=False)
    order = frozen.order(0, 0, 0)
    batch = frozen.batch(order, None, slice(8, 12), frozen.buffer(4))
    np.testing.assert_allclose(batch, seen(frozen.data.train.images[order[8:]]), atol=2e-6)


def test_a_batch_size_beyond_the_data_takes_no_memory():
    assert len(DeviceDataset(dataset(10), torch.device("cpu"), augment=False).buffer(10**15)) == 10


def test_orders_are_permutations_that_depend_on_seed_level_and_epoch():
    frozen = DeviceDataset(dataset(50), CPU, augment=False)
    orders = [frozen.order(*path) for path in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert all(order.sort().values.tolist() == list(range(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(frozen.order(0, 0, 1), orders[3])


def test_crops_reach_every_place_and_flip_half():
    data = dataset(4000, augmentation=Augmentation(pad=2, flip=True))
    crops = DeviceDataset(data, CPU, augment=True).crops(0, 0, 0)
    for offsets in (crops.top, crops.left):
        counts = offsets.bincount(minlength=5)
        assert len(counts) == 5
        assert (counts - 800).abs().max() < 130  # five standard deviations
    assert abs(int(crops.flip.sum()) - 2000) < 160
    prune_ties = torch.corrcoef(torch.stack([crops.top, crops.left, crops.flip]).double())
    assert (prune_ties - torch.eye(3)).abs().max() < 0.08


def test_without_flip_nothing_is_flipped():
    data = dataset(200, augmentation=Augmentation(pad=2))
    assert not DeviceDataset(data, CPU, augment=True).crops(0, 0, 0).flip.any()


def test_what_is_no_image_is_not_augmented():
    split = Split(torch.rand(5, 7), torch.arange(5) % 2)
    data = Dataset("mine", split, split, 2, augmentation=Augmentation(pad=1))
    frozen = DeviceDataset(data, CPU, augment=True)
    assert frozen.crops(0, 0, 0) is None
    order = frozen.order(0, 0, 0)
    batch = frozen.batch(order, None, slice(0, 3), frozen.buffer(3))
    assert torch.equal(batch, split.images[order[:3]])
