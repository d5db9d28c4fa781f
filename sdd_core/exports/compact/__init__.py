"""Physically smaller networks that compute the same.

The network is traced by torch.fx, with torch's layers as operations. An analysis goes through the
operations once: it finds which channels are constants, whatever the input, and what these are; and
which channels can only go together ("units"). Backwards from the output, it then marks the units
that are read with a non-zero weight. The others are removed from the layers, and constants among
them go into the next bias.

torch.fx rather than the dependency graph of Torch-Pruning: that one groups channels as well, but
it does not know values. It could tell neither that a channel without weights is a constant, nor
what the constant is once it went through normalisation and activation, which is what the next
layer has to add.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from sdd_core.errors import SddError, format_error
from sdd_core.exports.compact.analysis import Analysis
from sdd_core.exports.compact.rewriting import Rewriting, count
from sdd_core.exports.compact.tracing import trace

# Of the check at the end, in float64, or in the network's own number type.
TOLERANCE, ROUNDED = 1e-5, 1e-3


@torch.no_grad()
def compact(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a smaller network that gives the same outputs, to rounding, in evaluation mode.

    Removed are neurons, channels, groups of convolutions and attention heads that do not reach the
    output with a weight that is not zero, or that do not depend on the input; what the latter
    contributed goes into the bias of the next layers. Behind zero padding, where a constant
    contributes less at the border, one constant channel stays in place of all.

    What is not known to be safe stays: the features of a layer normalisation, layers that are used
    twice or share weights, everything around an unknown operation, and modules that torch.fx can't
    trace.

    network: it is not changed. example: a batch of inputs as the network takes them, `[N, ...]`;
    the first two are used. Return a `torch.fx.GraphModule` in evaluation mode, with the layers'
    names, number types and device of the network. It can be pickled, exported and trained. Raises
    SddError for a network that can't be traced, or that does not compute the same twice.
    """
    small = trace(network)
    form = _form(small)
    small = small.cpu().double()
    exact = example.detach().cpu()
    exact = exact.double() if exact.is_floating_point() else exact
    size = count(small) + 1
    while count(small) < size:
        size = count(small)
        Rewriting(Analysis(small, exact[:1].clone())).apply()
    try:
        _check(small, deepcopy(network).cpu().double().eval(), exact, TOLERANCE)
    except RuntimeError:  # forward converts to a type of its own, which does not go with float64
        _restored(small, form)
        _check(small, deepcopy(network).eval(), example.detach(), ROUNDED)
    return _restored(small, form)


def _check(small: nn.Module, network: nn.Module, example: Tensor, tolerance: float) -> None:
    """Raise SddError if the outputs for the example differ."""
    try:
        for batch in (example[:1], example[:2]):
            found, expected = small(batch.clone()), network(batch.clone())
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance,
                                       equal_nan=True)  # fmt: skip
    except AssertionError as error:
        raise SddError(
            f"{type(network).__name__} can't be made smaller, because what torch.fx sees of it "
            f"does not give the same outputs ({format_error(error)}); check for random numbers, "
            "state that forward changes, and tensors that are changed in place and read later"
        ) from None


def _form(network: nn.Module) -> dict[str, tuple[torch.dtype, torch.device]]:
    """The number type and the device of each parameter and buffer."""
    return {name: (tensor.dtype, tensor.device) for name, tensor in _tensors(network)}


def _restored(network: nn.Module, form: dict[str, tuple[torch.dtype, torch.device]]) -> nn.Module:
    """Give all tensors their form; a new bias gets that of the weight, a constant that of any."""
    for name, tensor in _tensors(network):
        weight = f"{name.rpartition('.')[0]}.weight"
        kind, device = form.get(name) or form.get(weight) or next(iter(form.values()))
        tensor.data = tensor.data.to(device, kind)
    return network


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)


__all__ = ["compact"]
