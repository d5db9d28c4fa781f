"""Multilayer perceptrons."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from sdd_core import Model
from sdd_plugins.models.initialisation import initialise


class Mlp(Model):
    """A multilayer perceptron with ReLU, by default LeNet-300-100.

    The layers are called `hidden1`, `hidden2`, ..., `output`; the last one is not pruned.
    """

    name = "mlp"
    source = "LeCun, Bottou, Bengio and Haffner (1998); He et al. (2022), appendix B"

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(300, 100), description="number of units of each hidden layer"
    )
    init: Literal["torch", "kaiming"] = Field(
        default="torch",
        description="initial weights: torch's uniform default, or Kaiming normal as in the paper's "
        "code, which are larger and hide the learning distance",
    )

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        inputs = prod(input_shape)
        for number, width in enumerate(self.widths, start=1):
            layers[f"hidden{number}"] = nn.Linear(inputs, width)
            layers[f"relu{number}"] = nn.ReLU()
            inputs = width
        layers["output"] = nn.Linear(inputs, num_classes)
        network = nn.Sequential(layers)
        if self.init == "kaiming":
            initialise(network)
        return network

    def exempt(self) -> tuple[str, ...]:
        return ("output",) if self.widths else ()
