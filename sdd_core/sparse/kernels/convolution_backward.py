# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Sparse convolutions of one group of images, backward.

As forward, on tiles: what is read of one, the gradients of the results through their
normalisation, is computed into a thread's own buffer, and a tap is a shift of the address there.
"""

from __future__ import annotations

from sdd_core.sparse.compilation import inner
from sdd_core.sparse.kernels.convolution import take_sum
from sdd_core.sparse.kernels.prefetching import prefetch_backward
from sdd_core.sparse.kernels.records import IMAGES
from sdd_core.sparse.simd import (
    accumulate,
    accumulate_product,
    add_scaled,
    entry,
    fill,
    load,
    load_apart,
    multiply,
    relu,
    relu_gradient,
    store,
    store_apart,
    subtract,
    width,
)


@inner
def layer_backward(layer, net, space, group, gradients, totals):
    """One layer of a group; `totals` [3, channels] of the source: see `convolve_backward`."""
    if layer.side % 8 == 0:
        map_backward(layer, net, space, group, gradients, totals, space.wide)
    else:
        map_backward(layer, net, space, group, gradients, totals, space.narrow)


@inner
def map_backward(layer, net, space, group, gradients, totals, lanes):
    """The same with vectors of so many lanes, tile by tile."""
    for first in range(0, layer.side, layer.back_tile_rows):
        rows = min(layer.back_tile_rows, layer.side - first)
        fill_gradients(layer, net, space, group, first, rows, lanes)
        for row in range(0, rows, layer.rows_at_once):
            end = min(row + layer.rows_at_once, rows)
            convolve_backward(layer, net, space, group, first, row, end, lanes)
        if layer.first and layer.activation >= 0:
            flush(net.activations[layer.activation], net, space, totals)
    positions = net.index[layer.positions :]
    for k in range(layer.position_count):
        gradients[layer.weights + positions[k]] += take_sum(space.products, k, space.pixel)


@inner
def fill_gradients(layer, net, space, group, first, rows, lanes):
    """Write the gradients of rows of the results, through their normalisation, into the buffer,
    with one row more on each side.

    That is scale * gradient + slope * result + shift (see `bn_grad_coefficients`).
    """
    buffer, norm, memory = space.tile_buffer, net.norms[layer.norm], group.memory
    pixel, coefficients = space.pixel, space.bn_grad_coefficients
    scales, slopes, offsets = coefficients[0], coefficients[1], coefficients[2]
    size, lines, line = layer.side, layer.back_buffer_rows, layer.back_buffer_line
    mask, border = load(group.present, 0, lanes), fill(memory.dtype.type(0), pixel)
    channels = net.index[layer.results :]
    for row in range(first - 1, first + rows + 1):
        outside = row < 0 or row >= size
        for slot in range(layer.result_count):
            channel = entry(channels, slot)
            target = (slot * lines + row - first + 1) * line
            store(buffer, target, border, pixel)
            for x in range(target + 1 if outside else target + line - 1, target + line):
                store(buffer, x, border, pixel)
            if outside:
                continue
            number = norm.start + channel
            scale, slope = entry(scales, number), entry(slopes, number)
            shift = entry(offsets, number)
            place = (row * layer.outputs + channel) * size
            for x in range(0, size, width(lanes) // IMAGES):
                result = load(memory, layer.target + place + x, lanes)
                gradient = load(memory, layer.gradient + place + x, lanes)
                total = add_scaled(fill(shift, lanes), slope, result)
                total = multiply(add_scaled(total, scale, gradient), mask)
                store(buffer, target + 1 + x, total, lanes)


@inner
def convolve_backward(layer, net, space, group, first, begin, end, lanes):
    """Work on rows `begin` to `end` of the tile from row `first` of the results.

    With g the results' gradients: a weight's gradient is the sum of input * shifted g, which goes
    into the workspace, and an input's the sum of weight * shifted g over the kept weights of its
    channel. Add the latter to the gradients of the source, gated by its ReLU. Where this
    completes them, the workspace gets for each channel their sum, and the sums of their products
    with the centred results that the activation normalises, which `bn_grad_coefficients` needs.
    """
    act, index, parameters = net.activations[layer.activation], net.index, net.parameters
    buffer, sums, products = space.tile_buffer, space.sums, space.products
    memory, pixel = group.memory, space.pixel
    size, stride, line = layer.side, layer.stride, layer.back_buffer_line
    source, given, before = layer.source, layer.gradient_so_far, layer.source_gradient
    starts, shifts = index[layer.column_starts :], index[layer.back_shifts :]
    positions, weights = index[layer.positions :], parameters[layer.weights :]
    columns, channels = index[layer.columns :], index[layer.channels :]
    present = index[layer.present :]
    again = layer.activation >= 0 and act.kept < 0  # its values were not kept
    complete = layer.first and layer.activation >= 0
    raw, other, two = act.source, act.other, act.other_norm >= 0
    scales, offsets = space.factors[0], space.factors[1]
    means, other_means = space.means[0], space.means[1]
    for j in range(layer.column_count):
        column, channel = entry(columns, j), entry(channels, j)
        low, high = entry(starts, column), entry(starts, column + 1)
        phase = column - channel * stride * stride
        # Images have no factors: any will do.
        number = act.start + channel if layer.activation >= 0 else 0
        scale, shift = entry(scales, number), entry(offsets, number)
        mean, other_mean = entry(means, number), entry(other_means, number)
        for y in range(begin, end):
            row = (first + y) * stride + phase // stride
            corner = channel * layer.channel_step + row * layer.row_step + phase % stride
            for x in range(0, size, width(lanes) // IMAGES):
                inner = (y + 1) * line + x + 1
                place = corner + x * stride
                prefetch_backward(layer, act, index, group, j, first, y, x, place, lanes)
                value = load_apart(memory, source + place, stride, lanes)
                if again:
                    value = relu(add_scaled(fill(shift, lanes), scale, value))
                if before < 0:  # images need no gradients
                    for k in range(low, high):
                        result = load(buffer, inner + entry(shifts, k), lanes)
                        accumulate_product(products, k, value, result, pixel)
                    continue
                total = fill(parameters.dtype.type(0), lanes)
                if entry(present, j):
                    total = load_apart(memory, given + place, stride, lanes)
                for k in range(low, high):
                    result = load(buffer, inner + entry(shifts, k), lanes)
                    total = add_scaled(total, entry(weights, entry(positions, k)), result)
                    accumulate_product(products, k, value, result, pixel)
                total = relu_gradient(value, total)
                store_apart(memory, before + place, stride, total, lanes)
                if complete:
                    accumulate(sums, 3 * channel, total, pixel)
                    centred = load_apart(memory, raw + place, stride, lanes)
                    centred = subtract(centred, fill(mean, lanes))
                    accumulate_product(sums, 3 * channel + 1, total, centred, pixel)
                    if two:
                        centred = load_apart(memory, other + place, stride, lanes)
                        centred = subtract(centred, fill(other_mean, lanes))
                        accumulate_product(sums, 3 * channel + 2, total, centred, pixel)


@inner
def flush(act, net, space, totals):
    """Move the sums of an activation's gradients into `totals` [3, channels]."""
    reached = net.index[act.reached :]
    for i in range(act.reached_count):
        channel = reached[i]
        for kind in range(3):
            totals[kind, channel] += take_sum(space.sums, 3 * channel + kind, space.pixel)
