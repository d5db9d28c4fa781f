import torch
from torch import nn

from sdd_plugins.pruners.magnitude import Magnitude


def test_scores_are_the_absolute_weights_of_layers_that_may_be_pruned(make_view):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.5, -2.0], [0.0, -0.25]]))
    scores = Magnitude().scores(make_view(network, exempt=("1.weight",)))
    assert {name: score.tolist() for name, score in scores.items()} == {
        "0.weight": [[1.5, 2.0], [0.0, 0.25]]
    }


def test_it_is_called_imp_and_prunes_a_fifth():
    assert (Magnitude.name, Magnitude().fraction, Magnitude().scope) == ("imp", 0.2, "global")
