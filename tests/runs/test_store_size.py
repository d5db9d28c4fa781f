"""How much room a sparse level takes."""

from __future__ import annotations

import torch
from support import scope_of

from sdd_core import Experiment
from sdd_core.level.level import Level
from sdd_core.level.masks import full_masks, prunable_weights
from sdd_core.pruning.prune import prune_fraction
from sdd_core.runs.store import Store


def test_a_resnet18_level_at_95_percent_takes_a_quarter_of_a_dense_one_and_loses_no_bit(tmp_path):
    torch.manual_seed(0)
    network = Experiment.make({"model": {"name": "resnet18", "width": 32}}).model.build(
        (3, 32, 32), 10
    )
    weights = prunable_weights(network)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    dense = full_masks(weights)
    masks = prune_fraction(dense, scores, 0.95, scope_of("global"))
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    store, sizes = Store(tmp_path), {}
    for name, kept in (("dense", dense), ("sparse", masks)):
        pruned = {n: t.masked_fill(~kept[n], 0.0) if n in kept else t for n, t in state.items()}
        level = Level(1, kept, pruned, ())
        store.save_level(name, level)
        sizes[name] = sum(file.stat().st_size for file in store.level_folder(name).iterdir())
        found = store.load_level(name)
        assert found is not None
        assert found.state.keys() == pruned.keys()
        for part, tensor in pruned.items():
            assert torch.equal(found.state[part], tensor)
            assert found.state[part].dtype == tensor.dtype
    in_memory = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert sizes["dense"] > in_memory
    # A twentieth of the weights and a bit for each: 0.05 + 1 / 32 = 0.081.
    assert sizes["sparse"] < 0.09 * in_memory
