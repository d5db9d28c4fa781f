"""The kept weights of one layer of any network, and where its inputs and results lie.

A linear layer is a convolution of one pixel. Places and shifts are counted in numbers. A map has a
part for each channel, in it lines of pixels, and each pixel is `images` numbers, one for each
example of a group. So a vector has neighbouring pixels of all examples of a group, and a weight of
the kernel is a shift of the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.plan.index import Index, starts_of
from sdd_core.sparse.plan.records import plain, record, table

# Numbers of a tile that stay in the second level of a processor's cache.
CACHED = 320_000

Pair = tuple[int, int]

MASKED = record(
    "images", "height", "in_row", "out_height", "out_row", "outputs", "stride", "top",
    # Forward: a tile of results, the lines of inputs that they need, in as many slots.
    "tile", "reach", "slots", "line", "area", "out_line", "out_area", "vectors",
    "in_places", "out_places", "row_starts", "shifts",
    # Backward: a tile of inputs and their gradients, by phase of the stride; results' gradients.
    "across", "back_first", "back_last", "back_tile", "back_line", "back_area", "margin",
    "result_slots", "gradient_line", "gradient_area",
    "back_places", "gradient_places", "phase_places", "phase_shifts", "phase_vectors",
    "column_starts", "back_shifts",
)  # fmt: skip


class Geometry(NamedTuple):
    """Of a convolution without the examples; pairs are (vertical, horizontal)."""

    inputs: int
    outputs: int
    groups: int = 1
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)  # above and left
    dilation: Pair = (1, 1)
    size: Pair = (1, 1)  # of the inputs' maps
    out_size: Pair = (1, 1)


@dataclass(frozen=True)
class LayerPlan:
    """Where the numbers of a layer lie, for a given mask.

    Attributes:
        record: `MASKED`.
        index: the integers that the record points to.
        rows, columns: the kept weights' places in the weight, flattened: output by output, and
            input by input.
        buffers: how many numbers the inputs, the results, the inputs for the backward pass (and
            their gradients), and the results' gradients take.
    """

    record: Any
    index: NDArray[np.int32]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    buffers: tuple[int, int, int, int]


def plan_layer(mask: NDArray[np.bool_], geometry: Geometry, images: int, width: int) -> LayerPlan:
    """Return the plan of a layer.

    mask: [outputs, inputs / groups, kernel]. images: examples in a group, a multiple of 16. width:
    lanes of a vector.
    """
    records, index = table(1, MASKED), Index()
    plan = records[0]
    taps = _Taps.of(mask.reshape(*mask.shape[:2], *geometry.kernel), geometry)
    height, across = geometry.size
    plan.images, plan.height, plan.out_height = images, height, geometry.out_size[0]
    plan.in_row, plan.out_row = across * geometry.inputs, geometry.out_size[1] * geometry.outputs
    plan.outputs, (plan.stride, plan.across) = geometry.outputs, geometry.stride
    plan.top = geometry.padding[0]
    forward = _plan_forward(plan, taps, geometry, width, index)
    order, backward = _plan_backward(plan, taps, geometry, width, index)
    return LayerPlan(
        plain(records, MASKED)[0], index.flat(), taps.places, taps.places[order],
        (*forward, *backward),
    )


class _Taps(NamedTuple):
    """The kept weights, output by output: output, input, shift in the padded map, place."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    down: NDArray[np.intp]
    right: NDArray[np.intp]
    places: NDArray[np.intp]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], geometry: Geometry) -> _Taps:
        rows, columns, down, right = np.nonzero(mask)
        columns = columns + rows // (geometry.outputs // geometry.groups) * mask.shape[1]
        down, right = down * geometry.dilation[0], right * geometry.dilation[1]
        return cls(rows, columns, down, right, np.flatnonzero(mask))


def _plan_forward(
    plan: Any, taps: _Taps, geometry: Geometry, width: int, index: Index
) -> Pair:
    """A line of inputs has the pixels of each phase of the stride one after the other."""
    images, step = int(plan.images), geometry.stride[1]
    pixels = np.arange(geometry.size[1]) + geometry.padding[1]
    used = (geometry.kernel[1] - 1) * geometry.dilation[1] + step * geometry.out_size[1]
    length = -(-max(used, int(pixels[-1]) + 1) // step)
    plan.reach = (geometry.kernel[0] - 1) * geometry.dilation[0] + 1
    plan.line, plan.out_line = images * length * step, _round(geometry.out_size[1] * images, width)
    plan.vectors = plan.out_line // width
    slots, plan.slots = _slots(taps.columns, geometry.inputs)
    rows = CACHED // max(1, int(plan.slots * plan.line)) - int(plan.reach)
    plan.tile = min(geometry.out_size[0], max(1, rows // geometry.stride[0] + 1))
    plan.area = plan.line * ((plan.tile - 1) * geometry.stride[0] + plan.reach)
    plan.out_area = plan.tile * plan.out_line

    def place(right: NDArray[np.intp]) -> NDArray[np.intp]:
        return (right % step * length + right // step) * images

    plan.in_places = index.append(place(pixels)[:, None] + slots * plan.area)
    columns = np.arange(geometry.out_size[1])[:, None] * images
    plan.out_places = index.append(columns + np.arange(geometry.outputs) * plan.out_area)
    plan.row_starts = index.append(starts_of(taps.rows, geometry.outputs))
    shifts = slots[taps.columns] * plan.area + taps.down * plan.line + place(taps.right)
    plan.shifts = index.append(shifts)
    return int((plan.slots + 1) * plan.area + width), int(geometry.outputs * plan.out_area)


def _plan_backward(
    plan: Any, taps: _Taps, geometry: Geometry, width: int, index: Index
) -> tuple[NDArray[np.intp], Pair]:
    """Return the order of the kept weights input by input, and the sizes of two buffers.

    Pixels of the inputs fall into phases of the stride, with weights of their own. A line of
    inputs has the pixels of each phase behind each other, each filled up with zeros to whole
    vectors, so that what else a vector of gradients holds adds nothing to a weight's gradient.
    """
    images, (high, wide) = int(plan.images), geometry.stride
    pixels = np.arange(geometry.size[1]) + geometry.padding[1]
    counts = np.bincount(pixels % wide, minlength=wide)
    firsts = -((np.arange(wide) - geometry.padding[1]) // wide)
    vectors = -(-counts * images // width)
    begins = np.append(0, np.cumsum(vectors * width))
    plan.back_line = begins[-1]
    margins = [(size - 1) * dilation // step for size, dilation, step in
               zip(geometry.kernel, geometry.dilation, geometry.stride, strict=True)]
    plan.margin = margins[0]
    ends = firsts * images + vectors * width
    plan.gradient_line = margins[1] * images + max(int(ends.max()), geometry.out_size[1] * images)
    plan.back_first = geometry.padding[0] // high
    plan.back_last = (geometry.padding[0] + geometry.size[0] - 1) // high + 1
    slots, _ = _slots(taps.columns, geometry.inputs)
    results, plan.result_slots = _slots(taps.rows, geometry.outputs)
    line = plan.slots * high * plan.back_line + plan.result_slots * plan.gradient_line
    rows = CACHED // max(1, int(line))
    plan.back_tile = min(plan.back_last - plan.back_first, max(1, rows - margins[0]))
    plan.back_area = plan.back_tile * high * plan.back_line
    plan.gradient_area = (plan.back_tile + margins[0]) * plan.gradient_line
    place = begins[pixels % wide] + (pixels // wide - firsts[pixels % wide]) * images
    plan.back_places = index.append(place[:, None] + slots * plan.back_area)
    place = (np.arange(geometry.out_size[1]) + margins[1]) * images
    plan.gradient_places = index.append(place[:, None] + results * plan.gradient_area)
    plan.phase_places, plan.phase_shifts = index.append(begins), index.append(firsts * images)
    plan.phase_vectors = index.append(vectors)
    phase = (slots[taps.columns] * high + taps.down % high) * wide + taps.right % wide
    order = np.argsort(phase, kind="stable")
    plan.column_starts = index.append(starts_of(phase, int(plan.slots) * high * wide))
    shifts = (
        results[taps.rows] * plan.gradient_area
        + (margins[0] - taps.down // high) * plan.gradient_line
        + (margins[1] - taps.right // wide) * images
    )
    plan.back_shifts = index.append(shifts[order])
    inputs = (plan.slots + 1) * plan.back_area
    return order, (int(inputs), int((plan.result_slots + 1) * plan.gradient_area + width))


def _slots(used: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], int]:
    """Number what is used; the rest shares the number behind. Return also how many are used."""
    chosen = np.zeros(count, bool)
    chosen[used] = True
    total = int(chosen.sum())
    return np.where(chosen, np.cumsum(chosen) - 1, total), total


def _round(size: int, width: int) -> int:
    return -(-size // width) * width
