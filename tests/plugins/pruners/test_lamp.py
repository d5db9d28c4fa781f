import torch
from hypothesis import given
from hypothesis import strategies as st
from support import small
from torch import nn

import sdd_core
from sdd_plugins.pruners.lamp import Lamp, _lamp


def test_scores_by_hand(make_view):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[3.0, -1.0], [2.0, 5.0]]))
    kept = torch.tensor([[True, True], [True, False]])
    scores = Lamp().scores(make_view(network, exempt=("1.weight",), masks={"0.weight": kept}))
    # Squares of the kept weights: 9, 1, 4; of a pruned one nothing is counted.
    expected = torch.tensor([[1, 1 / 14], [4 / 13, 0]], dtype=torch.float64)
    torch.testing.assert_close(scores["0.weight"], expected, rtol=1e-12, atol=0)


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_the_order_in_a_layer_is_that_of_magnitudes_and_the_largest_has_one(seed, rows, columns):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=draw)
    kept = torch.rand(rows, columns, generator=draw) < 0.7
    kept.view(-1)[0] = True
    scores = _lamp(weight, kept)
    order = weight[kept].abs().argsort()
    assert (scores[kept][order].diff() > 0).all()
    assert scores[kept].max() == 1
    for value, score in zip(weight[kept].double(), scores[kept], strict=True):
        larger = weight[kept].double().square() >= value.square()
        total = weight[kept].double().square()[larger].sum()
        torch.testing.assert_close(score, value.square() / total, rtol=1e-12, atol=0)


def test_a_layer_of_small_weights_is_not_emptied(tmp_path):
    def network():
        made = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
        with torch.no_grad():
            made[1].weight.mul_(0.001)
        return made

    kept = {}
    for pruner in ("imp", "lamp"):
        result = sdd_core.run(
            small(levels=1, model=network(), train={"epochs": 1, "lr": 1e-9},
                  pruner={"name": pruner, "sparsity": [0.8]}),
            store=tmp_path, device="cpu",
        )  # fmt: skip
        kept[pruner] = result.levels[1].metrics["sparsity_by_layer"]["1.weight"]
    assert kept["imp"] > 0.9
    assert kept["lamp"] < kept["imp"]
