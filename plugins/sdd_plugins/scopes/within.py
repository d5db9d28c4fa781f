from typing import ClassVar, Literal

from sdd_plugins.scopes.layer import Layerwise


class Output(Layerwise):
    """Prune the same fraction of the weights of each output of a layer.

    An output is a row of a linear layer or a filter of a convolution. Each layer is pruned by as
    many weights as with 'layer', and each of its outputs by the same fraction of its remaining
    weights. Rounding: outputs with the largest remainders are pruned by one more, the first ones
    among equal remainders.
    """

    name = "output"
    source = "Sun et al., 2023, arXiv:2306.11695, sec. 3, 'comparison group'"
    within: ClassVar[Literal["output", "input"] | None] = "output"


class Input(Layerwise):
    """Prune the same fraction of the weights of each input of a layer.

    An input is a column of a linear layer or an input channel of a convolution; otherwise like
    'output'.
    """

    name = "input"
    source = "Sun et al., 2023, arXiv:2306.11695, table 7"
    within: ClassVar[Literal["output", "input"] | None] = "input"
