"""Count the multiply-adds (MACs) of a network, and those with weights that are not zero."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class Macs(NamedTuple):
    """Multiply-adds per example: of the dense network, and with weights that are not zero."""

    dense: int
    kept: int


def count_macs(network: nn.Module, inputs: Tensor) -> Macs:
    """Count the multiply-adds of a network in evaluation mode per example, as
    `torch.utils.flop_counter` does: matrix products and convolutions, positions in the padding
    included; no biases, normalisations, activations, pooling and look-ups. Products of weights
    alone are not counted, because they are the same for all examples.

    A product of inputs with a weight, or with what was computed from weights alone, is kept as far
    as that operand is not zero. A product of two activations, as in attention, is kept whole.

    inputs: `[examples, ...]`.
    """
    with torch.no_grad(), _as_matrix_products(), _Counter(network, inputs) as counter:
        network(inputs)
    return Macs(counter.dense // len(inputs), counter.kept // len(inputs))


@contextmanager
def _as_matrix_products() -> Iterator[None]:
    """Make torch compute recurrent and attention layers by matrix products that can be seen, not
    in one operation."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [one.enabled for one in libraries]
    for one in libraries:
        one.enabled = False
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for one, value in zip(libraries, enabled, strict=True):
            one.enabled = value


def _of_trilinear(one: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    return 2 * len(one) * weight.numel()


def _of_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


_FLOPS: Mapping[Any, Any] = {
    **flop_registry,
    aten._trilinear: _of_trilinear,  # nn.Bilinear: one multiply-add for each weight
    aten.mv: _of_vector,
    aten.dot: _of_vector,
}
"""Functions that return the floating-point operations of torch's operations, two for each
multiply-add."""

_OF_VECTORS = (aten.mv, aten.dot)

_OPERANDS = {aten.addmm: (1, 2), aten.baddbmm: (1, 2), aten._trilinear: (0, 1)}
"""The positions of the two operands among the arguments, if they are not the first two."""


class _Counting:
    """Counts multiply-adds, and notes which tensors were computed from inputs and from weights.

    Apart from `_Counter`, because torch imports its compiler, which takes seconds, for a class of
    this kind that defines `__torch_dispatch__` itself.
    """

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        super().__init__()
        self.dense = self.kept = 0
        # By storage, because a weight is mostly used through a view of it.
        self._of_inputs: dict[int, torch.UntypedStorage] = {}
        self._of_weights: dict[int, torch.UntypedStorage] = {}
        _note(self._of_inputs, inputs)
        for weight in network.parameters():
            _note(self._of_weights, weight)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """See torch: carry out an operation, and count it."""
        found = func(*args, **(kwargs or {}))
        read = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        made = [one for one in tree_leaves(found) if isinstance(one, Tensor)]
        if func._overloadpacket in _FLOPS:
            self._count(func._overloadpacket, args, kwargs or {}, found)
        for known in (self._of_inputs, self._of_weights):
            if any(_key(one) in known for one in read):
                for one in made:
                    _note(known, one)
        return found

    def _count(self, operation: Any, args: Any, kwargs: Any, found: Any) -> None:
        flops = _FLOPS[operation](*args, **kwargs, out_val=found)
        operands = [args[place] for place in _OPERANDS.get(operation, (0, 1))]
        weights = [one for one in operands if self._is_weight(one)]
        if len(weights) == len(operands):
            return
        if operation in _OF_VECTORS and not any(_key(one) in self._of_inputs for one in operands):
            return  # a spectral norm
        self.dense += flops // 2
        share = (int(weights[0].count_nonzero()), weights[0].numel()) if weights else (1, 1)
        self.kept += flops // 2 * share[0] // max(1, share[1])

    def _is_weight(self, tensor: Tensor) -> bool:
        key = _key(tensor)
        return key in self._of_weights and key not in self._of_inputs


class _Counter(_Counting, TorchDispatchMode):
    """The counting as a mode of torch."""


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _note(known: dict[int, torch.UntypedStorage], tensor: Tensor) -> None:
    # The storage is held, so that no other one gets its address.
    known[_key(tensor)] = tensor.untyped_storage()
