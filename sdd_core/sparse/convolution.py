# pyright: reportCallIssue=false
# (the functions of `vector` get their first argument, the typing context, from the compiler)
"""Sparse convolutions of one group of images, compiled.

Maps are channels x pixels x 16 images, so that a vector holds neighbouring pixels of 16 images.
A convolution works on strips of some lines. What it reads of one, its normalised inputs or the
gradients of its normalised results, is computed into a thread's own memory, with a border of
zeros. It stays in the cache, and a tap is a shift of the address: with the taps that were kept as
compressed rows, it is a sparse matrix product. So normalising never goes through the maps a
second time. `Layout` says where everything is.
"""

from __future__ import annotations

from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.vector import (
    Tile,
    add,
    add_scaled,
    divide,
    dot,
    fill,
    fold,
    load,
    multiply,
    reduce,
    relu,
    relu_gradient,
    store,
    subtract,
    width,
)

IMAGES = 16  # images in a group

# Vectors of one, eight and four pixels; of eight and four pixels that are every second one.
PIXEL = Tile(IMAGES)
TILES = (
    (Tile(8 * IMAGES, IMAGES), Tile(8 * IMAGES, IMAGES, 2)),
    (Tile(4 * IMAGES, IMAGES), Tile(4 * IMAGES, IMAGES, 2)),
)


@compiled
def activation(memory, source, other, factors, channel, tile):
    """relu(norm(source) + rest) at these places of an activation's channel."""
    total = fill(factors[1, channel], tile)
    total = add_scaled(total, factors[0, channel], load(memory, source, tile))
    if other >= 0:
        total = add_scaled(total, factors[2, channel], load(memory, other, tile))
    return relu(total)


@compiled
def clear(strip, begin, pixels, pixel):
    for x in range(pixels):
        store(strip, begin + x, fill(strip.dtype.type(0), pixel), pixel)


@compiled
def fill_inputs(layer, act, index, factors, memory, strip, present, first, rows, tile, pixel):
    """What the layer reads for `rows` of its results from row `first`; 0 for absent images.

    The first layer that reads an activation makes it, and keeps it where others will read it.
    """
    size, area = layer.side * layer.stride, (layer.side * layer.stride) ** 2
    lines, line = layer.lines, layer.line
    pixels = width(tile) // IMAGES
    mask = load(present, 0, tile)
    top, end = first * layer.stride, (first + rows) * layer.stride
    make = layer.first and layer.activation >= 0
    keep = make and act.kept >= 0
    slots = index[layer.slots :]
    begin, count = (act.read, act.read_count) if keep else (layer.filled, layer.filled_count)
    channels = index[begin:]
    for i in range(count):
        channel = channels[i]
        slot = slots[channel]
        for row in range(top - 1, end - layer.stride + 2):
            target = (slot * lines + row - top + 1) * line
            if row < 0 or row >= size:
                if slot >= 0:
                    clear(strip, target, line, pixel)
                continue
            place = channel * area + row * size
            source = (act.source if make else layer.source) + place
            other = act.other + place if act.other >= 0 else -1
            own = keep and top <= row < end
            for x in range(0, size, pixels):
                if make:
                    rest = other + x if other >= 0 else -1
                    number = act.start + channel
                    value = activation(memory, source + x, rest, factors, number, tile)
                else:
                    value = load(memory, source + x, tile)
                value = multiply(value, mask)
                if own:
                    store(memory, act.kept + place + x, value, tile)
                if slot >= 0:
                    store(strip, target + 1 + x, value, tile)
            if slot >= 0:
                clear(strip, target, 1, pixel)
                clear(strip, target + size + 1, 1, pixel)


@compiled
def convolve(layer, index, parameters, memory, strip, sums, first, rows, tile, apart, pixel):
    """Rows of the results, and in `sums` for each channel their sum and that of the squares."""
    size = layer.side
    line = layer.line
    starts = index[layer.row_starts :]
    shifts = index[layer.shifts :]
    weights = parameters[layer.weights :]
    zero = parameters.dtype.type(0)
    for y in range(rows):
        for x in range(0, size, width(tile) // IMAGES):
            inner = (y * layer.stride + 1) * line + x * layer.stride + 1
            outer = layer.target + (first + y) * size + x
            for channel in range(layer.outputs):
                if starts[channel] == starts[channel + 1]:
                    continue  # it has been zero from the beginning
                total = fill(zero, tile)
                for k in range(starts[channel], starts[channel + 1]):
                    total = add_scaled(total, weights[k], load(strip, inner + shifts[k], apart))
                store(memory, outer + channel * size * size, total, tile)
                accumulate(sums, 2 * channel, total, pixel)
                accumulate(sums, 2 * channel + 1, multiply(total, total), pixel)


@compiled
def accumulate(sums, number, vector, pixel):
    store(sums, number, add(load(sums, number, pixel), fold(vector, pixel)), pixel)


@compiled
def take(sums, number, pixel):
    """The sum over the images, and 0 in its place."""
    total = reduce(load(sums, number, pixel))
    store(sums, number, fill(sums.dtype.type(0), pixel), pixel)
    return total


@compiled
def forward(
    layer, act, index, parameters, factors, memory, strip, sums, totals, present, tiles, pixel
):
    """One layer of a group; `totals` [2, channels] get the results' sums and sums of squares."""
    tile, apart = tiles
    for first in range(0, layer.side, layer.rows):
        rows = min(layer.rows, layer.side - first)
        fill_inputs(layer, act, index, factors, memory, strip, present, first, rows, tile, pixel)
        if layer.stride == 1:
            convolve(layer, index, parameters, memory, strip, sums, first, rows, tile, tile, pixel)
        else:
            convolve(layer, index, parameters, memory, strip, sums, first, rows, tile, apart, pixel)
        for channel in range(layer.outputs):
            totals[0, channel] += take(sums, 2 * channel, pixel)
            totals[1, channel] += take(sums, 2 * channel + 1, pixel)


@compiled
def fill_gradients(layer, norm, index, slopes, memory, strip, present, first, rows, tile, pixel):
    """The gradients of rows of the results, through their normalisation, with one row more on
    each side (Ioffe and Szegedy 2015, section 3)."""
    size, area = layer.side, layer.side * layer.side
    lines, line = layer.back_lines, layer.back_line
    mask = load(present, 0, tile)
    channels = index[layer.results :]
    for slot in range(layer.result_count):
        channel = channels[slot]
        shift = fill(slopes[2, norm.start + channel], tile)
        scale, slope = slopes[0, norm.start + channel], slopes[1, norm.start + channel]
        for row in range(first - 1, first + rows + 1):
            target = (slot * lines + row - first + 1) * line
            if row < 0 or row >= size:
                clear(strip, target, line, pixel)
                continue
            place = channel * area + row * size
            for x in range(0, size, width(tile) // IMAGES):
                result = load(memory, layer.target + place + x, tile)
                gradient = load(memory, layer.gradient + place + x, tile)
                total = add_scaled(add_scaled(shift, slope, result), scale, gradient)
                store(strip, target + 1 + x, multiply(total, mask), tile)
            clear(strip, target, 1, pixel)
            clear(strip, target + size + 1, 1, pixel)


@compiled
def convolve_backward(
    layer, act, index, parameters, gradients, factors, means, memory, strip, sums, first, rows,
    tile, apart, pixel,
):  # fmt: skip
    """Add to the weights' gradients; add to those of the source, gated by its ReLU.

    Where this completes them, `sums` gets for each channel their sum, and the sums of their
    products with the centred results that the activation normalises.
    """
    size, stride = layer.side, layer.stride
    line = layer.back_line
    starts, shifts = index[layer.column_starts :], index[layer.back_shifts :]
    positions = index[layer.positions :]
    weights, gradients = parameters[layer.weights :], gradients[layer.weights :]
    columns, channels = index[layer.columns :], index[layer.channels :]
    present = index[layer.present :]
    again = layer.activation >= 0 and act.kept < 0
    complete = layer.first and layer.activation >= 0
    zero = parameters.dtype.type(0)
    for y in range(rows):
        for x in range(0, size, width(tile) // IMAGES):
            inner = (y + 1) * line + x + 1
            for j in range(layer.column_count):
                column, channel = columns[j], channels[j]
                begin, end = starts[column], starts[column + 1]
                phase = column - channel * stride * stride
                row = (first + y) * stride + phase // stride
                place = (channel * size * stride + row) * size * stride
                place += x * stride + phase % stride
                value = load(memory, layer.source + place, apart)
                number = act.start + channel
                if again:
                    value = add_scaled(
                        fill(factors[1, number], apart), factors[0, number], value
                    )
                    value = relu(value)
                if layer.before < 0:
                    for k in range(begin, end):
                        result = load(strip, inner + shifts[k], tile)
                        gradients[positions[k]] += dot(value, result)
                    continue
                total = fill(zero, tile)
                if present[j]:
                    total = load(memory, layer.before + place, apart)
                for k in range(begin, end):
                    result = load(strip, inner + shifts[k], tile)
                    total = add_scaled(total, weights[positions[k]], result)
                    gradients[positions[k]] += dot(value, result)
                total = relu_gradient(value, total)
                store(memory, layer.before + place, total, apart)
                if complete:
                    weigh(act, means, memory, sums, channel, place, total, apart, pixel)


@compiled
def weigh(act, means, memory, sums, channel, place, gradient, tile, pixel):
    """Add an activation's gradient to the sums that its normalisations need."""
    accumulate(sums, 3 * channel, gradient, pixel)
    centre = fill(means[0, act.start + channel], tile)
    centred = subtract(load(memory, act.source + place, tile), centre)
    accumulate(sums, 3 * channel + 1, multiply(gradient, centred), pixel)
    if act.other_norm >= 0:
        centre = fill(means[1, act.start + channel], tile)
        centred = subtract(load(memory, act.other + place, tile), centre)
        accumulate(sums, 3 * channel + 2, multiply(gradient, centred), pixel)


@compiled
def backward(
    layer, norm, act, index, parameters, gradients, factors, means, slopes, memory, strip, sums,
    totals, present, tiles, pixel,
):  # fmt: skip
    """One layer of a group; `totals` [3, channels] of the source: see `convolve_backward`."""
    tile, apart = tiles
    for first in range(0, layer.side, layer.back_rows):
        rows = min(layer.back_rows, layer.side - first)
        fill_gradients(
            layer, norm, index, slopes, memory, strip, present, first, rows, tile, pixel
        )
        if layer.stride == 1:
            convolve_backward(
                layer, act, index, parameters, gradients, factors, means, memory, strip, sums,
                first, rows, tile, tile, pixel,
            )  # fmt: skip
        else:
            convolve_backward(
                layer, act, index, parameters, gradients, factors, means, memory, strip, sums,
                first, rows, tile, apart, pixel,
            )  # fmt: skip
        if layer.first and layer.activation >= 0:
            settle(act, index, sums, totals, pixel)


@compiled
def settle(act, index, sums, totals, pixel):
    reached = index[act.reached :]
    for i in range(act.reached_count):
        channel = reached[i]
        for kind in range(3):
            totals[kind, channel] += take(sums, 3 * channel + kind, pixel)


@compiled
def pool(act, head, index, factors, memory, present, pixel):
    """The mean over the pixels of the last activation, the inputs of the head."""
    area = act.side * act.side
    mask = load(present, 0, pixel)
    for channel in range(act.channels):
        total = fill(memory.dtype.type(0), pixel)
        for x in range(channel * area, (channel + 1) * area):
            other = act.other + x if act.other >= 0 else -1
            number = act.start + channel
            total = add(total, activation(memory, act.source + x, other, factors, number, pixel))
        mean = divide(total, fill(memory.dtype.type(area), pixel))
        store(memory, head.source + channel, multiply(mean, mask), pixel)


@compiled
def pool_backward(act, head, index, factors, means, memory, sums, totals, pixel):
    """Spread the means' gradients over the pixels, gated by ReLU."""
    area = act.side * act.side
    for channel in range(act.channels):
        gradient = load(memory, head.source + channel, pixel)
        gradient = divide(gradient, fill(memory.dtype.type(area), pixel))
        for place in range(channel * area, (channel + 1) * area):
            other = act.other + place if act.other >= 0 else -1
            number = act.start + channel
            value = activation(memory, act.source + place, other, factors, number, pixel)
            value = relu_gradient(value, gradient)
            store(memory, act.gradient + place, value, pixel)
            weigh(act, means, memory, sums, channel, place, value, pixel, pixel)
    settle(act, index, sums, totals, pixel)
