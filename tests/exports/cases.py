"""Networks of every sort, and small runs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from support import go
from torch import Tensor, nn

from sdd_core import Result

DIGITS = {"name": "digits", "examples": 60}


class Own(nn.Module):
    """A network of the user's: a frozen layer, a layer that is used twice, tied weights, a buffer,
    batch normalisation and attention, and names that look like those of torch.nn.utils.prune."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.inner = nn.Linear(8, 8)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.inner.weight
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 10)
        self.register_buffer("causal_mask", torch.ones(8, 8).tril() == 0)
        self.register_buffer("scale_orig", torch.tensor(0.5))

    def forward(self, images: Tensor) -> Tensor:
        rows = self.inner(self.frozen(images.flatten(1, 2))).relu()
        rows = self.again(rows).relu() * self.scale_orig
        mixed, _ = self.attention(rows, rows, rows, attn_mask=self.causal_mask)
        return self.last(self.norm((rows + mixed).mean(1)))


def own() -> nn.Module:
    torch.manual_seed(3)
    return Own()


MODELS: dict[str, dict[str, Any]] = {
    "perceptron": {"model": {"name": "mlp", "widths": [12]}},
    "resnet20": {"model": "resnet20", "train": {"epochs": 1, "batch_size": 30}},
    "vit": {"model": {"name": "vit", "patch": 4, "depth": 1, "width": 8, "heads": 2}},
    "own module": {"model": own},
}


def run_of(name: str, store: Path, **changes: Any) -> Result:
    """Carry out a run with two pruned levels of one of these networks."""
    settings: dict[str, Any] = {
        "data": DIGITS, "train": {"epochs": 1}, "levels": 2, "metrics": ["accuracy"],
        "pruner": {"name": "imp", "fraction": 0.5}, **MODELS[name],
    }  # fmt: skip
    return go(settings | changes, store)
