"""One layer's passes on its kept weights, by the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdd_core.sparse.barrier import Thread
from sdd_core.sparse.kernels import masked as compiled
from sdd_core.sparse.plan.masked import Geometry, LayerPlan, plan_layer
from sdd_core.sparse.simd import Lanes
from sdd_core.sparse.threads import ThreadTeam

# Groups of examples fall into so many parts, whose weights' gradients are summed apart. The number
# is fixed, so the sums are the same for any number of threads.
PARTS = 4

# Numbers that are multiplied in a pass above which a second thread pays off.
WORTH_SHARING = 10_000_000

LANES = Lanes(128, 1)


class KeptLayer:
    """The kept weights of a layer for inputs of one size.

    mask: [outputs, inputs / groups, ...]. places: of the weight's entries in its memory, as the
    mask's shape. Arrays of inputs and results have the channels last.
    """

    def __init__(self, mask: NDArray[np.bool_], geometry: Geometry, places: NDArray) -> None:
        images = group_size(geometry)
        self.plan: LayerPlan = plan_layer(mask, geometry, images, LANES.width)
        self.images = images
        self.rows, self.columns = places.ravel()[self.plan.rows], places.ravel()[self.plan.columns]
        self._geometry = geometry
        self._spaces: dict[tuple[int, np.dtype], compiled.Buffers] = {}

    @property
    def out_size(self) -> tuple[int, int]:
        """The height and width of the results' maps."""
        return self._geometry.out_size

    def forward(
        self, inputs: Tensor, weight: Tensor, bias: Tensor | None, results: Tensor
    ) -> None:
        """Write the results [examples, height, width, outputs].

        inputs: [examples, height, width, inputs]; both contiguous. weight: flat, as it lies in
        memory.
        """
        kept = weight.numpy()[self.rows]
        shift = inputs.new_zeros(self._geometry.outputs) if bias is None else bias.contiguous()

        def work(arrays: tuple[NDArray, ...], begin: int, end: int, thread: int, _: int) -> None:
            compiled.forward(self.plan.record, self.plan.index, kept, shift.numpy(), *arrays,
                             self._space(thread, kept.dtype), begin, end, LANES)

        self._in_parts((inputs,), results, work)

    def backward(
        self, inputs: Tensor, gradients: Tensor, weight: Tensor, of_weight: Tensor, *, need: bool
    ) -> Tensor | None:
        """Write the gradients of kept weights into `of_weight`, flat as the weight. Return those of
        the inputs if there is `need`.

        gradients: of the results, contiguous.
        """
        kept = weight.numpy()[self.columns]
        of_inputs = torch.empty_like(inputs) if need else inputs.new_empty(0)
        sums = np.zeros((PARTS + 1, len(kept)), kept.dtype)

        def work(arrays: tuple[NDArray, ...], begin: int, end: int, thread: int, part: int) -> None:
            given, of_results, of_given = arrays
            compiled.backward(self.plan.record, self.plan.index, kept, given, of_results,
                              sums[part], of_given, need, self._space(thread, kept.dtype), begin,
                              end, LANES)  # fmt: skip

        self._in_parts((inputs, gradients), of_inputs, work)
        of_weight.numpy()[self.columns] = sums.sum(axis=0)
        return of_inputs if need else None

    def _in_parts(
        self,
        given: tuple[Tensor, ...],
        made: Tensor,
        work: Callable[[tuple[NDArray, ...], int, int, int, int], None],
    ) -> None:
        """Call `work` for each part of the groups; what is left over is filled up with zeros."""
        count = len(given[0])
        groups, rest = divmod(count, self.images)
        arrays = tuple(tensor.numpy().reshape(-1) for tensor in (*given, made))
        ends = [groups * part // PARTS for part in range(PARTS + 1)]
        tasks = [(arrays, begin, end, part) for part, (begin, end) in enumerate(pairwise(ends))
                 if begin < end]
        padded = made
        if rest:
            padded = made.new_empty(self.images, *made.shape[1:]) if made.numel() else made
            filled = [_padded(tensor[-rest:], self.images) for tensor in given]
            last = tuple(tensor.numpy().reshape(-1) for tensor in (*filled, padded))
            tasks.append((last, 0, 1, PARTS))

        def share(thread: Thread) -> float:
            number, threads = thread.part
            for arrays, begin, end, part in tasks[number::threads]:
                work(arrays, begin, end, number, part)
            return 0.0

        pixels = self._geometry.out_size[0] * self._geometry.out_size[1]
        busy = len(self.rows) * pixels * count > WORTH_SHARING
        threads = min(len(tasks), torch.get_num_threads()) if busy else 1
        _team(threads).run(share)
        if rest and made.numel():
            made[-rest:] = padded[:rest]

    def _space(self, thread: int, dtype: np.dtype) -> compiled.Buffers:
        if (thread, dtype) not in self._spaces:
            inputs, results, back, gradients = self.plan.buffers
            sizes = (inputs, results, back, back, gradients)
            self._spaces[thread, dtype] = compiled.Buffers(
                *(np.zeros(size, dtype) for size in sizes)
            )
        return self._spaces[thread, dtype]


def group_size(geometry: Geometry) -> int:
    """Return how many examples a group has, the fewest with which a row of a map wastes least of
    its vectors."""
    numbers = {images: geometry.out_size[1] * images for images in (16, 32, 64, 128)}
    return min(numbers, key=lambda i: -(-numbers[i] // LANES.width) / i)


def _padded(tensor: Tensor, count: int) -> Tensor:
    padded = tensor.new_zeros(count, *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    return padded


_TEAMS: dict[int, ThreadTeam] = {}


def _team(size: int) -> ThreadTeam:
    """Threads are kept for the process: starting them takes longer than a layer."""
    if size not in _TEAMS:
        _TEAMS[size] = ThreadTeam(size)
    return _TEAMS[size]
