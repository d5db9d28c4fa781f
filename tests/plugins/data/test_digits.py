import numpy as np
import torch
from sklearn.datasets import load_digits

from sdd_core.data.resident import normalise
from sdd_plugins.data.digits import Digits
from sdd_plugins.data.mnist import Mnist


def test_the_split_is_fixed_and_has_every_image_once():
    data = Digits().load(None).check()
    assert data.train.images.shape == (1000, 1, 8, 8)
    assert data.test.images.shape == (797, 1, 8, 8)
    assert data.train.images.dtype == torch.uint8
    bunch = load_digits()
    everything = np.concatenate([data.train.images.flatten(1), data.test.images.flatten(1)])
    labels = np.concatenate([data.train.labels, data.test.labels])
    found = sorted((tuple(pixels), label) for pixels, label in zip(everything, labels, strict=True))
    there = sorted(
        (tuple(pixels), label) for pixels, label in zip(bunch["data"], bunch["target"], strict=True)
    )
    assert found == there
    # The first labels of both splits, written down once: the split must never change.
    assert data.train.labels[:12].tolist() == FIRST_TRAINING_LABELS
    assert data.test.labels[:12].tolist() == FIRST_TEST_LABELS


FIRST_TRAINING_LABELS = [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]
FIRST_TEST_LABELS = [2, 1, 9, 2, 3, 1, 7, 7, 4, 5, 6, 5]


def test_every_class_is_in_both_splits_and_writers_are_mixed():
    data = Digits().load(None)
    for split in (data.train, data.test):
        shares = split.labels.bincount(minlength=10) / len(split)
        assert shares.min() > 0.08


def test_what_a_network_sees_has_mean_0_and_deviation_1():
    data = Digits().load(None)
    seen = normalise(data.train.images, data)
    assert abs(seen.mean()) < 0.01
    assert abs(seen.std() - 1) < 0.01


def test_digits_are_taken_for_others_as_in_mnist():
    assert Digits().load(None).confusions == Mnist.confusions == {2: 7, 3: 8, 5: 6, 6: 5}
