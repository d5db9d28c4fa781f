"""The levels of a result have their networks: plain modules that score what the run recorded."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from runs.before_checksums import strip
from support import go, small
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import sdd_core
from exports.cases import DIGITS, MODELS, own, run_of
from sdd_core import LevelResult, SddError
from sdd_core.data.resident import normalise
from sdd_core.sweeps import sweep


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def accuracy(result, level: LevelResult) -> float:
    """The test accuracy of a level's network, computed with torch alone."""
    data = result.experiment.data.load(None)
    with torch.no_grad():
        logits = level.network()(normalise(data.test.images, data))
    return float((logits.argmax(1) == data.test.labels).double().mean())


@pytest.mark.parametrize("name", MODELS)
def test_each_level_has_the_network_that_was_measured(store, name):
    result = run_of(name, store)
    for level in result.levels:
        network, masks, state = level.network(), level.masks, level.state_dict()
        assert not any(module.training for module in network.modules())
        assert {tensor.device.type for tensor in state.values()} == {"cpu"}
        weights = dict(network.named_parameters())
        pruned: list[torch.Tensor] = []
        for weight, mask in masks.items():
            assert mask.dtype == torch.bool
            assert mask.shape == weights[weight].shape
            assert not weights[weight][~mask].any()
            pruned += [] if mask.all() else [mask.flatten()]  # others are exempt
        density = torch.cat(pruned).double().mean().item() if pruned else 1.0
        assert density == pytest.approx(level.density)
        plain = copy.deepcopy(network)
        for parameter in plain.parameters():
            nn.init.constant_(parameter, 7.0)
        plain.load_state_dict(state, strict=True)
        assert all(torch.equal(one, state[key]) for key, one in plain.state_dict().items())
        # Sparse kernels, and other processors, round otherwise.
        assert accuracy(result, level) == pytest.approx(level.metrics["test_accuracy"], abs=0.01)


def test_it_is_a_plain_module_and_a_new_one_each_time(store):
    level = run_of("own module", store).levels[2]
    one, other = level.network(), level.network()
    assert list(map(type, one.modules())) == list(map(type, own().modules()))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in one.modules())
    with torch.no_grad():
        one.last.weight.zero_()
    assert other.last.weight.any()
    level.state_dict()["last.weight"].zero_()
    level.masks["last.weight"].zero_()
    assert level.network().last.weight.any()
    assert level.masks["last.weight"].any()
    assert other.again.weight is other.inner.weight
    assert not other.frozen.weight.requires_grad
    assert torch.equal(other.frozen.weight, own().frozen.weight)


def test_random_numbers_of_the_program_stay_as_they_are(store):
    level = run_of("own module", store).levels[1]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    level.network()
    assert torch.equal(torch.rand(3), expected)


def test_a_level_that_diverged_has_no_network(tmp_path):
    result = go(small(train={"epochs": 1, "lr": 1e25}, levels=0), tmp_path)
    assert result.levels[0].diverged
    for read in (result.levels[0].network, result.levels[0].state_dict):
        with pytest.raises(SddError, match="level 0 diverged, so it has no trained network"):
            read()
    with pytest.raises(SddError, match="has no trained level yet"):
        _ = result.recommended


@pytest.mark.parametrize("ablation", ["shuffle", "reinit", "re-dense"])
def test_under_an_ablation_it_is_the_ablated_network(tmp_path, ablation):
    plain = run_of("perceptron", tmp_path)
    result = run_of("perceptron", tmp_path, ablation=ablation)
    level = result.levels[2]
    assert accuracy(result, level) == pytest.approx(level.metrics["test_accuracy"], abs=0.01)
    assert any(not torch.equal(tensor, plain.levels[2].state_dict()[name])
               for name, tensor in level.state_dict().items())


def test_pruned_weights_that_were_trained_again_or_held_stay_as_they_were_measured(tmp_path):
    lifted = run_of("perceptron", tmp_path, ablation="re-dense")
    held = run_of("perceptron", tmp_path, retrain={"name": "rewind", "pruned": "initial"})
    for result in (lifted, held):
        level = result.levels[2]
        weight, mask = level.state_dict()["hidden1.weight"], level.masks["hidden1.weight"]
        assert not mask.all()
        assert weight[~mask].any()
        assert accuracy(result, level) == pytest.approx(level.metrics["test_accuracy"], abs=0.01)


def test_the_dense_level_has_masks_for_included_weights_too(tmp_path):
    words = {"name": "imp", "fraction": 0.5, "include": ["position"]}
    model = MODELS["vit"]["model"]
    names = [name for name, _ in sdd_core.load_plugins().make("model", model).build(
        (1, 8, 8), 10).named_parameters() if "position" in name]
    result = run_of("vit", tmp_path, pruner=words | {"include": names})
    assert set(result.levels[0].masks) == set(result.levels[1].masks) >= set(names)
    assert all(mask.all() for mask in result.levels[0].masks.values())


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(64, 6)), nn.ReLU(),
                         nn.Linear(6, 10))


def test_weight_norms_stay_torchs_own_unless_torch_would_compute_nan(tmp_path):
    settings = {"data": DIGITS, "train": {"epochs": 1}, "model": normed, "levels": 1}
    some = go(settings, tmp_path).levels[1].network()
    assert type(some[1].parametrizations.weight[0]) is parametrizations._WeightNorm
    none = go(settings | {"pruner": {"name": "imp", "sparsity": [0.998]}}, tmp_path).levels[1]
    network = none.network()
    rows = network[1].parametrizations.weight.original1.abs().sum(1)
    assert (rows == 0).any()
    assert network[1].weight.isfinite().all()
    assert parametrize.is_parametrized(network[1])
    plain = normed()
    plain.load_state_dict(none.state_dict())
    assert plain[1].weight.isnan().any()


def test_results_travel_stay_equal_and_print_in_a_line(store):
    result = run_of("perceptron", store)
    copied = pickle.loads(pickle.dumps(result))
    assert copied == result
    assert copied.levels[2].network().state_dict().keys() == result.levels[2].state_dict().keys()
    assert copied.recommended == result.recommended
    assert len(repr(result.levels[2])) < 200
    assert "stored" not in repr(result)


def test_levels_that_are_in_no_folder_say_so():
    with pytest.raises(SddError, match="the network of level 3 is not known here; "):
        LevelResult(3, "key", 0.5, 0.5, False, {}).network()


@pytest.mark.slow
def test_sweeps_have_networks_too(tmp_path):
    results = sweep(small(seed=[0, 1], data=DIGITS, levels=1), store=tmp_path, workers=1)
    for result in results:
        result.recommended.network()


def test_the_cost_is_what_was_measured():
    metrics = {"kept_macs": 10, "dense_macs": 100, "test_accuracy": 0.5}
    assert LevelResult(0, "key", 0.0, 1.0, False, metrics).cost == {
        "dense_macs": 100, "kept_macs": 10}
    assert LevelResult(0, "key", 0.0, 1.0, False, {}).cost == {}


@pytest.mark.parametrize("harm", ["change", "delete", "swap"])
def test_damage_is_found(store, tmp_path, harm):
    result = run_of("perceptron", store)
    folder = tmp_path / result.run
    shutil.copytree(result.folder, folder)
    level = sdd_core.load_run(folder).levels[1]
    file = folder / "levels" / "01" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    file.unlink()
    if harm == "change":
        content[-1] ^= 1
        file.write_bytes(content)
    if harm == "swap":
        shutil.rmtree(folder / "levels" / "01")
        shutil.copytree(folder / "levels" / "02", folder / "levels" / "01")
    with pytest.raises(SddError) as told:
        level.network()
    assert str(told.value).startswith("level 1 in ")
    assert f"`sdd resume {folder}` makes it again" in str(told.value)
    assert "\n" not in str(told.value)


def test_runs_of_earlier_versions(store, tmp_path):
    """Without checksums their levels are read; without a shape of examples the record says what to
    do, and resuming does it."""
    result = run_of("perceptron", store)
    shutil.copytree(store, tmp_path / "store")
    strip(tmp_path / "store")
    folder = tmp_path / "store" / result.run
    old = sdd_core.load_run(folder)
    assert torch.equal(old.levels[1].state_dict()["output.weight"],
                       result.levels[1].state_dict()["output.weight"])
    record = folder / "record.json"
    content = json.loads(record.read_text())
    del content["inputs"]
    record.write_text(json.dumps(content))
    old = sdd_core.load_run(folder)
    with pytest.raises(SddError, match=r"lacks the shape of the inputs, .* `sdd resume "):
        old.levels[1].network()
    assert old.levels[1].state_dict()
    sdd_core.run(old.experiment, store=tmp_path / "store", device="cpu")
    assert isinstance(sdd_core.load_run(folder).levels[1].network(), nn.Sequential)
