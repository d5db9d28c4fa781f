"""Networks that come in with zeros, from torch.nn.utils.prune or of their own."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from support import Net, contents, go, small
from torch import Tensor, nn
from torch.nn.utils import prune

from sdd_core import Experiment, SddError
from sdd_core.experiment.keys import dense_key, level_keys
from sdd_core.level.torch_prune import without_torch_pruning
from sdd_core.runs.store import Store
from sdd_core.training.setup import ExperimentSetup

AS_IS = {"name": "imp", "fraction": 0.4, "start": "as-is"}
"""SMALL's pruner, with the zeros of the network."""


def pruned(amount: float = 0.5) -> Net:
    torch.manual_seed(3)
    network = Net()
    prune.l1_unstructured(network.first, "weight", amount)
    prune.random_unstructured(network.last, "weight", amount)
    return network


def zeroed() -> Net:
    """The same network, with plain zeros."""
    return without_torch_pruning(deepcopy_of(pruned()))


def deepcopy_of(network: Net) -> Net:
    plain = Net()
    for name in ("first", "last"):
        prune.identity(getattr(plain, name), "weight")
    plain.load_state_dict(network.state_dict())
    return plain


def made() -> Net:
    return pruned()


def stored(run, level: int):
    found = Store(run.folder.parent).load_level(run.levels[level].key)
    assert found is not None
    return found


def check_masks(run, given: dict[str, Tensor], fraction: float = 0.4) -> None:
    """Level 0 has the given masks, each later level prunes a fraction of what is left, masks are
    nested, and what is pruned is zero."""
    kept = sum(int(mask.sum()) for mask in given.values())
    size = sum(mask.numel() for mask in given.values())
    before = given
    for number, row in enumerate(run.levels):
        level = stored(run, number)
        assert level.masks.keys() == given.keys()
        for name, mask in level.masks.items():
            assert not level.state[name][~mask].any()
            assert not (mask & ~before[name]).any()
            if number == 0:
                assert torch.equal(mask, given[name])
        assert sum(int(mask.sum()) for mask in level.masks.values()) == kept
        assert row.sparsity == (size - kept) / size
        before, kept = level.masks, kept - math.ceil(fraction * kept)


def masks_of(network: nn.Module) -> dict[str, Tensor]:
    return {"first.weight": network.first.weight != 0, "last.weight": network.last.weight != 0}


@pytest.mark.parametrize("model", [pruned, zeroed, lambda: made],
                         ids=["torch.nn.utils.prune", "zeros", "function"])
@pytest.mark.parametrize("schedule", ["rewind", "lr-rewind", "finetune"])
def test_the_zeros_stay(tmp_path, model, schedule):
    run = go(small(model=model(), pruner=AS_IS, retrain=schedule, noise="none"), tmp_path)
    assert run.sparsity[0] == 0.5
    check_masks(run, masks_of(pruned()))
    state = stored(run, 0).state
    assert sorted(state) == sorted(Net().state_dict())  # plain names
    assert not torch.equal(state["first.weight"], pruned().first.weight)  # it was trained


def test_without_training_the_network_is_as_it_came(tmp_path):
    network = pruned()
    with torch.no_grad():
        network.last.bias[:3] = 0
    run = go(small(model=network, pruner=AS_IS, train={"epochs": 0}, levels=1), tmp_path)
    state = stored(run, 0).state
    for name in ("first", "last"):
        assert torch.equal(state[f"{name}.weight"], getattr(network, name).weight)
    check_masks(run, masks_of(network))
    trained = go(small(model=network, pruner=AS_IS, levels=0), tmp_path)
    state = stored(trained, 0).state
    assert state["last.bias"].all()  # zeros elsewhere are not held
    assert state["norm.bias"].all()


def test_the_given_module_is_not_changed(tmp_path):
    network = pruned()
    before = deepcopy({name: tensor.detach() for name, tensor in network.state_dict().items()})
    go(small(model=network, pruner=AS_IS, levels=0), tmp_path)
    assert prune.is_pruned(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_gradient_hook_of_a_masked_weight_stays(tmp_path):
    network = pruned()
    network.first.weight_orig.register_hook(torch.zeros_like)
    run = go(small(model=network, pruner=AS_IS, levels=0), tmp_path)
    assert torch.equal(stored(run, 0).state["first.weight"], network.first.weight)


def test_by_default_zeros_are_trained_and_that_is_said(tmp_path, capsys):
    run = go(small(model=pruned(), levels=0), tmp_path)
    assert ('sdd: 50.0 % of the prunable weights are exactly zero and count as kept; set '
            'pruner.start to "as-is" to hold them at zero') in capsys.readouterr().err
    assert list(run.sparsity) == [0.0]
    assert (stored(run, 0).state["first.weight"] != 0).float().mean() > 0.8
    go(small(model=Net(), levels=0), tmp_path)
    assert "exactly zero" not in capsys.readouterr().err


def test_a_layer_that_begins_with_zeros_is_none_that_was_pruned(tmp_path, capsys):
    network = Net()
    nn.init.zeros_(network.last.weight)
    go(small(model=network, levels=0), tmp_path)
    assert "exactly zero" not in capsys.readouterr().err
    go(small(model=network, levels=0, pruner=AS_IS), tmp_path)
    assert "last.weight is zero as a whole and stays so" in capsys.readouterr().err


def test_pretrained_weights_bring_their_zeros(tmp_path, capsys):
    torch.save({"state_dict": pruned().state_dict()}, tmp_path / "a.pt")
    train = {"epochs": 1, "pretrained": tmp_path / "a.pt"}
    run = go(small(model=Net, train=train, pruner=AS_IS), tmp_path / "store")
    check_masks(run, masks_of(pruned()))
    assert "level 0 has a sparsity of 50.0 %" in capsys.readouterr().err


def test_rewind_points_are_trained_under_the_masks(tmp_path):
    run = go(small(model=pruned(), pruner=AS_IS, retrain={"name": "rewind", "to": 20}), tmp_path)
    check_masks(run, masks_of(pruned()))
    points = list((tmp_path / ".shared" / "points").iterdir())
    assert len(points) == 2
    for folder in points:
        state = Store(tmp_path).load_point(folder.name)
        assert state is not None
        assert not state["first.weight"][~masks_of(pruned())["first.weight"]].any()


def test_one_shot_pruning_goes_on_from_there(tmp_path):
    run = go(small(model=pruned(), pruner={**AS_IS, "from_dense": True}), tmp_path)
    check_masks(run, masks_of(pruned()))


def test_sparsities_count_what_is_pruned_already(tmp_path):
    pruner = {"name": "imp", "start": "as-is", "sparsity": [0.6, 0.9]}
    run = go(small(model=pruned(), pruner=pruner), tmp_path)
    assert run.sparsity == pytest.approx([0.5, 0.6, 0.9], abs=1e-3)
    with pytest.raises(SddError, match=r"pruner\.sparsity 0\.4 of level 1 is less than the 0\.5"):
        go(small(model=pruned(), pruner={**pruner, "sparsity": [0.4, 0.9]}), tmp_path)


def test_included_and_exempt_weights_hold_their_zeros(tmp_path):
    run = go(small(model=pruned(), pruner={**AS_IS, "exempt": ["last"]}, levels=1), tmp_path)
    one = stored(run, 1)
    assert torch.equal(one.masks["last.weight"], masks_of(pruned())["last.weight"])
    assert not one.state["last.weight"][~one.masks["last.weight"]].any()


def test_keys():
    usual = level_keys(Experiment.make(small()))
    assert level_keys(Experiment.make(small(pruner={"name": "imp", "fraction": 0.4,
                                                    "start": "dense"}))) == usual
    other = level_keys(Experiment.make(small(pruner=AS_IS)))
    assert not {*usual} & {*other}
    included = Experiment.make(small(pruner={**AS_IS, "include": ["*"]}))
    assert dense_key(included) != other[0]
    assert dense_key(Experiment.make(small(pruner={"name": "imp", "include": ["*"]}))) == usual[0]
    # Everything else of the pruner leaves the level 0 of `as-is` as it is.
    random = Experiment.make(small(pruner={"name": "random", "start": "as-is"}))
    assert dense_key(random) == other[0]


def test_an_equal_network_has_an_equal_key(tmp_path):
    """What torch.nn.utils.prune adds does not matter, only the weights."""
    keys = {dense_key(Experiment.make(small(model=model))) for model in (pruned(), pruned())}
    assert len(keys) == 1
    assert dense_key(Experiment.make(small(model=pruned(0.3)))) not in keys


def test_a_run_that_is_continued_ends_like_another(tmp_path):
    settings = small(model=pruned(), pruner=AS_IS)
    whole = go(settings, tmp_path / "whole")
    for levels in (0, 1, 2):
        parts = go({**settings, "levels": levels}, tmp_path / "parts")
    found, wanted = contents(parts.folder), contents(whole.folder)
    assert {name: found[name] for name in found if "run.json" not in name} == \
        {name: wanted[name] for name in wanted if "run.json" not in name}


def test_a_weight_that_is_not_a_number_under_the_mask():
    network = pruned()
    with torch.no_grad():
        network.first.weight_orig[network.first.weight_mask == 0] = torch.nan
    plain = without_torch_pruning(network)
    assert plain.first.weight.isfinite().all()
    assert not torch.signbit(plain.first.weight[plain.first.weight == 0]).any()


def test_the_floor_counts_what_is_left():
    pruner = {"name": "imp", "start": "as-is", "fraction": 0.6, "keep_at_least": 0.3}
    settings = small(model=pruned(), pruner={**pruner, "scope": "layer"}, levels=1)
    with pytest.raises(SddError, match=r"keep_at_least 0\.3 leaves too few weights for level 1"):
        ExperimentSetup(Experiment.make(settings), None, torch.device("cpu"))


class Attends(nn.Module):
    """Layers whose weights have other names than `weight`, or are masked twice."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = nn.LSTM(8, 8, batch_first=True)
        self.attends = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        read, _ = self.reads(x.reshape(len(x), 8, 8))
        return self.last(self.attends(read, read, read)[0].mean(1))


def test_masks_of_other_layers_of_other_kinds_and_of_masks(tmp_path):
    torch.manual_seed(0)
    network = Attends()
    prune.l1_unstructured(network.reads, "weight_hh_l0", 0.5)
    prune.ln_structured(network.attends, "in_proj_weight", 0.25, n=2, dim=0)
    prune.random_unstructured(network.last, "weight", 0.5)
    prune.l1_unstructured(network.last, "weight", 0.5)  # of what is left
    prune.l1_unstructured(network.last, "bias", 0.5)
    network(torch.rand(3, 64)).sum().backward()
    run = go(small(model=network, pruner=AS_IS, levels=1, noise="none"), tmp_path)
    level = stored(run, 0)
    wanted = {"reads.weight_hh_l0": 128, "attends.in_proj_weight": 48, "last.weight": 60}
    assert {name: int((~mask).sum()) for name, mask in level.masks.items() if not mask.all()} == \
        wanted
    for name, mask in level.masks.items():
        assert not level.state[name][~mask].any()
    assert sorted(level.state) == sorted(Attends().state_dict())
