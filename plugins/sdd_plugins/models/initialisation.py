"""Initialisation of the paper's networks."""

from typing import Literal

from torch import nn

NormScale = Literal["uniform", "one"]


def initialise(network: nn.Module, norm_scale: NormScale = "uniform") -> None:
    """Draw the weights from torch's global generator.

    Weights of linear and convolutional layers are Kaiming normal (He et al., 2015, eq. 10, over
    the inputs). Biases keep torch's default initialisation, as in the paper's code; its appendix B
    says that they are 0. Shifts of batch normalisation are 0; scales are uniform on [0, 1), as in
    that code, or 1.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d) and norm_scale == "uniform":
            nn.init.uniform_(module.weight)
