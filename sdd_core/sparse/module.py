"""Numbers of a torch module into a network, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.network import Network, SgdSettings, State
from sdd_core.sparse.perceptron import Perceptron
from sdd_core.sparse.residual import ResidualNetwork


def load(
    architecture: Architecture,
    model: nn.Module,
    masks: Mapping[Tensor, Tensor],
    settings: SgdSettings,
    *,
    momenta: Mapping[Tensor, Tensor] | None = None,
    kernels: Sequence[str] | None = None,
    threads: int = 1,
) -> Network:
    """Return a network with copies of a model's parameters and statistics.

    Args:
        architecture: what `match` found in the model, or in one that is built alike.
        masks: for parameters of the model, which entries are kept; all where there is none.
        momenta: SGD's momentum buffer of each parameter (None: no step taken yet).
        kernels, threads: as in `Perceptron` and `ResidualNetwork`.
    """
    kind = ResidualNetwork if architecture.operations else Perceptron
    state, kept = _state(architecture, model, momenta), _kept(architecture, model, masks)
    return kind(architecture, state, kept, settings, kernels, threads)


def reload(
    network: Network,
    model: nn.Module,
    masks: Mapping[Tensor, Tensor],
    momenta: Mapping[Tensor, Tensor],
) -> None:
    """Copy a model's parameters and statistics into a network again, under other masks."""
    architecture = network.architecture
    network.refill(_state(architecture, model, momenta), _kept(architecture, model, masks))


def _state(
    architecture: Architecture, model: nn.Module, momenta: Mapping[Tensor, Tensor] | None
) -> State:
    parameters = [model.get_parameter(name) for name in architecture.parameters]
    return State(
        [parameter.detach().numpy() for parameter in parameters],
        None if momenta is None else [momenta[p].detach().numpy() for p in parameters],
        [(_copied(norm.running_mean), _copied(norm.running_var))
         for norm in _norms(architecture, model)],
    )  # fmt: skip


def _kept(
    architecture: Architecture, model: nn.Module, masks: Mapping[Tensor, Tensor]
) -> list[NDArray | None]:
    parameters = [model.get_parameter(name) for name in architecture.parameters]
    return [masks[p].bool().numpy() if p in masks else None for p in parameters]


@torch.no_grad()
def save(network: Network, model: nn.Module) -> dict[Tensor, Tensor]:
    """Copy the network's parameters and statistics into the model; return the momentum buffer of
    each parameter."""
    architecture, state = network.architecture, network.state()
    momenta: dict[Tensor, Tensor] = {}
    for name, value, buffer in zip(
        architecture.parameters, state.parameters, state.momenta or [], strict=True
    ):
        parameter = model.get_parameter(name)
        parameter.copy_(torch.from_numpy(value))
        momenta[parameter] = torch.from_numpy(buffer)
    norms = _norms(architecture, model)
    for norm, (mean, variance) in zip(norms, state.statistics, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean.copy_(torch.from_numpy(mean))
        norm.running_var.copy_(torch.from_numpy(variance))
        norm.num_batches_tracked += network.steps
    network.steps = 0
    return momenta


def _norms(architecture: Architecture, model: nn.Module) -> list[nn.BatchNorm2d]:
    return [cast(nn.BatchNorm2d, model.get_submodule(name)) for name in architecture.modules]


def _copied(buffer: Tensor | None) -> NDArray:
    assert buffer is not None
    return buffer.detach().numpy().copy()
