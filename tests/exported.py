"""Networks to export, as the export formats get them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from support import go, small
from torch import Tensor, nn

from sdd_core import Experiment, Exportable, Result

IMAGES = (3, 8, 8)


class TiedParts(nn.Module):
    """A module with a frozen layer, a weight that two layers share and a buffer; it asks for the
    length of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(192, 24).requires_grad_(False)
        self.inner = nn.Linear(24, 24)
        self.again = nn.Linear(24, 24)
        self.again.weight = self.inner.weight
        self.norm = nn.BatchNorm1d(24)
        self.last = nn.Linear(24, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.inner(self.first(images.reshape(len(images), -1))).relu()
        return self.last(self.norm(self.again(hidden)))


def built(model: Mapping[str, Any]) -> nn.Module:
    """The network of a plugin for small images."""
    return Experiment.make({"model": model}).model.build(IMAGES, 10)


NETWORKS = {
    "perceptron": lambda: built({"name": "mlp", "widths": [16]}),
    "resnet20": lambda: built({"name": "resnet20", "width": 4}),
    "vit": lambda: built({"name": "vit", "patch": 4, "depth": 1, "width": 12, "heads": 3}),
    "tied": TiedParts,
}


def pruned(network: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network with random statistics, in evaluation mode, with a third of its weights, and its
    masks."""
    masks = {}
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1 and weight.requires_grad:
                masks[name] = torch.rand_like(weight) < 1 / 3
                weight.mul_(masks[name])
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network.eval(), masks


@cache
def result() -> Result:
    """A run of three levels, which is not on disk any more."""
    with TemporaryDirectory() as store:
        return go(small(), Path(store))


def exportable(network: nn.Module, of: Result | None = None, **described: Any) -> Exportable:
    """A pruned network as level 1 of a run."""
    of = of or result()
    network, masks = pruned(network)
    description = {
        "run": of.run, "level": 1, "sparsity": of.levels[1].sparsity,
        "metrics": dict(of.levels[1].metrics), "model": "mlp", "classes": 10,
        "input_shape": list(IMAGES), "noise": of.noise, "sdd": "0.1.0",
        "normalisation": {"scale": 255.0, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]},
        **described,
    }  # fmt: skip
    return Exportable(network, masks, torch.randn(2, *IMAGES), description, of)


def batches() -> list[Tensor]:
    """Random inputs of several batch sizes."""
    return [torch.randn(size, *IMAGES) for size in (1, 2, 5)]
