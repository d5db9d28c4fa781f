"""Data sets that cannot be trained on are refused in one line."""

import math
from dataclasses import replace

import pytest
import torch

from sdd_core import Dataset, SddError, Split


def split(count: int = 4, shape: tuple[int, ...] = (1, 3, 3), labels: list | None = None) -> Split:
    labels = [number % 2 for number in range(count)] if labels is None else labels
    return Split(torch.zeros(count, *shape, dtype=torch.uint8), torch.tensor(labels))


GOOD = Dataset("mine", split(), split(2), 2, mean=(0.5,), std=(0.1,))


def test_a_good_one_is_itself():
    assert GOOD.check() is GOOD
    assert GOOD.input_shape == (1, 3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": split(0, labels=[])}, "'mine': the training split is empty"),
        ({"test": split(0, labels=[])}, "'mine': the test split is empty"),
        ({"train": split(4, labels=[0, 1])}, "training split has 4 images but 2 labels"),
        ({"test": split(1, labels=[0.0])}, r"test split has labels of type torch.float32"),
        ({"train": split(2, labels=[0, 2])}, "labels from 0 to 2; with 2 classes .* 0 and 1"),
        ({"test": split(2, labels=[-1, 1])},
         "test split has labels from -1 to 1.*; -1 often stands for examples without a label"),
        ({"test": split(2, labels=[-7, 1])}, "labels from -7 to 1; .* between 0 and 1$"),
        ({"num_classes": 10**12},
         "'mine' has 1,000,000,000,000 classes; at most 1,000,000 .* its labels have 2 different "
         "values, so number them from 0 to 1$"),
        ({"test": split(2, shape=(1, 3, 4))}, r"are \[1, 3, 3\], test images \[1, 3, 4\]"),
        (
            {"train": split(1, labels=[0]), "test": split(1, labels=[0]), "num_classes": 1},
            "one class; at least two",
        ),
        ({"train": split(3, labels=[1, 1, 1])}, r"'mine' has one class.* training labels are 1\)"),
        ({"test": split(2, labels=[[0, 1], [1, 0]])}, r"test split has labels .* shape \[2, 2\]"),
        ({"train": Split(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]))},
         "training split has images of type torch.int64; expected bytes"),
        ({"test": Split(torch.tensor([[0.0], [math.nan], [math.inf]]), torch.tensor([0, 1, 0]))},
         r"test split has 2 example\(s\) with values that are not finite, the first is number 1"),
        ({"mean": (0.5,) * 3, "std": (0.1,) * 3}, r"3 mean\(s\) and 3 .* images of 1 channel"),
        ({"std": ()}, r"1 mean\(s\) and 0 standard deviation"),
        ({"std": (0.0,)}, r"standard deviations \[0.0\]; they must be above 0"),
        ({"std": (float("nan"),)}, "must be above 0"),
    ],
)
def test_others_are_refused(change, message):
    with pytest.raises(SddError, match=message) as caught:
        replace(GOOD, **change).check()
    assert "\n" not in str(caught.value)


def test_floats_of_any_shape_and_without_mean():
    examples = Split(torch.zeros(3, 7), torch.tensor([0, 1, 1]))
    assert Dataset("mine", examples, examples, 2).check().input_shape == (7,)


def test_labels_are_the_true_ones_unless_noise_changed_them():
    labels = torch.tensor([0, 1, 1])
    clean = Split(torch.zeros(3, 1), labels)
    assert clean.true_labels is labels
    assert not clean.mislabelled.any()
    noisy = replace(clean, labels=torch.tensor([0, 0, 1]))
    assert noisy.mislabelled.tolist() == [False, True, False]
    assert len(noisy) == 3
