"""Recipes: what a file says, and what the built-in ones amount to."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from sdd_core import Dataset, Split
from sdd_core.errors import SddError
from sdd_core.plugin_manager import load_plugins
from sdd_core.recipes import SCALES, Recipe, find_recipe, overlay, read_recipes
from sdd_core.reproduce import prepare
from sdd_core.retraining import Dense
from sdd_core.sweeps import expand
from sdd_plugins.data.cifar import Cifar10
from sdd_plugins.data.mnist import LOOKALIKES

SCALE_TEXT = """
[[small]]
title = "digits"
settings = { seed = [0, 1], noise = { name = "symmetric", rate = 0.4 } }
[[medium]]
title = "more digits"
settings = { seed = [0, 1, 2] }
[[paper]]
title = "a"
settings = { seed = 0 }
[[paper]]
title = "b"
settings = { seed = 1 }
"""

RECIPE_TEXT = """
title = "More noise"
source = "Section 3"
claim = '''
More noise,
more trouble.'''
metrics = ["test_accuracy"]

[[vary]]
title = "rates"
settings = [{ noise = { rate = [0.1, 0.8] } }, { noise = "none" }]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scales.toml").write_text(SCALE_TEXT)
    (tmp_path / "noise.toml").write_text(RECIPE_TEXT)
    return tmp_path


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"seed": 1}, {}, {"seed": 1}),
        ({"seed": 1}, {"seed": [2, 3]}, {"seed": [2, 3]}),
        ({"noise": {"name": "symmetric", "rate": 0.4}}, {"noise": {"rate": 0.1}},
         {"noise": {"name": "symmetric", "rate": 0.1}}),
        ({"noise": {"name": "symmetric", "rate": 0.4}}, {"noise": {"name": "none"}},
         {"noise": {"name": "none"}}),
        ({"noise": {"name": "symmetric", "rate": 0.4}}, {"noise": "none"}, {"noise": "none"}),
        ({"retrain": "rewind"}, {"retrain": {"to": 3}}, {"retrain": {"name": "rewind", "to": 3}}),
        ({"retrain": "rewind"}, {"retrain": ["finetune"]}, {"retrain": ["finetune"]}),
        ({}, {"ablation": "reinit"}, {"ablation": "reinit"}),
    ],
)
def test_settings_are_laid_over_others_section_by_section(below, above, merged):
    before = {key: dict(value) if isinstance(value, dict) else value
              for key, value in below.items()}
    assert overlay(below, above) == merged
    assert below == before


def test_a_recipe_varies_the_settings_of_each_scale(folder):
    recipe = Recipe.read(folder / "noise.toml")
    assert (recipe.name, recipe.claim) == ("noise", "More noise, more trouble.")
    (small,) = recipe.figures["small"]
    assert (small.base, small.title) == ("digits", "rates")
    assert small.settings == (
        {"seed": [0, 1], "noise": {"name": "symmetric", "rate": [0.1, 0.8]}},
        {"seed": [0, 1], "noise": "none"},
    )
    assert [one.base for one in recipe.figures["paper"]] == ["a", "b"]


def test_a_recipe_may_have_a_scale_of_its_own(folder):
    own = '[[paper]]\ntitle = "own"\nsettings = { seed = 7 }\n'
    (folder / "noise.toml").write_text(RECIPE_TEXT + own)
    recipe = Recipe.read(folder / "noise.toml")
    assert [one.base for one in recipe.figures["paper"]] == ["own"]
    assert [one.base for one in recipe.figures["small"]] == ["digits"]


@pytest.mark.parametrize("missing", ["title", "source", "claim", "metrics"])
def test_what_a_recipe_lacks_is_named(folder, missing):
    lines = RECIPE_TEXT.replace("claim = '''\nMore noise,\nmore trouble.'''", "claim = 'x'")
    kept = [line for line in lines.splitlines() if not line.startswith(f"{missing} =")]
    head, _, rest = lines.partition("[[vary]]")
    if missing == "title":
        kept = [line for line in head.splitlines() if not line.startswith("title")]
        kept += ["[[vary]]", *rest.splitlines()]
    (folder / "noise.toml").write_text("\n".join(kept))
    with pytest.raises(SddError, match=f"noise.toml has no '{missing}'"):
        Recipe.read(folder / "noise.toml")


def test_an_unknown_recipe_is_refused_with_those_that_there_are(folder):
    with pytest.raises(SddError, match="no recipe is called 'niose'; there are noise"):
        find_recipe("niose", folder.glob("*.toml"))


SIZES = {"digits": 1000, "mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000,
         "cifar100": 50_000, "tiny-imagenet": 100_000}
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def data_root(tmp_path):
    """Where CIFAR-10 is as folders of images, one in each."""
    for part, name in product(("train", "test"), CIFAR10):
        folder = tmp_path / "cifar10-images" / part / name
        folder.mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / "1.png")
    return tmp_path


def stand_in(source, root):
    """What a data set says of its classes, with as many labels as it has, and no images."""
    classes = {"cifar100": 100, "tiny-imagenet": 200}.get(source.name, 10)
    about = {"confusions": getattr(source, "confusions", LOOKALIKES)}
    if source.name == "image-folder":
        about = {"confusions": source.load(root).confusions}
    elif source.name == "cifar100":
        about = {"superclasses": tuple(number // 5 for number in range(100))}
    size = source.examples or SIZES[source.name]
    split = Split(torch.zeros(size, 1), torch.arange(size) % classes)
    return Dataset(source.name, split, split, classes, **about)


@pytest.mark.parametrize("scale", SCALES)
def test_every_built_in_recipe_is_possible_at_every_scale(scale, data_root):
    """Its runs make a plan, its data's labels can be made wrong, its levels can be trained so."""
    plugins = load_plugins()
    recipes = read_recipes(plugins.recipe_files)
    assert {"fig1", "ticket", "noise-rates", "re-dense", "clean-labels", "learning-distance",
            "best-epoch", "flatness", "criteria", "schedules", "noise-types"} <= {
        recipe.name for recipe in recipes
    }
    looked_at = set()
    for recipe in recipes:
        prepared = prepare(recipe, scale, plugins)
        seeds = {one.seed for one in prepared.plan.experiments}
        assert len(seeds) >= (5 if scale == "small" else 3)
        assert {name for _, names in prepared.figures for name in names} == {*prepared.plan.names}
        for one in prepared.plan.experiments:
            parts = (one.data, one.noise, one.retrain, one.train)
            if (text := str(parts)) in looked_at:
                continue
            looked_at.add(text)
            data = stand_in(one.data, data_root)
            labels = data.train.labels
            noisy = one.noise.corrupt(labels.clone(), data, torch.Generator().manual_seed(0))
            assert (noisy != labels).any() == (one.noise.name != "none"), parts
            steps = math.ceil(len(labels) / one.train.batch_size)
            dense = Dense(np.full(one.train.epochs * steps, one.train.lr), steps)
            one.retrain.retraining(dense).check(one.retrain.name, dense)


def test_the_medium_scale_confuses_cifar10_as_cifar10_does(data_root):
    recipe = find_recipe("noise-types", load_plugins().recipe_files)
    plan = prepare(recipe, "medium", load_plugins(), on="cifar").plan
    assert {one.model.name for one in plan.experiments} == {"resnet20"}
    (confusions,) = [one.data.load(data_root).confusions for one in plan.experiments[:1]]
    assert confusions == Cifar10.confusions


def test_the_paper_scale_has_the_paper_s_hyperparameters():
    """He et al. (2022), Table 1."""
    plugins = load_plugins()
    recipe = find_recipe("schedules", plugins.recipe_files)
    of = {figure.base: expand(figure.settings, plugins) for figure in recipe.figures["paper"]}
    resnet = of["ResNet-18 on CIFAR-10"]
    assert {one.train.epochs for one in resnet} == {160}
    assert {one.train.milestones for one in resnet} == {(0.5, 0.75)}  # epochs 80 and 120
    assert {(one.train.lr, one.train.gamma, one.train.weight_decay) for one in resnet} == {
        (0.1, 0.1, 1e-4)
    }
    assert {(one.train.batch_size, one.train.momentum) for one in resnet} == {(128, 0.9)}
    rewinding = [one.retrain for one in resnet if one.retrain.name == "rewind"]
    assert {(one.to, one.unit) for one in rewinding} == {(1000, "step")}
    assert {one.retrain.lr for one in resnet if one.retrain.name == "finetune"} == {0.001}
    (vgg,) = {one.retrain.to for one in of["VGG-16 on CIFAR-10"] if one.retrain.name == "rewind"}
    assert vgg == 2000
    mnist = of["LeNet-300-100 on MNIST"]
    assert {(one.train.epochs, one.train.weight_decay, one.train.milestones) for one in mnist} == {
        (200, 0.0, ())
    }
    assert len({one.seed for one in mnist}) == 5
