"""Handwritten digits that need no download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from sdd_core import Dataset, DataSource, Split
from sdd_plugins.data.mnist import LOOKALIKES

TRAINING_IMAGES = 1000


class Digits(DataSource):
    """1,797 handwritten digits of 8x8 pixels, from scikit-learn's wheel.

    1,000 images are for training and 797 for testing, split once and for all by a fixed
    permutation. In the file's own order the images of one writer follow each other, so that its
    first 1,000 images and the rest come from different writers: a test on those would mix
    overfitting with the change of handwriting.
    """

    name = "digits"
    default_noise = "symmetric"
    source = "UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)"

    def load(self, root: Path | None) -> Dataset:
        rows = _rows()
        images = torch.from_numpy(rows[:, :-1].astype(np.uint8)).view(-1, 1, 8, 8)
        labels = torch.from_numpy(rows[:, -1].astype(np.int64))
        # numpy guarantees the same draws of RandomState in every version; torch does not.
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
        train, test = order[:TRAINING_IMAGES], order[TRAINING_IMAGES:]
        return Dataset(
            name=self.name,
            train=Split(images[train], labels[train]),
            test=Split(images[test], labels[test]),
            num_classes=10,
            mean=(0.3051,),
            std=(0.3753,),
            scale=16.0,
            confusions=LOOKALIKES,
        )


def _rows() -> np.ndarray:
    """Return scikit-learn's table of digits `[images, 64 pixels and the label]`.

    Its file is read directly where it is known, because importing scikit-learn takes a second.
    """
    found = find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # noqa: PLC0415

    bunch = load_digits()
    return np.column_stack([bunch["data"], bunch["target"]])
