"""Networks of libraries by name; timm itself is in tests/extras."""

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from torch import nn

from sdd_core import DataSource, Experiment, SddError, install_hint
from sdd_core.experiment.keys import dense_key
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
        ("torchvision:zzz", r"it has \d+ other networks"),
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
    hint = re.escape(install_hint(plugin.name))
    with pytest.raises(SddError, match=rf"needs {package}, .*; {hint}$"):
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": 1},
         "'torchvision:resnet18' has no option 'norm'; it has groups, norm_layer, "),
        ({"block": 1}, "has no option 'block'"),  # which makes it a resnet18
        ({"num_classes": 3}, "num_classes is set from the data; remove this option"),
        ({"norm_layer": "BatchNorm2d"}, "cannot be made with norm_layer='BatchNorm2d': TypeError"),
        ({"groups": "two", "progress": True}, "cannot be made with groups='two', progress=True: "),
        ({"width_per_group": [64]}, r"cannot be made with width_per_group=\[64\]: "),
    ],
)
def test_an_option_that_the_library_does_not_take_is_one_line(options, message):
    with pytest.raises(SddError, match=message) as refused:
        build("torchvision:resnet18", **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("weights", ["IMAGENET", "default", 3, True, ["DEFAULT"], {"a": 1}, ""])
def test_weights_that_torchvision_does_not_have_are_one_line_with_those_that_it_has(weights):
    with pytest.raises(SddError, match=r"no such weights of resnet18; available: IMAGENET1K_V1, "
                                       "DEFAULT") as refused:
        build("torchvision:resnet18", weights=weights)
    assert "\n" not in str(refused.value)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The cache of torchvision, empty, and no network."""
    def download(url, *_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_trained_weights_that_are_not_there_say_where_they_are_looked_for(hub):
    with pytest.raises(SddError) as refused:
        build("torchvision:resnet18", weights="DEFAULT")
    said = str(refused.value)
    assert f"IMAGENET1K_V1 are not in {hub / 'resnet18-f37072fd.pth'} and cannot be down" in said
    assert "put https://download.pytorch.org/models/resnet18-f37072fd.pth there" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.DEFAULT"])
def test_trained_weights_are_taken_from_the_cache_but_for_the_last_layer(hub, name):
    from torchvision import models

    torch.manual_seed(5)
    published = models.resnet18()
    with torch.no_grad():
        published.bn1.running_mean.fill_(0.25)
    torch.save(published.state_dict(), hub / "resnet18-f37072fd.pth")
    model = Experiment.make({"model": {"name": "torchvision:resnet18", "weights": name}}).model
    # a record says which weights they were, whatever becomes the default later
    assert model.model_dump() == {"name": "torchvision:resnet18", "weights": "IMAGENET1K_V1"}
    network, there = model.build((3, 32, 32), 7), published.state_dict()
    same = {n for n, value in network.state_dict().items() if torch.equal(value, there[n])}
    assert there.keys() - same == {"fc.weight", "fc.bias"}
    assert network.fc.weight.shape == (7, 512)
    whole = model.build((3, 32, 32), 1000).state_dict()
    assert all(torch.equal(value, there[n]) for n, value in whole.items())
    [line] = model.notes((3, 32, 32), 7)
    assert line.startswith("fc.weight, fc.bias are initialised, not taken from the trained")
    assert model.notes((3, 32, 32), 1000) == []
    fresh = model.fresh((3, 32, 32), 7)  # of levels that start anew
    assert not torch.equal(fresh.conv1.weight, there["conv1.weight"])


def test_a_damaged_file_of_weights_is_one_line(hub):
    (hub / "resnet18-f37072fd.pth").write_bytes(b"half a fi")
    with pytest.raises(SddError, match="cannot be made with weights='IMAGENET1K_V1'") as refused:
        build("torchvision:resnet18", weights="DEFAULT")
    assert "\n" not in str(refused.value)


def test_without_trained_weights_nothing_is_in_the_record_of_them():
    for weights in ({}, {"weights": None}):
        made = Experiment.make({"model": {"name": "torchvision:resnet18", **weights}})
        assert made.to_dict()["model"] == {"name": "torchvision:resnet18"}


def test_timms_trained_weights_are_what_the_dense_network_starts_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", FakeTimm)
    monkeypatch.setattr(FakeTimm, "asked", [])
    model = TimmModel.model_validate({"architecture": "sized", "pretrained": True})
    model.build((1, 8, 9), 5)
    model.fresh((1, 8, 9), 5)
    assert [one["pretrained"] for one in FakeTimm.asked] == [True, False]


def test_timms_head_and_first_layer_that_do_not_fit_are_named(monkeypatch):
    known = SimpleNamespace(num_classes=1000, input_size=(3, 224, 224), classifier="fc",
                            first_conv="conv1")
    monkeypatch.setitem(sys.modules, "timm", FakeTimm)
    monkeypatch.setattr(FakeTimm, "get_pretrained_cfg", lambda name: known, raising=False)
    usual = TimmModel(architecture="sized")
    assert usual.notes((1, 8, 9), 5) == []
    model = TimmModel.model_validate({"architecture": "sized", "pretrained": True})
    assert model.notes((3, 8, 9), 1000) == []
    assert model.notes((1, 8, 9), 5) == [
        "fc is initialised, not taken from the trained weights, which have 1000 classes",
        "timm adapts conv1 of the trained weights from 3 channels to 1",
    ]


def test_timms_mistakes_are_one_line_that_names_the_option(monkeypatch):
    def create(name, **options):
        if options["pretrained"]:
            raise FileNotFoundError("we cannot\nreach the hub")
        raise (TypeError("make() got an unexpected keyword argument 'depht'")
               if "depht" in options else ValueError("odd\nnumber"))

    monkeypatch.setitem(sys.modules, "timm", FakeTimm)
    monkeypatch.setattr(FakeTimm, "create_model", create)
    for options, message in (
        ({"depht": 3}, "'timm:sized' has no option 'depht'"),
        ({"depth": 3}, "'timm:sized' cannot be made with depth=3: ValueError: odd number"),
        ({"num_classes": 3}, "'timm:sized': num_classes is set from the data"),
        ({"in_chans": 3}, "'timm:sized': in_chans is set from the data"),
        ({"pretrained": True}, "weights are not in .* and cannot be downloaded .we cannot reach"),
    ):
        with pytest.raises(SddError, match=message) as refused:
            TimmModel.model_validate({"architecture": "sized", **options}).build((1, 8, 9), 5)
        assert "\n" not in str(refused.value)


def test_the_command_line_says_it_in_one_line(hub, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from sdd_core.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos_of_mine.py").write_text(
        "import torch\n\n\ndef own():\n    one = torch.rand(6, 3, 32, 32), torch.arange(6) % 2\n"
        "    return one, one\n")
    words = ["run", "--model=torchvision:resnet18", "--data=photos_of_mine:own",
             "--set", "model.weights=DEFAULT", "--device=cpu"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert str(hub) in done.stderr.splitlines()[-1]
    from torchvision import models

    torch.save(models.resnet18().state_dict(), hub / "resnet18-f37072fd.pth")
    words += ["--train.epochs=0", "--levels=0", "--noise=none", "--quiet"]
    trained = CliRunner().invoke(main, words)
    assert trained.exit_code == 0, trained.output
    lines = [line for line in trained.stderr.splitlines() if "are initialised" in line]
    assert lines == ["sdd: model 'torchvision:resnet18': fc.weight, fc.bias are initialised, not "
                     "taken from the trained weights, because their shapes differ"]
    shutil.rmtree("runs")
    assert "Traceback" not in done.stderr
    assert not Path("runs").exists()
