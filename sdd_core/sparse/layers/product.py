"""A masked layer as a function that torch differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sdd_core.sparse.layers.layer import KeptLayer

Dense = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Product(torch.autograd.Function):
    """layer(inputs, weight, bias), computed on the kept weights; the others' gradients are 0.

    Inputs are `[N, ..., inputs]` for a linear layer, `[N, inputs, height, width]` for a
    convolution. Derivatives of higher order are those of `dense`, which computes the same on all
    weights.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, layer: KeptLayer,
        dense: Dense,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(inputs, weight, bias)
        ctx.layer, ctx.dense = layer, dense
        maps = weight.dim() == 4
        channels = channels_last(inputs.detach(), maps=maps)
        shift = None if bias is None else bias.detach()
        # No view is returned: torch refuses to change one in place, as the next layer may want to.
        if maps:
            results = torch.empty(len(inputs), len(weight), *layer.out_size,
                                  memory_format=torch.channels_last)  # fmt: skip
            written = results.permute(0, 2, 3, 1)
        else:
            results = inputs.new_empty(*inputs.shape[:-1], len(weight))
            written = results.view(-1, 1, 1, len(weight))
        layer.forward(channels, in_memory(weight.detach()), shift, written)
        # As torch does: the format of the inputs or of the weight.
        last = _has_channels_last(inputs) or _has_channels_last(weight)
        return results if last or not maps else results.contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, bias = ctx.saved_tensors
        # The gradient is going to be differentiated, or is a batch of gradients.
        if torch.is_grad_enabled() or is_batched(gradient):
            return *_differentiable(ctx, inputs, weight, bias, gradient), None, None
        maps = weight.dim() == 4
        channels = channels_last(inputs.detach(), maps=maps)
        of_results = channels_last(gradient, maps=maps)
        of_weight = torch.zeros_like(weight)
        of_inputs = ctx.layer.backward(
            channels, of_results, in_memory(weight.detach()), in_memory(of_weight),
            need=ctx.needs_input_grad[0],
        )  # fmt: skip
        if of_inputs is not None:
            of_inputs = of_inputs.permute(0, 3, 1, 2) if maps else of_inputs.view(inputs.shape)
        of_bias = of_results.sum((0, 1, 2)) if ctx.needs_input_grad[2] else None
        return of_inputs, of_weight, of_bias, None, None


def _differentiable(
    ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, gradient: Tensor
) -> list[Tensor | None]:
    tensors = (inputs, weight, bias)
    wanted = [t for t, need in zip(tensors, ctx.needs_input_grad, strict=False)
              if need and t is not None]
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        results = ctx.dense(*tensors)
    found = iter(torch.autograd.grad(results, wanted, gradient, create_graph=create_graph))
    return [next(found) if need else None for need in ctx.needs_input_grad[:3]]


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor stands for many, as under vmap."""
    kind = torch._C._functorch
    return kind.is_functorch_wrapped_tensor(tensor) or kind.is_legacy_batchedtensor(tensor)


def channels_last(tensor: Tensor, *, maps: bool) -> Tensor:
    """Return a layer's inputs or results as contiguous [examples, height, width, channels]."""
    if maps:
        return tensor.permute(0, 2, 3, 1).contiguous()
    return tensor.reshape(-1, 1, 1, tensor.shape[-1]).contiguous()


def in_memory(weight: Tensor) -> Tensor:
    """Return a dense tensor's numbers in the order in which they lie in memory."""
    return weight.as_strided((weight.numel(),), (1,))


def _has_channels_last(tensor: Tensor) -> bool:
    last = torch.channels_last
    return tensor.is_contiguous(memory_format=last) and not tensor.is_contiguous()
