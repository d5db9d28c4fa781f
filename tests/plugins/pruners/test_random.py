import torch
from support import scope_of
from torch import nn

from sdd_core.pruning.prune import prune_fraction
from sdd_plugins.pruners.random import Random


def network(scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.mul_(scale)
    return model


def test_the_same_for_a_seed_and_level_whatever_the_weights(make_view):
    one = Random().scores(make_view(network(), seed=3, level=2))
    torch.rand(17)  # the global generator must not matter
    two = Random().scores(make_view(network(scale=-9.0), seed=3, level=2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert list(one) == ["0.weight", "1.weight"]


def test_another_for_another_level_and_another_seed(make_view):
    scores = [
        Random().scores(make_view(network(), seed=seed, level=level))["0.weight"]
        for seed, level in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({tuple(score.flatten().tolist()) for score in scores}) == 3


def test_no_ties_among_many_weights(make_view):
    score = Random().scores(make_view(nn.Sequential(nn.Linear(1000, 1000))))["0.weight"]
    assert score.dtype == torch.float64
    assert len(score.unique()) == 1_000_000


def test_every_weight_is_as_likely_to_go(make_view):
    # 32 weights lose 16 in each of 400 prunings. Over both layers the number of times that a
    # weight goes has mean 200 and variance 100; sum((n - 200)^2) / 100 is close to chi-squared
    # with 31 degrees of freedom (a little less, for the counts of a pruning are tied), whose
    # 99.99th percentile is 70.
    counts = torch.zeros(32)
    layers = 0.0
    for seed in range(400):
        view = make_view(network(), seed=seed)
        pruned = prune_fraction(view.masks, Random().scores(view), 0.5, scope_of("global"))
        gone = ~torch.cat([mask.flatten() for mask in pruned.values()])
        assert gone.sum() == 16
        counts += gone
        layers += gone[:20].sum().item()
    assert ((counts - 200).square() / 100).sum() < 70
    assert abs(layers / 400 - 10) < 0.5
