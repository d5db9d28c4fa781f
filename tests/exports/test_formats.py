"""What the built-in formats write is read with torch and safetensors alone, and is the network."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

import sdd_core
from exports.cases import MODELS, run_of
from sdd_core import Result


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def other_weights(network: nn.Module) -> nn.Module:
    """The same plain module with other numbers everywhere, as a user makes it."""
    copied = copy.deepcopy(network)
    for name, tensor in copied.state_dict().items():
        if "mask" not in name:
            tensor.fill_(3)
    return copied


def logits(network: nn.Module, result: Result) -> torch.Tensor:
    shape = result.experiment.data.load(None).input_shape
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return network(torch.randn((5, *shape), generator=draw))


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("name", MODELS)
def test_a_state_dict_loads_strictly_and_computes_the_same_bits(store, tmp_path, name, level):
    result = run_of(name, store)
    made = sdd_core.export(result, level=level, output=tmp_path / "network.safetensors")
    assert made.path == tmp_path / "network.safetensors"
    network = result.levels[level].network()
    plain = other_weights(network)
    plain.load_state_dict(load_file(made.path), strict=True)
    assert torch.equal(logits(plain, result), logits(network, result))
    for weight, mask in result.levels[level].masks.items():
        assert not plain.get_parameter(weight)[~mask].any()


@pytest.mark.parametrize("name", MODELS)
def test_torch_prune_has_the_form_of_torch(store, tmp_path, name):
    result = run_of(name, store)
    made = sdd_core.export(result, format="torch-prune", level=2,
                           output=tmp_path / "network.safetensors")
    state, network = load_file(made.path), result.levels[2].network()
    masks = result.levels[2].masks
    # Masked first and then loaded, as in torch's tutorial.
    plain = other_weights(network)
    for weight, mask in masks.items():
        assert torch.equal(state[f"{weight}_mask"], mask.float())
        layer, _, parameter = weight.rpartition(".")
        prune.custom_from_mask(plain.get_submodule(layer), parameter, torch.ones(mask.shape))
    tied = "again.weight" if name == "own module" else None
    if tied:
        prune.custom_from_mask(plain.again, "weight", torch.ones(8, 8))
    plain.load_state_dict(state, strict=True)
    assert prune.is_pruned(plain)
    names = [*masks, *([tied] if tied else [])]
    for weight in names:
        layer, _, parameter = weight.rpartition(".")
        prune.remove(plain.get_submodule(layer), parameter)
    assert not prune.is_pruned(plain)
    assert plain.state_dict().keys() == network.state_dict().keys()
    assert torch.equal(logits(plain, result), logits(network, result))


def test_training_goes_on_without_the_pruned_weights(store, tmp_path):
    result = run_of("own module", store)
    made = sdd_core.export(result, format="torch-prune", level=2,
                           output=tmp_path / "network.safetensors")
    state, masks = load_file(made.path), result.levels[2].masks
    network = result.levels[2].network()
    network.load_state_dict({
        name.removesuffix("_orig") if f"{name.removesuffix('_orig')}_mask" in state else name: value
        for name, value in state.items()
        if not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state)
    })
    # Torch does not refresh the masked weight of a layer that is not called, such as out_proj.
    for name in [name for name in [*masks, "again.weight"] if "out_proj" not in name]:
        layer, _, weight = name.rpartition(".")
        prune.custom_from_mask(network.get_submodule(layer), weight, state[f"{name}_mask"])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(4, 1, 8, 8)).square().sum().backward()
        optimizer.step()
    network(torch.randn(4, 1, 8, 8))
    assert not network.inner.weight[~masks["inner.weight"]].any()
    assert torch.equal(network.inner.weight, network.again.weight)
    assert not torch.equal(network.inner.weight, result.levels[2].network().inner.weight)


@pytest.mark.parametrize("format", ["state-dict", "torch-prune"])
def test_weights_that_are_pruned_in_name_only_are_exported_as_they_are(tmp_path, format):
    result = run_of("perceptron", tmp_path, ablation="re-dense")
    made = sdd_core.export(result, format=format, level=2, output=tmp_path / "x.safetensors")
    note, = made.record["notes"]
    assert "pruned weights are not zero, because" in note
    network, state = result.levels[2].network(), load_file(made.path)
    if format == "torch-prune":
        state = {"hidden1.weight": state["hidden1.weight_orig"] * state["hidden1.weight_mask"]}
    assert torch.equal(state["hidden1.weight"], network.hidden1.weight)


def test_the_header_describes_the_level(store, tmp_path):
    result = run_of("resnet20", store)
    made = sdd_core.export(result, level=1, output=tmp_path / "network.safetensors")
    with safe_open(made.path, "pt") as file:
        header = file.metadata()
    found = json.loads(header["sdd"])
    assert found == made.record["description"] == json.loads(
        (tmp_path / "network.safetensors.json").read_text())["description"]
    assert (found["run"], found["level"], found["classes"]) == (result.run, 1, 10)
    assert found["input_shape"] == [1, 8, 8]
    assert found["metrics"]["test_accuracy"] == result.levels[1].metrics["test_accuracy"]
    data = result.experiment.data.load(None)
    assert found["normalisation"] == {
        "scale": data.scale, "mean": list(data.mean), "std": list(data.std)}


@pytest.mark.parametrize("format", ["state-dict", "torch-prune"])
def test_the_same_level_gives_the_same_bytes(store, tmp_path, format):
    result = run_of("own module", store)
    made = [sdd_core.export(result, format=format, level=1, output=tmp_path / name)
            for name in "abcd"]
    assert len({one.path.read_bytes() for one in made}) == 1
