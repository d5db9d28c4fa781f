"""What holds for every kind of label noise, and for each by itself."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sdd_core import Dataset, Experiment, LevelView, Metric, SddError, Split, Train, run
from sdd_plugins.data.cifar import Cifar10
from sdd_plugins.data.digits import Digits
from sdd_plugins.data.mnist import FashionMnist, Mnist
from sdd_plugins.noise.asymmetric import Asymmetric, next_in_superclass
from sdd_plugins.noise.none import NoNoise
from sdd_plugins.noise.pair_flip import PairFlip
from sdd_plugins.noise.symmetric import Symmetric

CLASSES = 5
PAIRS = {0: 3, 1: 4, 4: 1}
KINDS = [
    pytest.param(lambda rate: Symmetric(rate=rate), id="all"),
    pytest.param(lambda rate: Symmetric(rate=rate, among="others"), id="others"),
    pytest.param(lambda rate: PairFlip(rate=rate), id="pair-flip"),
    pytest.param(lambda rate: Asymmetric(rate=rate, pairs=PAIRS), id="asymmetric"),
]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
LABELS = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=60).map(torch.tensor)
RATES = st.integers(0, 100).map(lambda percent: percent / 100)


def data(labels: torch.Tensor, **about) -> Dataset:
    images = torch.zeros(len(labels), 1)
    split = Split(images, labels)
    return Dataset("by hand", split, split, about.pop("classes", CLASSES), **about)


def corrupt(noise, labels: torch.Tensor, seed: int = 0, **about) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return noise.corrupt(labels, data(labels, **about), draw)


@EVERY_KIND
@settings(max_examples=25)
@given(labels=LABELS, rate=RATES, seed=st.integers(0, 5))
def test_labels_stay_labels_and_the_input_stays_as_it_is(kind, labels, rate, seed):
    before = labels.clone()
    noisy = corrupt(kind(rate), labels, seed)
    assert torch.equal(labels, before)
    assert noisy.dtype == torch.int64
    assert noisy.shape == labels.shape
    assert 0 <= int(noisy.min()) <= int(noisy.max()) < CLASSES


@EVERY_KIND
@settings(max_examples=15)
@given(labels=LABELS, rate=RATES)
def test_the_generator_is_the_only_source_of_randomness(kind, labels, rate):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = corrupt(kind(rate), labels, 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(corrupt(kind(rate), labels, 7), one)


@EVERY_KIND
def test_another_generator_gives_other_labels(kind):
    labels = torch.arange(200) % CLASSES
    assert not torch.equal(corrupt(kind(0.5), labels, 0), corrupt(kind(0.5), labels, 1))


@EVERY_KIND
@settings(max_examples=25)
@given(labels=LABELS, rates=st.tuples(RATES, RATES), seed=st.integers(0, 5))
def test_a_higher_rate_keeps_the_wrong_labels_of_a_lower_one(kind, labels, rates, seed):
    low, high = (corrupt(kind(rate), labels, seed) for rate in sorted(rates))
    wrong = low != labels
    assert torch.equal(high[wrong], low[wrong])


@EVERY_KIND
@given(labels=LABELS)
@settings(max_examples=10)
def test_no_label_is_wrong_at_rate_0(kind, labels):
    assert torch.equal(corrupt(kind(0.0), labels), labels)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
@EVERY_KIND
def test_rates_that_are_no_fraction_are_refused(kind, rate):
    with pytest.raises(ValidationError):
        kind(rate)


@settings(max_examples=40)
@given(LABELS, RATES, st.integers(0, 5))
def test_others_makes_exactly_the_rate_wrong(labels, rate, seed):
    noisy = corrupt(Symmetric(rate=rate, among="others"), labels, seed)
    assert int((noisy != labels).sum()) == round(rate * len(labels))


@settings(max_examples=40)
@given(LABELS, RATES, st.integers(0, 5))
def test_all_makes_at_most_the_rate_wrong(labels, rate, seed):
    noisy = corrupt(Symmetric(rate=rate), labels, seed)
    assert int((noisy != labels).sum()) <= round(rate * len(labels))


def test_what_is_drawn_is_uniform_over_all_classes_or_over_the_others():
    labels = torch.full((50_000,), 2)
    everything = corrupt(Symmetric(rate=1.0), labels).bincount(minlength=CLASSES)
    others = corrupt(Symmetric(rate=1.0, among="others"), labels).bincount(minlength=CLASSES)
    # Standard deviations are 89 and 97; five of them are allowed.
    assert (everything - 10_000).abs().max() < 450
    assert others[2] == 0
    assert (others[[0, 1, 3, 4]] - 12_500).abs().max() < 490


def test_drawn_from_all_classes_one_in_so_many_stays_right():
    labels = torch.arange(50_000) % CLASSES
    wrong = corrupt(Symmetric(rate=0.4), labels) != labels
    # 20,000 drawn, 16,000 wrong, standard deviation 57
    assert abs(int(wrong.sum()) - 16_000) < 285


@EVERY_KIND
def test_where_labels_are_wrong_does_not_follow_the_order_of_the_examples(kind):
    labels = torch.arange(20_000) % CLASSES
    wrong = (corrupt(kind(0.4), labels) != labels).float()
    first, second = wrong[:10_000].mean(), wrong[10_000:].mean()
    assert abs(first - second) < 0.04


@settings(max_examples=40)
@given(LABELS, RATES, st.integers(0, 5))
def test_pair_flip_flips_exactly_so_many_of_each_class_to_the_next(labels, rate, seed):
    noisy = corrupt(PairFlip(rate=rate), labels, seed)
    for true in range(CLASSES):
        became = noisy[labels == true]
        flipped = became != true
        assert int(flipped.sum()) == round(rate * len(became))
        assert set(became[flipped].tolist()) <= {(true + 1) % CLASSES}


@settings(max_examples=40)
@given(LABELS, RATES, st.integers(0, 5))
def test_asymmetric_flips_exactly_so_many_of_each_class_that_has_a_double(labels, rate, seed):
    noisy = corrupt(Asymmetric(rate=rate, pairs=PAIRS), labels, seed)
    for true in range(CLASSES):
        became = noisy[labels == true]
        flipped = became != true
        assert int(flipped.sum()) == (round(rate * len(became)) if true in PAIRS else 0)
        assert set(became[flipped].tolist()) <= {PAIRS.get(true)}


@pytest.mark.parametrize("kind", KINDS[1:3])
def test_all_labels_are_wrong_at_rate_1(kind):
    labels = torch.arange(100) % CLASSES
    assert bool((corrupt(kind(1.0), labels) != labels).all())


def test_cycles_swap_instead_of_following_one_another():
    labels = torch.tensor([1, 4, 1, 4, 0])
    noisy = corrupt(Asymmetric(rate=1.0, pairs={1: 4, 4: 1}), labels)
    assert noisy.tolist() == [4, 1, 4, 1, 0]


def flips(about: dict) -> dict[int, int]:
    labels = torch.arange(about["classes"])
    noisy = corrupt(Asymmetric(rate=1.0), labels, **about)
    return {c: int(n) for c, n in enumerate(noisy.tolist()) if c != n}


def test_the_paper_s_pairs_of_mnist_and_cifar10():
    assert flips({"classes": 10, "confusions": Mnist.confusions}) == {2: 7, 3: 8, 5: 6, 6: 5}
    names = ["airplane", "automobile", "bird", "cat", "deer"]
    names += ["dog", "frog", "horse", "ship", "truck"]
    found = flips({"classes": 10, "confusions": Cifar10.confusions})
    assert {names[c]: names[n] for c, n in found.items()} == {
        "bird": "airplane",
        "cat": "dog",
        "dog": "cat",
        "deer": "horse",
        "truck": "automobile",
    }


def test_clothes_are_taken_for_clothes_of_their_kind():
    names = ["T-shirt", "trouser", "pullover", "dress", "coat"]
    names += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]
    found = flips({"classes": 10, "confusions": FashionMnist.confusions})
    assert {names[c]: names[n] for c, n in found.items()} == {
        "T-shirt": "shirt",
        "pullover": "coat",
        "sandal": "sneaker",
        "sneaker": "sandal",
    }


def test_in_superclasses_the_next_class_is_the_next_of_the_same_superclass():
    # Superclass 7 has classes 0, 2 and 5; superclass 3 has 1 and 4; class 3 is alone.
    superclasses = (7, 3, 7, 0, 3, 7)
    assert next_in_superclass(superclasses) == {0: 2, 2: 5, 5: 0, 1: 4, 4: 1, 3: 3}
    assert flips({"classes": 6, "superclasses": superclasses}) == {0: 2, 2: 5, 5: 0, 1: 4, 4: 1}


def test_asymmetric_noise_that_nothing_defines_is_refused():
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(SddError, match="which classes of data 'by hand' are similar; set noise"):
        corrupt(Asymmetric(), labels)
    with pytest.raises(SddError, match=r"data 'by hand' has no class 5; its classes are 0 to 4"):
        corrupt(Asymmetric(pairs={2: 5}), labels)
    with pytest.raises(SddError, match="no class -1"):
        corrupt(Asymmetric(pairs={-1: 2}), labels)


def test_no_noise():
    labels = torch.tensor([0, 1, 2])
    noisy = corrupt(NoNoise(), labels)
    assert torch.equal(noisy, labels)
    assert noisy is not labels
    with pytest.raises(ValidationError):
        NoNoise(rate=0.1)


class Spy(Metric):
    """Says how many labels are wrong, and keeps what it saw."""

    name = "spy"
    seen: ClassVar[list[Dataset]] = []

    def measure(self, level: LevelView) -> dict[str, int]:
        self.seen.append(level.data)
        return {"wrong": int(level.data.train.mislabelled.sum())}


def test_in_a_run_test_labels_are_true_and_true_training_labels_are_kept(tmp_path):
    noise = {"name": "symmetric", "rate": 0.5, "among": "others"}
    experiment = Experiment(noise=noise, metrics=(Spy(),), levels=0, train=Train(epochs=1))
    assert run(experiment, store=tmp_path).curve("wrong") == [500]
    found, clean = Spy.seen.pop(), Digits().load(None)
    assert torch.equal(found.test.labels, clean.test.labels)
    assert torch.equal(found.test.true_labels, clean.test.labels)
    assert torch.equal(found.train.true_labels, clean.train.labels)
    assert int((found.train.labels != clean.train.labels).sum()) == 500


def test_pairs_survive_the_experiment_file():
    experiment = Experiment(noise={"name": "asymmetric", "pairs": {2: 7}})
    again = Experiment.make(experiment.to_dict())
    assert again.noise == Asymmetric(pairs={2: 7})
