"""The matrix products of dense layers, computed by the library that torch uses (BLAS)."""

# pyright: reportCallIssue=false
# (`call` gets its first argument, the typing context, from the compiler)

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sdd_core.sparse.barrier import share
from sdd_core.sparse.plan.records import DENSE, FORWARD, INPUTS, PARTS, WEIGHTS

if TYPE_CHECKING:
    import torch


class Products:
    """The products of a network's dense layers on one array of units.

    Compiled code calls them by their addresses. Each is a call of torch with all its arguments, so
    no Python code runs in between, and no signal is handled there. A product comes in `PARTS`,
    each computed by one thread: how many threads there are changes no bit.

    Attributes:
        addresses: layer by layer, `FORWARD`, `WEIGHTS`, `INPUTS`, each in its parts.
    """

    def __init__(
        self, layers: NDArray, parameters: NDArray, gradients: NDArray, units: NDArray
    ) -> None:
        """layers: the plan's. gradients: zeros. units: zeros [vectors, examples]."""
        dense = layers[layers["kernel"] == DENSE]
        products = _all_products(dense, parameters, gradients, units) if dense.size else []
        for product in products:
            product()  # compiled code could not say if one of them raised an error
        self._functions = [ctypes.CFUNCTYPE(None)(product) for product in products]
        addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in self._functions]
        self.addresses = np.array(addresses, np.int64)


def _all_products(
    layers: NDArray, parameters: NDArray, gradients: NDArray, units: NDArray
) -> list[Callable[[], object]]:
    import torch  # noqa: PLC0415 (takes seconds, and the process that compiles needs none of it)

    with torch.inference_mode(False):  # whatever the caller's mode is
        return [
            product
            for layer in layers
            for product in _products(layer, parameters, gradients, torch.from_numpy(units))
        ]


def _products(
    layer: np.void, parameters: NDArray, gradients: NDArray, units: torch.Tensor
) -> list[Callable[[], object]]:
    """y = W x; dL/dW += g x^T; and W^T g into `scratch`, for the layer's inputs x and the gradients
    g of its outputs y."""
    import torch  # noqa: PLC0415

    shape = outputs, inputs = int(layer["outputs"]), int(layer["inputs"])
    place = slice(layer["weights"], layer["weights"] + outputs * inputs)
    weights = torch.from_numpy(parameters[place].reshape(shape))
    sums = torch.from_numpy(gradients[place].reshape(shape))
    x, y, scratch = (
        units[layer[start] : layer[start] + size]
        for start, size in (("source", inputs), ("target", outputs), ("scratch", inputs))
    )
    rows, columns = (
        [slice(*share(size, (number, PARTS))) for number in range(PARTS)]
        for size in (outputs, inputs)
    )
    products: dict[int, list[Callable[[], object]]] = {
        FORWARD: [partial(torch.mm, weights[k], x, out=y[k]) for k in rows],
        WEIGHTS: [partial(torch.addmm, sums[:, k], y, x[k].T, out=sums[:, k]) for k in columns],
        INPUTS: [partial(torch.mm, weights[:, k].T, y, out=scratch[k]) for k in columns],
    }
    return [product for kind in sorted(products) for product in products[kind]]


@intrinsic
def call(typingctx, addresses, place):
    """Call the function whose address is at this place."""

    def build(context, builder, signature, arguments):
        data = context.make_array(addresses)(context, builder, arguments[0]).data
        address = builder.load(builder.gep(data, [arguments[1]]))
        function = ir.FunctionType(ir.VoidType(), []).as_pointer()
        builder.call(builder.inttoptr(address, function), [])
        return context.get_dummy_value()

    return types.void(addresses, types.intp), build


_LOCK = Lock()
_outside = {"users": 0, "threads": 1}


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch use one thread in the thread that is here, as each has its own part of the work."""
    import torch  # noqa: PLC0415

    with _LOCK:
        if not _outside["users"]:
            _outside["threads"] = torch.get_num_threads()
        _outside["users"] += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            _outside["users"] -= 1
            torch.set_num_threads(_outside["threads"])
