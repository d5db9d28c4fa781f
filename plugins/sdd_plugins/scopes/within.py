from typing import ClassVar, Literal

from sdd_plugins.scopes.layer import Layerwise


class Output(Layerwise):
    """Each output of a layer loses an equal share of its own weights.

    An output is a row of a linear layer and a filter of a convolution. Each layer loses as many as
    with 'layer', and each of its outputs the same share of what it has left; what whole numbers
    leave goes to the outputs with the largest remainders, of equal ones the first.
    """

    name = "output"
    source = "Sun et al., 2023, arXiv:2306.11695, sec. 3, 'comparison group'"
    within: ClassVar[Literal["output", "input"] | None] = "output"


class Input(Layerwise):
    """Each input of a layer loses an equal share of its own weights.

    An input is a column of a linear layer and an input channel of a convolution; otherwise as
    'output'.
    """

    name = "input"
    source = "Sun et al., 2023, arXiv:2306.11695, table 7"
    within: ClassVar[Literal["output", "input"] | None] = "input"
