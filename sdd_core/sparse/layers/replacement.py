"""The masked layers of a network in training, replaced for a while by their kept weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from sdd_core.sparse.costs import EXAMPLES, KernelCosts, LayerWork
from sdd_core.sparse.layers.layer import LANES, KeptLayer, group_size
from sdd_core.sparse.layers.names import SEPARATOR
from sdd_core.sparse.layers.product import Dense, Product
from sdd_core.sparse.match.plain import plain_layers
from sdd_core.sparse.plan.masked import Geometry, Pair
from sdd_core.sparse.simd import BLOCK


class MaskedLayers:
    """Linear layers and convolutions of a network that compute with their kept weights.

    Whether one does is decided when it is first called in training, by the costs. A layer stays
    dense if it is not plain (`plain_layers`), and so does a call with inputs that the kernels do
    not know: another number type, vmap, autocast. The weights of the network stay where they are.

    kernels: those of a checkpoint: its layers are not decided about again. chosen_by: the masks
    that decide, if `masks` move.
    """

    def __init__(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        costs: KernelCosts,
        kernels: Sequence[str] | None = None,
        chosen_by: Mapping[str, Tensor] | None = None,
    ) -> None:
        decisive = masks if chosen_by is None else chosen_by
        decided = dict(entry.rsplit(SEPARATOR, 1) for entry in kernels or ())
        plain = plain_layers(network)
        self._layers = {
            name: _Masked(module, masks[weight], decisive.get(weight, masks[weight]), costs,
                          decided.get(name))
            for name, module in plain.items()
            if (weight := f"{name}.weight".lstrip(".")) in masks and _is_known(module)
        }

    @property
    def kernels(self) -> tuple[str, ...]:
        """What was decided: "NAME=sparse" or "NAME=dense" for each layer; none if no layer is
        computed on its kept weights."""
        found = {name: layer.kernel for name, layer in self._layers.items() if layer.kernel}
        if "sparse" not in found.values():
            return ()
        return tuple(map(SEPARATOR.join, found.items()))

    def remask(self, masks: Mapping[str, Tensor]) -> None:
        """Go on with other masks, by the same kernels."""
        for name, layer in self._layers.items():
            weight = f"{name}.weight".lstrip(".")
            if weight in masks:
                layer.remask(masks[weight])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the network's layers compute with their kept weights inside the block."""
        used = [layer for layer in self._layers.values() if layer.is_masked]
        try:
            for layer in used:
                layer.module.__dict__["forward"] = layer
            yield
        finally:
            for layer in used:
                layer.module.__dict__.pop("forward", None)


class _Masked:
    """A masked layer; called in place of the module's forward method."""

    def __init__(
        self,
        module: nn.Linear | nn.Conv2d,
        mask: Tensor,
        decisive: Tensor,
        costs: KernelCosts,
        kernel: str | None,
    ) -> None:
        self.module, self.kernel, self._costs = module, kernel, costs
        self._decisive = int(decisive.sum())
        self._dense: Dense = functional.linear
        if isinstance(module, nn.Conv2d):
            self._dense = partial(
                functional.conv2d, stride=module.stride, padding=module.padding,
                dilation=module.dilation, groups=module.groups,
            )  # fmt: skip
        self.remask(mask)

    def remask(self, mask: Tensor) -> None:
        self._mask = mask.bool().cpu().numpy()
        self.is_masked = not self._mask.all()
        self._kept: dict[Pair, KeptLayer] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        kept = self._kept_for(inputs)
        if kept is None:
            module: nn.Module = self.module
            results: Tensor = type(module).forward(module, inputs)
            return results
        return Product.apply(inputs, self.module.weight, self.module.bias, kept, self._dense)

    def _kept_for(self, inputs: Tensor) -> KeptLayer | None:
        """Return what computes the results of these inputs; None: the module itself."""
        module = self.module
        if self.kernel == "dense" or not _can_compute(module, inputs):
            return None
        geometry = geometry_of(module, inputs)
        if min(geometry.size[1] * geometry.inputs, geometry.out_size[1] * geometry.outputs) < BLOCK:
            return None
        if self.kernel is None and module.training and torch.is_grad_enabled():
            self.kernel = "sparse" if self._gains(geometry, inputs) else "dense"
        if self.kernel != "sparse":
            return None
        if geometry.size not in self._kept:
            self._kept[geometry.size] = KeptLayer(self._mask, geometry, _places(module.weight))
        return self._kept[geometry.size]

    def _gains(self, geometry: Geometry, inputs: Tensor) -> bool:
        examples = inputs.numel() // (geometry.inputs * prod(geometry.size))
        images, (height, across) = group_size(geometry), geometry.out_size
        groups, results = -(-examples // images), examples * height * across
        passes = 3 if inputs.requires_grad else 2
        numbers = examples * prod(geometry.size) * geometry.inputs * passes
        numbers += 2 * results * geometry.outputs
        rows = -(-across * images // LANES.width) * LANES.width / EXAMPLES
        return self._costs.gains_masked(LayerWork(
            self._mask.size, self._decisive, results, groups * height * rows, numbers,
            isinstance(self.module, nn.Conv2d),
        ))  # fmt: skip


def geometry_of(module: nn.Linear | nn.Conv2d, inputs: Tensor) -> Geometry:
    """Return the geometry of a layer for some inputs."""
    if isinstance(module, nn.Linear):
        return Geometry(module.in_features, module.out_features)
    kernel, stride, dilation = (
        (int(a), int(b)) for a, b in (module.kernel_size, module.stride, module.dilation)
    )
    size = (inputs.shape[2], inputs.shape[3])
    whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if isinstance(module.padding, str):
        both = whole if module.padding == "same" else [0, 0]
        before = [total // 2 for total in both]
    else:
        before = [int(padding) for padding in module.padding]
        both = [2 * padding for padding in before]
    out = [(length + total - reach - 1) // step + 1
           for length, total, reach, step in zip(size, both, whole, stride, strict=True)]
    return Geometry(module.in_channels, module.out_channels, module.groups, kernel, stride,
                    (before[0], before[1]), dilation, size, (out[0], out[1]))  # fmt: skip


def _is_known(module: nn.Linear | nn.Conv2d) -> bool:
    """Whether the kernels know a layer."""
    weight = module.weight
    padded = getattr(module, "padding_mode", "zeros")
    return padded == "zeros" and weight.requires_grad and weight.dtype == torch.float32


def _can_compute(module: nn.Linear | nn.Conv2d, inputs: Tensor) -> bool:
    """Whether a call is one that the kernels know; others are left to torch, errors too."""
    if _is_transformed() or type(inputs) not in (Tensor, nn.Parameter):
        return False
    if inputs.layout != torch.strided or inputs.numel() == 0:
        return False
    if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in (inputs, module.weight)):
        return False
    if isinstance(module, nn.Linear):
        return inputs.dim() > 0 and inputs.shape[-1] == module.in_features
    fits = inputs.dim() == 4 and inputs.shape[1] == module.in_channels
    return fits and min(geometry_of(module, inputs).out_size) > 0


def _is_transformed() -> bool:
    """Whether operations are done to something else than plain numbers, or in another type."""
    return (
        torch.is_autocast_enabled("cpu")
        or torch.jit.is_tracing()
        or forward_ad._current_level >= 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _places(weight: Tensor) -> np.ndarray:
    """Return where each entry of a weight lies in its memory."""
    return torch.arange(weight.numel()).as_strided(weight.shape, weight.stride()).numpy()
