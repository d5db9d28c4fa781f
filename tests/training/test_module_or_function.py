"""A module that is passed as a value, a function and a `module:function` give the same run."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
import torch
from support import contents, go, small

from sdd_core import load_plugins

PRUNERS = [row.name for row in load_plugins().rows if row.kind == "pruner"]
NETWORK = """
    import torch
    from torch import nn


    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 6, 3, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.frozen = nn.Linear(6, 6)
            self.frozen.requires_grad_(False)
            self.drop = nn.Dropout(0.2)
            self.last = nn.Linear(6 * 36, 10)

        def forward(self, x):
            x = self.norm(self.conv(x)).relu()
            x = x + self.frozen(x.movedim(1, -1)).movedim(-1, 1)
            return self.last(self.drop(x.flatten(1)))


    def make():
        torch.manual_seed(3)
        network = Network()
        with torch.no_grad():
            network.norm.weight.copy_(torch.rand(6) + 0.5)
            network.norm.running_mean.fill_(0.1)
        return network
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's with a network and a function that makes it."""
    (tmp_path / "own_pruned.py").write_text(textwrap.dedent(NETWORK))
    monkeypatch.syspath_prepend(tmp_path)
    import own_pruned

    yield own_pruned
    sys.modules.pop("own_pruned", None)


def settings(pruner, retrain):
    options = {"name": pruner, "fraction": 0.3}
    if pruner == "synflow":
        options["steps"] = 3
    if pruner == "obd":
        options["vectors"] = 2
    if pruner == "slimming":
        options = {"name": pruner, "fraction": 0.2, "exempt": ["last"]}
    return small(pruner=options, retrain=retrain, train={"epochs": 1, "norm_penalty": 0.001},
                 data={"name": "digits", "examples": 300})


@pytest.mark.parametrize(("pruner", "retrain"), [
    *((pruner, "lr-rewind") for pruner in PRUNERS),
    *((pruner, {"name": "rewind", "to": 1}) for pruner in ("imp", "movement")),
])
def test_scores_masks_and_results_are_the_same(own, tmp_path, pruner, retrain):
    made = own.make()
    runs = []
    for number, model in enumerate((made, own.make, "own_pruned:make")):
        torch.manual_seed(number)  # neither depends on the caller's random state
        runs.append(go({**settings(pruner, retrain), "model": model}, tmp_path / str(number)))
    usual = contents(runs[0].folder)
    assert len({level.density for level in runs[0].levels}) == 3
    for run in runs[1:]:
        for name, content in contents(run.folder).items():
            if name.endswith(".safetensors"):
                assert content == usual[name], name
        for one, other in zip(runs[0].levels, run.levels, strict=True):
            values = [{name: value for name, value in level.metrics.items()
                       if isinstance(value, float)} for level in (one, other)]
            assert values[0].keys() == values[1].keys()
            for name, value in values[0].items():
                if "seconds" not in name and "latency" not in name:
                    np.testing.assert_equal(values[1][name], value, err_msg=name)
