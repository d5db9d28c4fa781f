"""Every parameter of a network is listed once, with what becomes of it."""

from torch import nn

from sdd_core.level.inspection import parameters_of
from sdd_core.level.masks import prunable_weights


class Strange(nn.Module):
    """A little of everything; never called."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(nn.init.zeros_(nn.Linear(2, 1, bias=False).weight))
        self.words = nn.Embedding(5, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False)
        self.fc = nn.Linear(4, 3)
        self.twin = nn.Linear(4, 3, bias=False)
        self.twin.weight = self.fc.weight
        self.unembed = nn.Linear(4, 5, bias=False)
        self.unembed.weight = self.words.weight


def test_all_parameters_and_why_they_are_left_alone():
    network = Strange()
    rows = parameters_of(network, exempt={"attention.out_proj.weight"})
    own = "Strange's own, a layer that sdd does not know"
    assert [(row.name, row.shape, row.count, row.state, row.why) for row in rows] == [
        ("token", (1, 2), 2, "left alone", own),
        ("words.weight", (5, 4), 20, "left alone", "embedding"),
        ("attention.in_proj_weight", (12, 4), 48, "prunable", ""),
        ("attention.in_proj_bias", (12,), 12, "left alone", "bias"),
        ("attention.out_proj.weight", (4, 4), 16, "exempt", ""),
        ("attention.out_proj.bias", (4,), 4, "left alone", "bias"),
        ("norm.weight", (4,), 4, "left alone", "normalisation"),
        ("norm.bias", (4,), 4, "left alone", "normalisation"),
        ("frozen.weight", (4, 4), 16, "left alone", "frozen"),
        ("fc.weight", (3, 4), 12, "prunable", ""),
        ("fc.bias", (3,), 3, "left alone", "bias"),
        ("twin.weight", (3, 4), 0, "left alone", "the same tensor as fc.weight"),
        ("unembed.weight", (5, 4), 0, "left alone", "the same tensor as words.weight"),
    ]
    assert sum(row.count for row in rows) == sum(p.numel() for p in network.parameters())
    kept = {row.name for row in rows if row.state != "left alone"}
    assert kept == set(prunable_weights(network))
