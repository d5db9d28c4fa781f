"""Prune a network with attention, trained by AdamW, on your own tensors.

    python examples/attention.py
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

import sdd_core


class Network(nn.Module):
    """A network with attention. Any module works: `sdd` finds its prunable weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(8, 32)  # a token for each row of pixels
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = self.tokens(images.squeeze(1))
        mixed = self.norm(rows + self.attention(rows, rows, rows, need_weights=False)[0])
        return self.head(mixed.mean(1))


def main() -> sdd_core.Result:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--levels", type=int, default=15)
    arguments.add_argument("--epochs", type=int, default=40)
    options = arguments.parse_args()

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    order = torch.randperm(len(images))
    train, test = order[:1000], order[1000:]

    return sdd_core.run(
        {"train": {"epochs": options.epochs, "optimizer": "AdamW", "lr": 0.003}},
        model=Network(),
        train=(images[train], labels[train]),
        test=(images[test], labels[test]),
        noise={"name": "symmetric", "rate": 0.2},
        pruner={"name": "imp", "fraction": 0.3},
        levels=options.levels,
        progress=True,
    )


if __name__ == "__main__":
    result = main()
    for sparsity, accuracy in zip(result.sparsity, result.curve("test_accuracy"), strict=True):
        print(f"{sparsity:7.2%} sparse: {accuracy:.3f}")
    print(result.phases.verdict)
