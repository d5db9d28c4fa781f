"""Scores gathered while training, against a plain loop in double precision; OBD against the exact
Hessian."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from training_cases import gap, observed_network, observed_steps, random_masks, textbook_steps

from sdd_core import SddError
from sdd_plugins.pruners import Fisher, Movement, Obd, Taylor

from ..conftest import dataset

STEPS = 10  # of four batches per epoch: the last epoch has two


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_built_in_scores_are_those_of_their_papers(density, make_view):
    masks = random_masks(observed_network(), density)
    steps = textbook_steps(masks, STEPS)
    movement = {n: -sum(w[n] * g[n] for w, g in steps[:STEPS]) for n in steps[0][1]}
    last = steps[8:STEPS]  # the last epoch
    taylor = {n: sum((w[n] * g[n]) ** 2 for w, g in last) for n in steps[0][1]}
    end = steps[STEPS][0]
    fisher = {n: end[n] ** 2 * sum(g[n] ** 2 for _, g in last) / 2 / 2 for n in steps[0][1]}
    for pruner, expected in ((Movement(), movement), (Taylor(), taylor), (Fisher(), fisher)):
        state, trainer = observed_steps(pruner, masks, STEPS)
        net = observed_network()
        net.load_state_dict(trainer.state())
        view = make_view(net, masks=masks, observed=state)
        scores = pruner.scores(view)
        assert gap(scores, {name: expected[name] for name in scores}) < 1e-2, pruner.name
        assert not any(scores[name][~mask].any() for name, mask in masks.items())


def test_a_level_that_diverged_is_scored_by_magnitude(make_view):
    net = observed_network()
    view = make_view(net, diverged=True)
    for pruner in (Movement(), Taylor(), Fisher()):
        scores = pruner.scores(view)
        assert torch.equal(scores["4.weight"], net[4].weight.detach().abs())


def test_what_was_not_observed_cannot_be_scored(make_view):
    for pruner in (Movement(), Taylor(), Fisher()):
        with pytest.raises(SddError, match=rf"'{pruner.name}'.*did not observe level 1"):
            pruner.scores(make_view(observed_network()))


def test_obd_is_the_diagonal_of_the_exact_hessian(make_view):
    """On a network of 21 weights, some of them pruned; the estimate converges with the vectors."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    images, labels = torch.randn(12, 3), [0, 1, 2] * 4
    masks = {"0.weight": torch.rand(4, 3) < 0.7}
    with torch.no_grad():
        net[0].weight.mul_(masks["0.weight"])
    weights = (net[0].weight.detach().double(), net[2].weight.detach().double())

    def loss(first, last):
        hidden = torch.tanh(images.double() @ first.T + net[0].bias.double())
        return cross_entropy(hidden @ last.T + net[2].bias.double(), torch.tensor(labels))

    hessian = torch.autograd.functional.hessian(loss, weights)
    exact = [hessian[i][i].reshape(w.numel(), -1).diagonal().view(w.shape) * w**2 / 2
             for i, w in enumerate(weights)]

    def error(vectors):
        view = make_view(net, dataset(images, labels, classes=3), masks=masks)
        scores = Obd(vectors=vectors).scores(view)
        found = torch.cat([scores[name].flatten() for name in ("0.weight", "2.weight")])
        expected = torch.cat([one.flatten() for one in exact])
        return float((found - expected).abs().max() / expected.abs().max())

    assert error(3000) < 0.1
    assert error(3) > 0.3
