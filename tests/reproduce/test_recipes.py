"""Recipes: what a file says, and what the built-in ones amount to."""

import math
import re
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from sdd_core import Dataset, Split
from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.level.retraining import Dense, Retraining
from sdd_core.plugin.discovery import load_plugins
from sdd_core.reproduce.recipes import SCALES, Recipe, find_recipe, overlay, read_recipes
from sdd_core.reproduce.reproduce import prepare
from sdd_core.sweeps import expand
from sdd_core.training.learning_rates import dense_learning_rates
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


def test_a_figure_may_be_of_some_scales_only(folder):
    file = folder / "noise.toml"
    file.write_text(f"""{RECIPE_TEXT}
scales = ["small", "medium"]
[[vary]]
title = "as it is"
settings = [{{}}]
scales = ["paper"]
""")
    figures = Recipe.read(file).figures
    assert {scale: [one.title for one in figures[scale]] for scale in SCALES} == {
        "small": ["rates"], "medium": ["rates"], "paper": ["as it is"] * 2}
    assert figures["paper"][1].settings == ({"seed": 1},)


def test_an_unknown_scale_of_a_figure_is_named(folder):
    file = folder / "noise.toml"
    file.write_text(f'{RECIPE_TEXT}\nscales = ["tiny"]\n')
    with pytest.raises(SddError, match=r"noise\.toml: no scale is called 'tiny'"):
        Recipe.read(file)


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
            "best-epoch", "flatness", "criteria", "schedules", "noise-types", "momentum"} <= {
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


@dataclass(frozen=True)
class Row:
    """A row of Table 1, and what the text and the authors' commands say of the same network.

    milestones: epochs. noise: of the paper's figures, where a recipe does not vary it. warmup:
    epochs, by default in the authors' code. exempt: layers that are never pruned (appendix B).
    """

    data: str
    model: str
    epochs: int
    batch_size: int
    momentum: float
    lr: float
    milestones: tuple[int, ...]
    weight_decay: float
    rewind: int
    finetune: float | None
    re_dense: float | None
    noise: float
    seeds: int
    levels: int = 30
    warmup: float = 0.0
    exempt: tuple[str, ...] = ()


LENET = Row("mnist", "mlp", 200, 128, 0.0, 0.1, (), 0.0, 0, 0.1, 0.1, 0.2, 5, exempt=("output",))
RESNET = Row("cifar10", "resnet18", 160, 128, 0.9, 0.1, (80, 120), 1e-4, 1000, 0.001, 0.001, 0.2, 3)
VGG = replace(RESNET, model="vgg16", rewind=2000, exempt=("fc",))
TABLE_1 = {
    "LeNet-300-100 on MNIST, no momentum": LENET,
    # Section 2.2 in place of the table.
    "LeNet-300-100 on MNIST, momentum 0.9": replace(LENET, momentum=0.9),
    "ResNet-18 on CIFAR-10": RESNET,
    "ResNet-18 on CIFAR-100": replace(RESNET, data="cifar100", noise=0.4),
    "VGG-16 on CIFAR-10": VGG,
    "VGG-16 on CIFAR-100": replace(VGG, data="cifar100", noise=0.4),
}
TINY = Row("tiny-imagenet", "tiny-imagenet-resnet101", 200, 512, 0.9, 0.2, (100, 150), 1e-4, 1000,
           None, None, 0.2, 3, levels=16, warmup=5.0)


def at_paper_scale(recipe, base):
    """The experiments of a recipe on one of the pairs of data and model."""
    plugins = load_plugins()
    figures = find_recipe(recipe, plugins.recipe_files).figures["paper"]
    found = [one for figure in figures if figure.base == base
             for one in expand(figure.settings, plugins)]
    assert found, [figure.base for figure in figures]
    return found


def check_row(row, experiments):
    for one in experiments:
        train = one.train
        assert (one.data.name, one.model.name, one.levels) == (row.data, row.model, row.levels)
        assert (train.epochs, train.batch_size, train.optimizer.momentum) == (
            row.epochs, row.batch_size, row.momentum)
        assert (train.lr, train.weight_decay, train.optimizer.name) == (
            row.lr, row.weight_decay, "sgd")
        assert tuple(at * row.epochs for at in train.decay.milestones) == row.milestones
        assert (train.decay.gamma, train.decay.name) == (0.1, "steps")
        assert train.warmup_epochs == row.warmup
        assert (one.pruner.fraction, one.pruner.scope.name) == (0.2, "global")
        assert one.pruner.exempt is None
        assert one.model.exempt() == row.exempt
        # Kaiming normal: the convolutional networks have nothing else.
        assert getattr(one.model, "init", "kaiming") == "kaiming"
        if one.retrain.name == "rewind":
            assert (one.retrain.to, one.retrain.unit) == (row.rewind, "step")
        if one.retrain.name == "finetune":
            assert one.retrain.lr == row.finetune
    assert len({one.seed for one in experiments}) == row.seeds


@pytest.mark.parametrize("base", TABLE_1)
@pytest.mark.parametrize("recipe", [
    "best-epoch", "clean-labels", "criteria", "fig1", "flatness", "learning-distance",
    "noise-rates", "noise-types", "re-dense", "schedules", "ticket",
])
def test_the_paper_scale_has_the_paper_s_hyperparameters(recipe, base):
    """He et al. (2022), Table 1, in every recipe that has no scale of its own."""
    row, experiments = TABLE_1[base], at_paper_scale(recipe, base)
    check_row(row, experiments)
    rates = {one.noise.rate for one in experiments if one.noise.name != "none"}
    at_one_rate = {"best-epoch", "criteria", "fig1", "flatness", "noise-types", "re-dense",
                   "schedules"}
    if recipe in at_one_rate:
        assert rates == {row.noise}
    elif recipe != "clean-labels":
        assert rates >= {0.2, 0.4}


@pytest.mark.parametrize("base", TABLE_1)
def test_finetuning_and_re_dense_training_have_the_paper_s_learning_rates(base):
    row = TABLE_1[base]
    finetuning = [one for one in at_paper_scale("schedules", base)
                  if one.retrain.name == "finetune"]
    assert {one.retrain.lr for one in finetuning} == {row.finetune}
    changed = [one for one in at_paper_scale("re-dense", base) if one.ablation is not None]
    assert {one.ablation.lr for one in changed} == {"last", "dense"}
    for one in changed:
        dense = Dense(dense_learning_rates(one.train, 10), 10)
        usual = Retraining("rewind point", dense.learning_rates)
        constant = np.full(row.epochs * 10, row.re_dense)
        np.testing.assert_allclose(
            one.ablation.retraining(dense, usual, 1).learning_rates,
            constant if one.ablation.lr == "last" else dense.learning_rates, rtol=1e-12,
        )  # fmt: skip


def test_tiny_imagenet_is_trained_as_the_authors_do():
    experiments = at_paper_scale("one-shot", "ResNet-101 on Tiny ImageNet")
    check_row(TINY, experiments)
    assert {one.noise.rate for one in experiments} == {TINY.noise}
    assert {one.pruner.from_dense for one in experiments} == {True, False}


@pytest.mark.parametrize(
    ("on", "momenta"), [("no momentum", {0.0}), ("momentum 0.9", {0.9}), ("lenet", {0.0, 0.9})]
)
def test_lenet_may_be_asked_for_with_momentum_and_without(on, momenta):
    recipe = find_recipe("fig1", load_plugins().recipe_files)
    plan = prepare(recipe, "paper", load_plugins(), on=on).plan
    assert {one.train.optimizer.momentum for one in plan.experiments} == momenta


@pytest.mark.parametrize("scale", SCALES)
def test_a_recipe_compares_lenet_with_momentum_and_without(scale):
    plugins = load_plugins()
    (figure,) = find_recipe("momentum", plugins.recipe_files).figures[scale]
    experiments = expand(figure.settings, plugins)
    assert {one.train.optimizer.momentum for one in experiments} == {0.0, 0.9}
    assert {one.model.name for one in experiments} == {"mlp"}
    if scale == "paper":
        for momentum in (0.0, 0.9):
            check_row(replace(LENET, momentum=momentum),
                      [one for one in experiments if one.train.optimizer.momentum == momentum])


def test_sections_are_those_of_the_icml_text():
    """2 has the experiments, 3 why, 4 the discussion; the conclusion, 5, claims nothing new."""
    for recipe in read_recipes(load_plugins().recipe_files):
        sections = re.findall(r"[Ss]ections? (\d)", recipe.source)
        assert sections or "Figure 30" in recipe.source, recipe.name
        assert set(sections) <= {"2", "3", "4"}, recipe.name
    sections = {"fig1": "2.3", "learning-distance": "3.2", "flatness": "3.1", "ticket": "4",
                "best-epoch": "4", "re-dense": "3.1"}
    for name, section in sections.items():
        source = find_recipe(name, load_plugins().recipe_files).source
        assert re.match(rf"Sections? {section}\b", source), source


def test_no_plugin_cites_what_the_paper_does_not_have():
    """It has no algorithm, and its section 5 is the conclusion."""
    for row in load_plugins().rows:
        source = getattr(row.plugin, "source", "") or ""
        for cited in re.findall(r"He et al\.[^;]*2206\.08684[^;]*", source):
            assert "algorithm" not in cited, row.name
            assert not re.search(r"sec\. (5|3$|3,|3 )", cited), row.name
    about = Train.model_fields["distance_penalty"].description or ""
    assert "sec. 5" not in about
    assert "code" in about


def test_what_a_claim_leaves_out_is_said():
    notes = {one.name: one.note for one in read_recipes(load_plugins().recipe_files)}
    claim = find_recipe("fig1", load_plugins().recipe_files).claim
    assert "on MNIST and CIFAR-10 above that of the dense network" in claim
    assert re.search(r"CIFAR-100.* not above the dense", notes["fig1"])
    assert re.search(r"re-initialised networks.*small scale they show none", notes["ticket"])
    assert "unfair" in notes["flatness"]
    assert "learning_distance_weights" in notes["learning-distance"]
    assert "The paper's rule is 'last'" in notes["re-dense"]


@pytest.mark.parametrize(
    ("above", "merged"),
    [
        # Where a recipe chooses the plugin: by name, in a table, among several.
        ({"retrain": "finetune"}, {"retrain": {"name": "finetune", "lr": 0.1}}),
        ({"retrain": {"name": "finetune", "epochs": 2}},
         {"retrain": {"name": "finetune", "lr": 0.1, "epochs": 2}}),
        ({"retrain": {"name": "finetune", "lr": 0.5}},
         {"retrain": {"name": "finetune", "lr": 0.5}}),
        ({"retrain": ["scratch", "finetune", "rewind"]},
         {"retrain": ["scratch", {"name": "finetune", "lr": 0.1}, {"name": "rewind", "to": 9}]}),
        # Nowhere else.
        ({"retrain": "scratch"}, {"retrain": "scratch"}),
        ({"retrain": {"to": 3}}, {"retrain": {"name": "rewind", "to": 3}}),
        ({"seed": [1, 2]}, {"retrain": {"name": "rewind", "to": 9}, "seed": [1, 2]}),
        ({"metrics": ["finetune", {"name": "x"}]},
         {"retrain": {"name": "rewind", "to": 9}, "metrics": ["finetune", {"name": "x"}]}),
    ],
)
def test_a_scale_may_have_options_for_plugins_that_a_recipe_chooses(above, merged):
    below = {"retrain": {"name": "rewind", "to": 9}}
    options = {"retrain": {"finetune": {"lr": 0.1}}}
    assert overlay(below, above, options) == merged
    assert options == {"retrain": {"finetune": {"lr": 0.1}}}


def test_options_of_a_scale_are_read_from_its_file(folder):
    own = """
[[paper]]
title = "own"
settings = { seed = 7 }
options = { noise = { pair-flip = { rate = 0.3 } } }
"""
    text = RECIPE_TEXT.replace('"none" }]', '["pair-flip", "none"] }]')
    (folder / "noise.toml").write_text(text + own)
    (figure,) = Recipe.read(folder / "noise.toml").figures["paper"]
    assert figure.settings[1] == {"seed": 7, "noise": [{"name": "pair-flip", "rate": 0.3}, "none"]}
