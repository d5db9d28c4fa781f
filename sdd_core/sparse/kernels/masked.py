# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""One linear or convolutional layer of any network on its kept weights, forward and backward.

A group of examples is worked on tile by tile. The inputs of a tile are transposed into a thread's
own buffer, with zeros around the map, where a weight is a shift of the place (`plan.masked`).
Arrays of inputs and results have the channels last.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray

from sdd_core.sparse.compilation import compiled, inner
from sdd_core.sparse.simd import (
    BLOCK,
    add_scaled,
    add_to,
    dot,
    entry,
    fill,
    load,
    store,
    transpose_in,
    transpose_out,
    width,
)


class Buffers(NamedTuple):
    """What a thread has to itself, as many numbers as the plan says; zeros at first."""

    inputs: NDArray
    results: NDArray
    back_inputs: NDArray
    input_gradients: NDArray
    result_gradients: NDArray


@compiled
def forward(plan, index, weights, bias, inputs, results, space, begin, end, lanes):
    """Compute the results of groups `begin` to `end`.

    weights: the kept ones, output by output. bias: [outputs]. inputs, results: flat.
    """
    in_places, out_places = index[plan.in_places :], index[plan.out_places :]
    for group in range(begin, end):
        for first in range(0, plan.out_height, plan.tile):
            rows = min(plan.tile, plan.out_height - first)
            top = first * plan.stride - plan.top
            for line in range((rows - 1) * plan.stride + plan.reach):
                place = line * plan.line
                if 0 <= top + line < plan.height:
                    start = (group * plan.images * plan.height + top + line) * plan.in_row
                    read_row(plan, inputs, start, plan.height * plan.in_row, plan.in_row,
                             in_places, space.inputs, place, lanes)  # fmt: skip
                elif plan.tile < plan.out_height:  # another tile had a row of the map here
                    clear(space.inputs, place, plan.slots, plan.area, plan.line)
            multiply_tile(plan, index, weights, bias, space, rows, lanes)
            for row in range(rows):
                start = (group * plan.images * plan.out_height + first + row) * plan.out_row
                write_row(plan, space.results, row * plan.out_line, out_places, results, start,
                          plan.out_height * plan.out_row, plan.out_row, lanes)  # fmt: skip


@inner
def multiply_tile(plan, index, weights, bias, space, rows, lanes):
    """Each result is the bias and the sum of weight * shifted input."""
    starts, shifts = index[plan.row_starts :], index[plan.shifts :]
    step = plan.stride * plan.line
    for output in range(plan.outputs):
        low, high = entry(starts, output), entry(starts, output + 1)
        for row in range(rows):
            target = output * plan.out_area + row * plan.out_line
            for vector in range(plan.vectors):
                shift = vector * width(lanes)
                source, total = row * step + shift, fill(bias[output], lanes)
                for k in range(low, high):
                    values = load(space.inputs, source + entry(shifts, k), lanes)
                    total = add_scaled(total, entry(weights, k), values)
                store(space.results, target + shift, total, lanes)


@compiled
def backward(
    plan, index, weights, inputs, gradients, of_weights, of_inputs, need, space, begin, end, lanes
):
    """Add to the gradients of the kept weights what groups `begin` to `end` contribute, and compute
    those of their inputs if there is `need`.

    weights, of_weights: of kept weights, input by input. inputs, gradients (of the results),
    of_inputs: flat.
    """
    back_places, places = index[plan.back_places :], index[plan.gradient_places :]
    per_input, per_result = plan.height * plan.in_row, plan.out_height * plan.out_row
    for group in range(begin, end):
        for first in range(plan.back_first, plan.back_last, plan.back_tile):
            last = min(first + plan.back_tile, plan.back_last)
            top, base = first * plan.stride - plan.top, group * plan.images
            for line in range((last - first) * plan.stride):
                if 0 <= top + line < plan.height:
                    start = (base * plan.height + top + line) * plan.in_row
                    read_row(plan, inputs, start, per_input, plan.in_row, back_places,
                             space.back_inputs, line * plan.back_line, lanes)  # fmt: skip
            for line in range(last - first + plan.margin):
                row, place = first - plan.margin + line, line * plan.gradient_line
                if 0 <= row < plan.out_height:
                    start = (base * plan.out_height + row) * plan.out_row
                    read_row(plan, gradients, start, per_result, plan.out_row, places,
                             space.result_gradients, place, lanes)  # fmt: skip
                elif plan.back_tile < plan.back_last - plan.back_first:
                    clear(space.result_gradients, place, plan.result_slots, plan.gradient_area,
                          plan.gradient_line)  # fmt: skip
            differentiate_tile(plan, index, weights, of_weights, need, space, first, last, lanes)
            for line in range((last - first) * plan.stride):
                if need and 0 <= top + line < plan.height:
                    start = (base * plan.height + top + line) * plan.in_row
                    write_row(plan, space.input_gradients, line * plan.back_line, back_places,
                              of_inputs, start, per_input, plan.in_row, lanes)  # fmt: skip


@inner
def differentiate_tile(plan, index, weights, of_weights, need, space, first, last, lanes):
    """With g the results' gradients: a weight's is the sum of input * shifted g, and an input's the
    sum of weight * shifted g over the kept weights of its channel and phase."""
    starts, shifts = index[plan.column_starts :], index[plan.back_shifts :]
    begins, sides = index[plan.phase_places :], index[plan.phase_shifts :]
    vectors = index[plan.phase_vectors :]
    for column in range(plan.slots * plan.stride * plan.across):
        low, high = entry(starts, column), entry(starts, column + 1)
        slot, phase = column // (plan.stride * plan.across), column % (plan.stride * plan.across)
        down, right = phase // plan.across, phase % plan.across
        for row in range(first, last):
            if not 0 <= row * plan.stride + down - plan.top < plan.height:
                continue
            line = (row - first) * plan.stride + down
            target = slot * plan.back_area + line * plan.back_line + begins[right]
            source = (row - first) * plan.gradient_line + sides[right]
            for vector in range(vectors[right]):
                shift = vector * width(lanes)
                values = load(space.back_inputs, target + shift, lanes)
                if not need:
                    for k in range(low, high):
                        result = load(
                            space.result_gradients, source + shift + entry(shifts, k), lanes
                        )
                        add_to(of_weights, k, dot(values, result))
                    continue
                total = fill(weights.dtype.type(0), lanes)
                for k in range(low, high):
                    result = load(space.result_gradients, source + shift + entry(shifts, k), lanes)
                    total = add_scaled(total, entry(weights, k), result)
                    add_to(of_weights, k, dot(values, result))
                store(space.input_gradients, target + shift, total, lanes)


@inner
def read_row(plan, source, start, step, size, places, target, shift, lanes):
    """Transpose a row of all examples of a group into its places; the last square overlaps the one
    before where 16 does not divide the row."""
    for image in range(0, plan.images, BLOCK):
        begin = start + image * step
        for first in range(0, size - BLOCK + 1, BLOCK):
            transpose_in(source, begin + first, step, places, first, target, shift + image)
        if size % BLOCK:
            first = size - BLOCK
            transpose_in(source, begin + first, step, places, first, target, shift + image)


@inner
def write_row(plan, source, shift, places, target, start, step, size, lanes):
    """The reverse of `read_row`."""
    for image in range(0, plan.images, BLOCK):
        begin = start + image * step
        for first in range(0, size - BLOCK + 1, BLOCK):
            transpose_out(source, places, first, shift + image, target, begin + first, step)
        if size % BLOCK:
            first = size - BLOCK
            transpose_out(source, places, first, shift + image, target, begin + first, step)


@inner
def clear(buffer, place, slots, area, line):
    """Set a line of each slot to zero."""
    for slot in range(slots):
        begin = slot * area + place
        for k in range(begin, begin + line):
            buffer[k] = buffer.dtype.type(0)
