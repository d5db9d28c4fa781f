"""Networks of libraries by name; timm itself is in tests/extras."""

import sys

import pytest
import torch
from torch import nn

from sdd_core import DataSource, Experiment, SddError
from sdd_core.keys import dense_key
from sdd_plugins.data.hugging_face import HuggingFace
from sdd_plugins.models.timm_models import TimmModel


def build(name, **options):
    model = Experiment.make({"model": {"name": name, **options}}).model
    return model.build((3, 32, 32), 7)


def test_torchvisions_network_by_its_name():
    network = build("torchvision:mobilenet_v3_small", dropout=0.0)
    assert network.classifier[2].p == 0.0
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_name_is_in_the_record_and_gives_the_model_back():
    made = Experiment.make({"model": {"name": "torchvision:resnet18", "norm": 1}})
    assert made.to_dict()["model"] == {"name": "torchvision:resnet18", "norm": 1}
    assert Experiment.make(made.to_dict()) == made
    apart = {"name": "torchvision", "architecture": "resnet18", "norm": 1}
    assert Experiment.make({"model": apart}) == made
    others = [{"name": "torchvision:resnet18"}, {"name": "torchvision:resnet34", "norm": 1}]
    keys = {dense_key(Experiment.make({"model": model})) for model in others}
    assert len(keys | {dense_key(made)}) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet19", "resnet19': torchvision.models has no such .* resnet18"),
        ("torchvision:deeplabv3_resnet50", "has no such classifier"),
        ("torchvision:zzz", r"it has \d+ others"),
    ],
)
def test_an_unknown_name_is_one_line(name, message):
    with pytest.raises(SddError, match=message) as refused:
        build(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["torchvision", "torchvision:"])
def test_the_name_alone_is_not_enough(name):
    with pytest.raises(SddError, match="model") as refused:
        build(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("plugin", "package"),
    [(TimmModel(architecture="resnet18"), "timm"), (HuggingFace(path="folder"), "datasets")],
)
def test_a_library_that_is_missing_is_one_line(monkeypatch, plugin, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SddError, match=rf"needs {package}, .*; pip install 'sdd\[{plugin.name}\]'"):
        plugin.load(None) if isinstance(plugin, DataSource) else plugin.build((3, 8, 8), 2)


class FakeTimm:
    """Notes what it is asked for; of its two networks one takes a size."""

    asked: list = []

    @staticmethod
    def is_model(name):
        return name in {"sized", "unsized"}

    @staticmethod
    def list_models():
        return ["sized", "unsized"]

    @classmethod
    def create_model(cls, name, **options):
        cls.asked.append({"name": name, **options})
        if name == "unsized" and "img_size" in options:
            raise TypeError("Unsized got an unexpected keyword argument 'img_size'")
        return nn.Identity()


def test_timm_is_told_what_the_data_is_like(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", FakeTimm)
    monkeypatch.setattr(FakeTimm, "asked", [])
    usual = {"pretrained": False, "num_classes": 5, "in_chans": 1}
    TimmModel.model_validate({"architecture": "sized", "depth": 3}).build((1, 8, 9), 5)
    TimmModel(architecture="unsized").build((1, 8, 9), 5)
    TimmModel.model_validate({"architecture": "sized", "img_size": 16}).build((1, 8, 9), 5)
    assert FakeTimm.asked == [
        {"name": "sized", **usual, "depth": 3, "img_size": (8, 9)},
        {"name": "unsized", **usual, "img_size": (8, 9)},
        {"name": "unsized", **usual},
        {"name": "sized", **usual, "img_size": 16},
    ]
    with pytest.raises(SddError, match="timm has no such network; did you mean sized"):
        TimmModel(architecture="sizd").build((1, 8, 9), 5)
