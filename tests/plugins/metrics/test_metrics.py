"""Each metric on a level made by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sdd_core import Epoch
from sdd_plugins.metrics.accuracy import Accuracy
from sdd_plugins.metrics.learning_distance import LearningDistance
from sdd_plugins.metrics.memorisation import Memorisation
from sdd_plugins.metrics.sparsity import Sparsity

from ..conftest import dataset


def linear(weight: list[list[float]], bias: list[float]) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(weight))
        network[0].bias.copy_(torch.tensor(bias))
    return network


def test_learning_distance_counts_pruned_weights_as_zero_and_biases_too(make_view):
    initial = linear([[1.0, 2.0], [0.0, -1.0]], [0.5, 0.0]).state_dict()
    # The first weight is pruned: it went from 1 to 0. The others moved by 2, 1, 3; a bias by 0.5.
    trained = linear([[0.0, 4.0], [1.0, 2.0]], [0.0, 0.0])
    mask = torch.tensor([[False, True], [True, True]])
    view = make_view(trained, initial=initial, masks={"0.weight": mask})
    found = LearningDistance().measure(view)
    assert found["learning_distance"] == pytest.approx(math.sqrt(1 + 4 + 1 + 9 + 0.25), rel=1e-12)
    assert found["learning_distance_weights"] == pytest.approx(math.sqrt(15), rel=1e-12)
    assert found["learning_distance_by_layer"] == {
        "0.weight": pytest.approx(math.sqrt(15), rel=1e-12),
        "0.bias": 0.5,
    }


def test_learning_distance_leaves_out_what_is_not_trained(make_view):
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    network[1].bias.requires_grad_(False)
    initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        network[0].running_mean.fill_(7.0)
        network[0].weight.fill_(3.0)  # from 1
        network[1].bias.add_(5.0)
        network[1].weight[0, 0] += 1.0
    found = LearningDistance().measure(make_view(network, initial=initial))
    assert found["learning_distance"] == pytest.approx(math.sqrt(8 + 1), rel=1e-6)
    assert found["learning_distance_weights"] == pytest.approx(1, rel=1e-6)
    assert set(found["learning_distance_by_layer"]) == {"0.weight", "0.bias", "1.weight"}


def test_learning_distance_of_a_level_that_diverged_is_none(make_view):
    found = LearningDistance().measure(make_view(linear([[1, 2], [3, 4]], [0, 0]), diverged=True))
    assert found == {"learning_distance": None, "learning_distance_weights": None,
                     "learning_distance_by_layer": None}


# A network that says class 0 where the first number is larger, else class 1.
IDENTITY = ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
SAYS_0, SAYS_1 = [1.0, 0.0], [0.0, 1.0]


def test_memorisation_by_hand(make_view):
    images = torch.tensor([SAYS_0, SAYS_0, SAYS_1, SAYS_1, SAYS_1, SAYS_0, SAYS_1])
    true = [0, 1, 1, 0, 1, 1, 1]
    given = [0, 1, 1, 1, 0, 0, 0]
    # Right labels: examples 0, 1, 2, of which 0 and 2 are learnt. Wrong labels: 3 (says 1: the
    # wrong label), 4 (says 1: the true one), 5 (says 0: the wrong one), 6 (says 1: the true one).
    view = make_view(linear(*IDENTITY), dataset(images, given, true))
    assert Memorisation().measure(view) == {
        "train_accuracy_clean": pytest.approx(2 / 3),
        "train_accuracy_mislabelled": 0.5,
        "true_label_accuracy_mislabelled": 0.5,
    }


def test_memorisation_of_another_class_counts_for_neither(make_view):
    network = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.copy_(torch.tensor([0.0, 0.0, 1.0]))  # says 2 to everything
    view = make_view(network, dataset(torch.zeros(2, 2), [0, 1], [1, 0], classes=3))
    assert Memorisation().measure(view) == {
        "train_accuracy_clean": None,
        "train_accuracy_mislabelled": 0.0,
        "true_label_accuracy_mislabelled": 0.0,
    }


def test_memorisation_without_wrong_labels_or_diverged(make_view):
    data = dataset(torch.tensor([SAYS_0, SAYS_1]), [0, 0])
    found = Memorisation().measure(make_view(linear(*IDENTITY), data))
    assert found == {
        "train_accuracy_clean": 0.5,
        "train_accuracy_mislabelled": None,
        "true_label_accuracy_mislabelled": None,
    }
    found = Memorisation().measure(make_view(linear(*IDENTITY), data, diverged=True))
    assert set(found.values()) == {None}


EPOCHS = (
    Epoch(1, 10, 0.1, 2.0, 0.3, 2.1, 0.2),
    Epoch(2, 20, 0.1, 1.0, 0.7, 1.5, 0.5),
    Epoch(3, 30, 0.01, 0.9, 0.7),
    Epoch(4, 40, 0.01, 1.5, 0.6, 0.1, 0.99),
)


def test_accuracy_at_the_last_and_at_the_first_of_the_best_epochs(make_view):
    found = Accuracy().measure(make_view(linear(*IDENTITY), epochs=EPOCHS))
    assert found == {
        "train_loss": 0.1,
        "train_accuracy": 0.99,
        "test_loss": 1.5,
        "test_accuracy": 0.6,
        "best_epoch": 2,
        "best_train_loss": 1.5,
        "best_train_accuracy": 0.5,
        "best_test_loss": 1.0,
        "best_test_accuracy": 0.7,
    }


@pytest.mark.parametrize("level", [{"epochs": EPOCHS, "diverged": True}, {"epochs": ()}])
def test_accuracy_of_a_level_that_diverged_has_the_same_names_without_values(make_view, level):
    usual = Accuracy().measure(make_view(linear(*IDENTITY), epochs=EPOCHS))
    found = Accuracy().measure(make_view(linear(*IDENTITY), **level))
    assert found == dict.fromkeys(usual)


def test_sparsity_by_layer_and_over_all_exempt_ones_too(make_view):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    mask = torch.tensor([[False, True], [False, False]])
    with torch.no_grad():
        network[0].weight.masked_fill_(~mask, 0)
        network[0].bias.copy_(torch.tensor([0.0, 1.0]))
    view = make_view(network, masks={"0.weight": mask}, exempt=("1.weight",))
    assert Sparsity().measure(view) == {
        "overall_sparsity": 0.3,
        "overall_density": 0.7,
        "parameter_sparsity": 4 / 15,  # three weights and a bias
        "dead_layers": 0,
        "dead_classes": None,  # three outputs are not the data's two classes
        "sparsity_by_layer": {"0.weight": 0.75, "1.weight": 0.0},
        "density_by_layer": {"0.weight": 0.25, "1.weight": 1.0},
    }


class Everything(nn.Module):
    """Weights of every sort, and parameters that are none."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 4)  # 20
        self.token = nn.Parameter(torch.ones(4))
        self.memory = nn.LSTM(4, 3, bias=False)  # 48 and 36
        self.own = nn.Module()
        self.own.kernel = nn.Parameter(torch.ones(2, 3, 4))  # 24
        self.norm = nn.LayerNorm(4)
        self.normed = parametrizations.weight_norm(nn.Linear(4, 2, bias=False))  # 8, and scales
        self.frozen = nn.Linear(2, 3, bias=False).requires_grad_(False)  # 6
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.words.weight
        self.last = nn.Linear(2, 2, bias=False)  # 4


def test_overall_sparsity_counts_every_matrix_and_kernel_once(make_view):
    network = Everything()
    mask = torch.ones(12, 4, dtype=torch.bool)
    mask[:10] = False
    found = Sparsity().measure(make_view(network, masks={"memory.weight_ih_l0": mask}))
    assert found["overall_sparsity"] == 40 / (20 + 48 + 36 + 24 + 8 + 6 + 4)
    assert found["overall_density"] == 106 / 146
    assert list(found["density_by_layer"]) == [
        "memory.weight_ih_l0", "memory.weight_hh_l0", "normed.parametrizations.weight.original1",
        "last.weight",
    ]


@pytest.mark.parametrize("held", [0.0, 0.5])
def test_layers_without_weights_and_classes_without_inputs_are_dead(make_view, held):
    """Unless pruned weights are held elsewhere than at zero."""
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    nothing, row = torch.zeros(3, 3, dtype=torch.bool), torch.tensor([[True] * 3, [False] * 3])
    masks = {"1.weight": nothing, "2.weight": row}
    with torch.no_grad():
        for name, mask in masks.items():
            network[int(name[0])].weight.masked_fill_(~mask, held)
    found = Sparsity().measure(make_view(network, masks=masks))
    assert (found["dead_layers"], found["dead_classes"]) == ((1, 1) if held == 0 else (0, 0))


def test_a_class_of_a_transposed_convolution_is_its_output(make_view):
    network = nn.Sequential(nn.ConvTranspose1d(3, 2, 1))
    mask = torch.ones(3, 2, 1, dtype=torch.bool)
    mask[:, 1] = False
    with torch.no_grad():
        network[0].weight.masked_fill_(~mask, 0)
    assert Sparsity().measure(make_view(network, masks={"0.weight": mask}))["dead_classes"] == 1
