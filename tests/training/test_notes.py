"""What a run says before it begins, about data that the network cannot learn as it is numbered."""

import pytest
import torch
from support import go

from sdd_core import Dataset, Split

SETTINGS = {"model": {"name": "mlp", "widths": [4]}, "train": {"epochs": 1}, "levels": 0}


def pair(labels):
    return torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0)), labels


@pytest.mark.parametrize(("train", "test", "line"), [
    ([0, 5, 9], [9, 0], "7 of 10 classes have no training example (1, 2, 3, 4, 6, 7 and 1 more) "
     "and no test example, but each is an output of the network; number the labels from 0 without "
     "gaps to avoid that"),
    ([1, 2], [2, 1], "1 of 3 classes have no training example (0) and no test example, but each is "
     "an output of the network; number the labels from 0 without gaps to avoid that"),
    ([0, 1], [0, 2, 3, 3], "2 of 4 classes have no training example (2, 3), and 3 test examples "
     "belong to them"),
    ([0, 1], [0, 2], "1 of 3 classes have no training example (2), and 1 test example belongs to "
     "them"),
    ([5000, 0], [0], "4,999 of 5,001 classes have no training example (1, 2, 3, 4, 5, 6 and 4993 "
     "more) and no test example, but each is an output of the network; number the labels from 0 "
     "without gaps to avoid that"),
    ([0, 1, 2], [0], None),
])  # fmt: skip
def test_classes_without_examples_are_said(tmp_path, capsys, train, test, line):
    go({**SETTINGS, "data": (pair(train), pair(test))}, tmp_path)
    said = [one for one in capsys.readouterr().err.splitlines() if "training example" in one]
    assert said == ([] if line is None else [f"sdd: {line}"])


def test_label_noise_makes_no_examples_of_a_class(tmp_path, capsys):
    """Its labels fall on classes that have no example of their own."""
    data = pair([0, 2] * 40), pair([0, 2])
    result = go({**SETTINGS, "data": data, "noise": {"name": "symmetric", "rate": 0.9}}, tmp_path)
    assert result.changed_labels > 0
    assert "1 of 3 classes have no training example (1)" in capsys.readouterr().err


def test_few_examples_of_many_classes(tmp_path, capsys):
    labels = list(range(10)) * 3
    train = Split(torch.randn(30, 3), torch.tensor(labels))
    go({**SETTINGS, "data": Dataset("mine", train, train, 10)}, tmp_path)
    assert "training example" not in capsys.readouterr().err
    few = {"name": "digits", "examples": 4}
    go({**SETTINGS, "data": few, "noise": {"name": "none"}}, tmp_path)
    assert " of 10 classes have no training example (" in capsys.readouterr().err
