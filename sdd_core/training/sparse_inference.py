"""Predictions by sparse kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sdd_core.errors import SddError
from sdd_core.installation import install_hint


def sparse_inference(
    network: nn.Module, masks: Mapping[str, Tensor], input_shape: Sequence[int], threads: int = 1
) -> Callable[[Tensor], Tensor] | None:
    """Return a function from inputs to logits that computes with the sparse kernels, on the CPU and
    in evaluation mode. None if the kernels do not know the network: they know perceptrons and
    residual networks in float32 of which every parameter is trained.

    network: its weights are copied. masks: bool, True where a weight is kept, by name. input_shape:
    that of one input, without the batch. The function takes float32 `[N, *input_shape]` and returns
    float32 `[N, classes]`. Raises SddError if numba is missing.
    """
    try:
        from sdd_core.sparse.match import match  # noqa: PLC0415 (imports numba)
        from sdd_core.sparse.module import load  # noqa: PLC0415
        from sdd_core.sparse.network import SgdSettings  # noqa: PLC0415
    except ImportError as error:
        raise SddError(f"sparse kernels need {error.name}, which is not installed; "
                       f"{install_hint()}") from None
    parameters = dict(network.named_parameters())
    if any(parameter.dtype != torch.float32 for parameter in parameters.values()):
        return None
    architecture = match(network, input_shape)
    pruned = {name: mask for name, mask in masks.items() if not mask.all()}
    if architecture is None or not pruned.keys() <= {
        architecture.parameters[place] for place in architecture.weights()
    }:
        return None
    kept: dict[Tensor, Tensor] = {parameters[name]: mask for name, mask in pruned.items()}
    own = load(architecture, network, kept, SgdSettings(0.0, 0.0), threads=threads)

    def infer(inputs: Tensor) -> Tensor:
        labels = np.zeros(len(inputs), np.int64)
        return torch.from_numpy(own.evaluate(inputs.contiguous().numpy(), labels).logits)

    return infer
