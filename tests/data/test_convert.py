"""Data in any form becomes tensors; what cannot is refused in one line with the item's number."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, TensorDataset

from sdd_core import Augmentation, Dataset, SddError, Split

IMAGES = torch.arange(6 * 4, dtype=torch.uint8).view(6, 1, 2, 2)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Items:
    """A map-style data set of the given items; `says` is its length."""

    def __init__(self, items, says=None):
        self.items, self.says = items, says

    def __len__(self):
        return len(self.items) if self.says is None else self.says

    def __getitem__(self, index):
        return self.items[index]


PAIRS = [(image / 255, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)]
GREY = [(Image.fromarray(i[0].numpy()), label) for i, label in zip(IMAGES, LABELS, strict=True)]


@pytest.mark.parametrize(
    "source",
    [
        (IMAGES, LABELS),
        [IMAGES.numpy(), LABELS.numpy().astype(np.int32)],
        (IMAGES.squeeze(1), LABELS.tolist()),
        TensorDataset(IMAGES, LABELS),
        Items(GREY),
        Split(IMAGES, LABELS),
    ],
    ids=["tensors", "arrays", "grey", "TensorDataset", "PIL", "Split"],
)
def test_every_form_gives_the_same_bytes(source):
    data = Dataset.of(source, (IMAGES, LABELS), name="mine", augmentation=Augmentation(1))
    assert data.train.images.dtype == torch.uint8
    assert torch.equal(data.train.images, IMAGES)
    assert torch.equal(data.train.labels, LABELS)
    assert (data.name, data.num_classes, data.augmentation) == ("mine", 3, Augmentation(1))


def test_colours_of_pil_come_first_and_floats_become_single():
    pixels = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    data = Dataset.of(
        Items([(Image.fromarray(p), n % 2) for n, p in enumerate(pixels)]),
        (torch.zeros(2, 3, 4, 5), [0, 1]),
    )
    assert torch.equal(data.train.images, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    doubles = (torch.rand(3, 7, dtype=torch.float64), [0, 1, 1])
    assert Dataset.of(doubles, doubles).train.images.dtype == torch.float32


def test_the_tensors_are_copies():
    images, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    data = Dataset.of((images, labels), (images, labels))
    images.fill_(9)
    labels.fill_(1)
    assert data.train.images.eq(0).all()
    assert data.train.labels.tolist() == [0, 1]


def test_random_transforms_are_drawn_once_and_nobody_notices():
    class Noisy(Items):
        def __getitem__(self, index):
            image, label = self.items[index]
            return image + torch.rand(()), label

    before = torch.random.get_rng_state()
    first, second = (Dataset.of(Noisy(PAIRS), PAIRS) for _ in range(2))
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(before, torch.random.get_rng_state())


class Stream(IterableDataset):
    def __iter__(self):
        return iter(PAIRS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Items(PAIRS, says=9), "split has a length of 9 items, but item 6 raised IndexError"),
        (Items([i for i, _ in PAIRS]), r"no label for item 0, which is a Tensor .* \[1, 2, 2\]"),
        (IMAGES, "no label for item 0"),
        (Items([(i, 0.5) for i, _ in PAIRS]), r"has the label 0.5 \(float\) for item 0"),
        (Items([(i, torch.eye(3)[0]) for i, _ in PAIRS]), r"has the label tensor.* for item 0"),
        (Items([*PAIRS, (torch.zeros(1, 2, 3), 0)]),
         r"several shapes: item 0 is \[1, 2, 2\], item 6 is \[1, 2, 3\]"),
        (Items([("cat.png", 0), ("dog.png", 1)]), "item 0 a str; expected an image"),
        (Items([({}, 0)]), "item 0 a dict; expected an image"),
        (Items([]), "the training split is empty"),
        (Items([(i, 1) for i, _ in PAIRS]), "'mine' has one class"),
        ((IMAGES, [0, 10**12, 20241201] * 2),
         "has 1,000,000,000,001 classes; at most .* have 5 different values, so .* from 0 to 4$"),
        (Items([(i, 10**30) for i, _ in PAIRS]), "has the label 10+ for item 0; expected a whole"),
        ((IMAGES, [0, 10**30] * 3), "a list of 6 for labels; expected a tensor"),
        (Items([(i, "cat") for i, _ in PAIRS]), r"the label 'cat' \(str\) for item 0; expected a"),
        (Items([(i, None) for i, _ in PAIRS]), r"the label None \(NoneType\) for item 0"),
        (Items([(i * torch.nan, n) for i, n in PAIRS]), "values that are not finite"),
        (Items([(i, n - 1) for i, n in PAIRS]), "labels from -1 to 1"),
        ((IMAGES, LABELS.float()), "labels of type torch.float32"),
        ((IMAGES, torch.eye(6)), r"labels of type torch.float32 and shape \[6, 6\]"),
        ((IMAGES, LABELS[:4]), "6 images but 4 labels"),
        ((IMAGES, ["cat"] * 6), "a list of 6 for labels; expected a tensor"),
        ((IMAGES.long(), LABELS), "images of type torch.int64"),
        ((torch.zeros(6, 8, 8, 3, dtype=torch.uint8), LABELS), r"channels last; expected \[N, C"),
        (Stream(), "is a Stream; expected a torch Dataset with a length"),
        (iter(PAIRS), "expected a torch Dataset with a length"),
        ({"a": 1}, "is a dict; expected a torch Dataset"),
        (None, "is None; expected a torch Dataset"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(source, message):
    with pytest.raises(SddError, match=message) as refused:
        Dataset.of(source, PAIRS, name="mine")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("data 'mine'")


def test_labels_that_are_not_numbers_are_refused_by_name():
    images, labels = torch.randn(4, 3), torch.full((4,), float("nan"))
    with pytest.raises(SddError, match="has labels of type torch"):
        Dataset.of((images, labels), (images, labels))
