"""Train with an optimizer of another package, Lion, and leave biases without weight decay.

    pip install lion-pytorch
    python examples/third_party_optimizer.py
"""

import argparse
from collections.abc import Mapping

import torch
from lion_pytorch import Lion as LionOfPackage
from pydantic import Field

import sdd_core
from sdd_core import Optimizer


class Lion(Optimizer):
    """Lion: steps against the sign of an interpolated momentum."""

    name = "lion"
    source = "Chen et al., 2023, arXiv:2302.06675; github.com/lucidrains/lion-pytorch"

    beta1: float = Field(default=0.9, ge=0, lt=1, description="weight of the momentum in a step")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="decay of the momentum")

    def make_named(
        self, parameters: Mapping[str, torch.Tensor], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        biases = [one for name, one in parameters.items() if name.endswith("bias")]
        others = [one for name, one in parameters.items() if not name.endswith("bias")]
        groups = [{"params": others, "weight_decay": weight_decay},
                  {"params": biases, "weight_decay": 0.0}]
        return LionOfPackage(groups, lr=lr, betas=(self.beta1, self.beta2))


def main() -> sdd_core.Result:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--levels", type=int, default=15)
    arguments.add_argument("--epochs", type=int, default=40)
    options = arguments.parse_args()

    return sdd_core.run(
        {"train": {"epochs": options.epochs, "lr": 0.001, "weight_decay": 0.1,
                   "optimizer": Lion()}},
        noise={"name": "symmetric", "rate": 0.4},
        pruner={"name": "imp", "fraction": 0.3},
        levels=options.levels,
        progress=True,
    )


if __name__ == "__main__":
    result = main()
    for sparsity, accuracy in zip(result.sparsity, result.curve("test_accuracy"), strict=True):
        print(f"{sparsity:7.2%} sparse: {accuracy:.3f}")
    print(result.phases.verdict)
