"""Load the stored weights of a level into a network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sdd_core.errors import SddError, format_error
from sdd_core.level.normed import has_nan, keep_zeros

NAMED = 3
"""The number of tensors that an error names."""


def load_state(network: nn.Module, state: Mapping[str, Tensor], source: str) -> nn.Module:
    """Load all tensors of a state into a network, and return it on the CPU, in evaluation mode.

    source: where the state comes from, for errors. Raises SddError unless the names and shapes are
    exactly those of the network.
    """
    own = network.state_dict()
    odd = [f"{name} is {_shape(state.get(name))} there and {_shape(own.get(name))} in the network"
           for name in own | dict(state) if _shape(state.get(name)) != _shape(own.get(name))]
    if odd:
        more = f" (and {len(odd) - NAMED} more)" if len(odd) > NAMED else ""
        raise SddError(f"{type(network).__name__} is not the network of {source}: "
                       f"{', '.join(odd[:NAMED])}{more}; pass the network that the run trained")
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise SddError(f"{type(network).__name__} cannot hold {source}: "
                       f"{format_error(error)}") from None
    network = network.cpu().eval()
    # Torch's own norms are kept wherever they can compute with pruned weights.
    return keep_zeros(network) if has_nan(network) else network


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(list(tensor.shape))
