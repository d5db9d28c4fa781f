"""Predictions by sparse kernels are those of the network."""

import builtins

import pytest
import torch
from support import go, plugins_with, small
from torch import nn

import sdd_core
from sdd_core import Metric, SddError, sparse_inference
from sdd_core.level.evaluation import predict
from sdd_core.level.masks import prunable_weights


def pruned(network: nn.Module, density: float):
    """The network under random masks, and the masks."""
    draw = torch.Generator().manual_seed(0)
    masks = {}
    with torch.no_grad():
        for name, weight in prunable_weights(network).items():
            masks[name] = torch.rand(weight.shape, generator=draw) < density
            weight.mul_(masks[name])
    return network.eval(), masks


NETWORKS = {
    "mlp": ({"name": "mlp", "widths": (20, 10)}, (1, 6, 6)),
    "resnet": ("resnet20", (3, 16, 16)),
}


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("density", [1.0, 0.3, 0.02, 0.0])
@pytest.mark.parametrize("count", [1, 5, 130])
def test_logits_are_equal_to_rounding(model, density, count):
    settings, shape = NETWORKS[model]
    torch.manual_seed(0)
    made = sdd_core.load_plugins().make("model", settings).build(shape, 4)
    network, masks = pruned(made, density)
    infer = sparse_inference(network, masks, shape)
    inputs = torch.randn(count, *shape)
    with torch.inference_mode():
        torch.testing.assert_close(infer(inputs), network(inputs), rtol=1e-4, atol=1e-4)
    assert not network.training


def test_other_networks_have_none():
    assert sparse_inference(nn.Linear(4, 2).double(), {}, (4,)) is None
    vgg = sdd_core.load_plugins().make("model", "vit").build((3, 8, 8), 4)
    assert sparse_inference(vgg, {}, (3, 8, 8)) is None
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert sparse_inference(frozen, {}, (1, 2, 2)) is not None
    assert sparse_inference(frozen, {"1.bias": torch.tensor([True, False, True])},
                            (1, 2, 2)) is None
    frozen[1].requires_grad_(False)
    assert sparse_inference(frozen, {}, (1, 2, 2)) is None


def test_without_numba_it_says_how_to_get_it(monkeypatch):
    there = builtins.__import__

    def missing(name, *args, **more):
        if name.startswith("sdd_core.sparse.m"):
            raise ModuleNotFoundError("No module named 'numba'", name="numba")
        return there(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SddError, match=r"sparse kernels need numba, which is not installed; .*pip"):
        sparse_inference(nn.Linear(4, 2), {}, (4,))


def test_metrics_use_the_predictions_of_the_kernels_that_trained_the_level(tmp_path, monkeypatch):
    settings = small(levels=1, model={"name": "mlp", "widths": [64]})
    plain = go({**settings, "kernels": "none"}, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("sdd_core.level.level.predict", None)
        result = go(settings, tmp_path)
        # Measured again, from the stored level: to the bit.
        for file in (*(tmp_path / ".shared" / "metrics").iterdir(),
                     result.folder / "metrics.jsonl"):
            file.unlink()
        again = go(settings, tmp_path)
    assert [level.metrics for level in again.levels] == [level.metrics for level in result.levels]
    for level, other in zip(result.levels, plain.levels, strict=True):
        assert level.number("test_accuracy") == level.epochs[-1]["test_accuracy"]
        assert level.number("test_accuracy") == pytest.approx(other.number("test_accuracy"),
                                                              abs=0.05)


def test_logits_by_kernels_are_those_of_the_network(tmp_path):
    found = []

    class Both(Metric):
        """Logits of the view, and of its network."""

        name = "both"

        def measure(self, level):
            expected = predict(level.network(), level.data, level.data.test.images)
            found.append((level.test_logits, expected))
            return {"both": 1.0}

    go(small(levels=1, metrics=["both"]), tmp_path, plugins=plugins_with(sdd_metrics=[Both]))
    assert len(found) == 2
    for logits, expected in found:
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
