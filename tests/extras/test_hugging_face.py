"""Data sets that the real `datasets` saved."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from sdd_core import Augmentation, Experiment, SddError

PIXELS = np.random.RandomState(0).randint(256, size=(6, 4, 5, 3), dtype=np.uint8)
FEATURES = datasets.Features(
    {"img": datasets.Image(), "fine": datasets.ClassLabel(names=["a", "b", "c"])}
)


@pytest.fixture
def folder(tmp_path):
    """Six images in three classes, the last two of them for testing, as `save_to_disk` has them."""
    rows = {"img": [Image.fromarray(p) for p in PIXELS], "fine": [0, 1, 2, 0, 1, 2]}
    everything = datasets.Dataset.from_dict(rows, features=FEATURES)
    saved = datasets.DatasetDict(
        {"train": everything.select(range(4)), "test": everything.select([4, 5])}
    )
    saved.save_to_disk(str(tmp_path / "saved"))
    everything.save_to_disk(str(tmp_path / "single"))
    return tmp_path


def source(**options):
    return Experiment.make({"data": {"name": "hf:saved", **options}}).data


def test_images_and_labels_as_they_were_saved(folder):
    data = source(image="img", label="fine", pad=1).load(folder).check()
    expected = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected[:4])
    assert torch.equal(data.test.images, expected[4:])
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1, 2, 0], [1, 2])
    assert (data.name, data.num_classes, data.augmentation) == ("hf:saved", 3, Augmentation(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "fine"}, "'hf:saved' has no column 'image'; set data.image to one of img, f"),
        ({"image": "img"}, "'hf:saved' has no column 'label'; set data.label to one of img, f"),
        ({"image": "img", "label": "fine", "test": "valid"},
         "'hf:saved' has no split 'valid'; it has train, test"),
        ({"name": "hf:nowhere"}, "'hf:nowhere': .*nowhere cannot be read"),
        ({"name": "hf:single"}, "has no split 'train'; it has one split without a name"),
    ],
)
def test_what_is_not_there_is_one_line(folder, options, message):
    with pytest.raises(SddError, match=message) as refused:
        source(**options).load(folder)
    assert "\n" not in str(refused.value)


def test_labels_that_are_text_are_refused_with_the_way_to_number_them(tmp_path):
    rows = datasets.Dataset.from_dict({"image": [[0.0], [1.0]], "label": ["cat", "dog"]})
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(SddError, match=r"text in its column 'label'.*class_encode_column\('label'"):
        source().load(tmp_path)
