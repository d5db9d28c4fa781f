# pyright: reportCallIssue=false
# (the functions of `vector` get their first argument, the typing context, from the compiler)
"""Sparse convolutions of one group of images, compiled.

Maps are rows x channels x columns x 16 images, so that a vector holds neighbouring pixels of 16
images. A convolution works on strips of some rows. What it reads of one, its normalised inputs or
the gradients of its normalised results, is computed into a thread's own memory, with a border of
zeros. It stays in the cache, and a tap is a shift of the address: with the taps that were kept as
compressed rows, it is a sparse matrix product. So normalising never goes through the maps a
second time. `Layout` says where everything is.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray

from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.vector import (
    Tile,
    accumulate,
    accumulate_product,
    add,
    add_scaled,
    divide,
    entry,
    fill,
    load,
    load_apart,
    multiply,
    reduce,
    relu,
    relu_gradient,
    store,
    store_apart,
    subtract,
    width,
)

IMAGES = 16  # images in a group

# Vectors of one, eight and four pixels.
PIXEL = Tile(IMAGES)
WIDE, NARROW = Tile(8 * IMAGES, IMAGES), Tile(4 * IMAGES, IMAGES)


class Net(NamedTuple):
    """The parts of a `Layout`, and the numbers that it places; shared by all threads."""

    layers: NDArray
    activations: NDArray
    norms: NDArray
    head: NDArray
    index: NDArray
    parameters: NDArray
    running: NDArray  # [2, channels of all norms]: means and variances


class Room(NamedTuple):
    """What each thread has to itself; sums and products are vectors of 16 images."""

    strip: NDArray
    sums: NDArray  # three for each channel of a map
    products: NDArray  # one for each kept weight of a layer, in the order of its columns
    moments: NDArray  # [2, channels of all norms]: means and inverse deviations
    means: NDArray  # [2, channels of all activations]: of what they normalise
    factors: NDArray  # [3, channels of all activations]: scale, shift, and scale of the rest
    slopes: NDArray  # [3, channels of all norms]: of gradient, result, and 1


@compiled
def fill_inputs(layer, net, room, memory, present, first, rows, tile, pixel):
    """What the layer reads for `rows` of its results from row `first`; 0 for absent images.

    The first layer that reads an activation makes it, and keeps it where others will read it.
    With a stride of 2 a line of the strip has first what lies left and right of the pixels that
    the kernel is centred on, then these.
    """
    act, strip, factors = net.activations[layer.activation], room.strip, room.factors
    side, stride, lines, line = layer.side, layer.stride, layer.lines, layer.line
    mask, border = load(present, 0, tile), fill(memory.dtype.type(0), pixel)
    top, end = first * stride, (first + rows) * stride
    make, residual = layer.first and layer.activation >= 0, act.other >= 0
    keep = make and act.kept >= 0
    slots = net.index[layer.slots :]
    listed, count = (act.read, act.read_count) if keep else (layer.filled, layer.filled_count)
    channels = net.index[listed:]
    for row in range(top - 1, end - stride + 2):
        outside = row < 0 or row >= side * stride
        own = keep and top <= row < end
        for i in range(count):
            channel = entry(channels, i)
            slot = entry(slots, channel)
            target = (slot * lines + row - top + 1) * line
            if slot >= 0:
                store(strip, target, border, pixel)
                for x in range(target + 1 if outside else target + line - 1, target + line):
                    store(strip, x, border, pixel)
            if outside or (slot < 0 and not own):
                continue
            # Images have no factors: any will do.
            scale, shift, factor = factors[:, act.start + channel if make else 0]
            place = channel * layer.channel_step + row * layer.row_step
            source = (act.source if make else layer.source) + place
            other, kept = act.other + place, act.kept + place
            for phase in range(stride):
                begin = target + (line // 2 if phase < stride - 1 else 1)
                for x in range(0, side, width(tile) // IMAGES):
                    at = x * stride + phase
                    value = load_apart(memory, source + at, stride, tile)
                    if make:
                        value = add_scaled(fill(shift, tile), scale, value)
                        if residual:
                            rest = load_apart(memory, other + at, stride, tile)
                            value = add_scaled(value, factor, rest)
                        value = relu(value)
                    value = multiply(value, mask)
                    if own:
                        store_apart(memory, kept + at, stride, value, tile)
                    if slot >= 0:
                        store(strip, begin + x, value, tile)


@compiled
def convolve(layer, net, room, memory, first, begin, end, tile, pixel):
    """Rows `begin` to `end` of the strip from row `first` of the results.

    Their sums and sums of squares go into the room, two a channel.
    """
    strip, sums, index = room.strip, room.sums, net.index
    size, stride, line, outputs = layer.side, layer.stride, layer.line, layer.outputs
    starts, shifts = index[layer.row_starts :], index[layer.shifts :]
    weights = net.parameters[layer.weights :]
    zero = weights.dtype.type(0)
    for channel in range(outputs):
        low, high = entry(starts, channel), entry(starts, channel + 1)
        if low == high:
            continue  # it has been zero from the beginning
        for y in range(begin, end):
            outer = layer.target + ((first + y) * outputs + channel) * size
            for x in range(0, size, width(tile) // IMAGES):
                inner = y * stride * line + x
                total = fill(zero, tile)
                for k in range(low, high):
                    source = load(strip, inner + entry(shifts, k), tile)
                    total = add_scaled(total, entry(weights, k), source)
                store(memory, outer + x, total, tile)
                accumulate(sums, 2 * channel, total, pixel)
                accumulate(sums, 2 * channel + 1, multiply(total, total), pixel)


@compiled
def take(sums, number, pixel):
    """The sum over the images, and 0 in its place."""
    total = reduce(load(sums, number, pixel))
    store(sums, number, fill(sums.dtype.type(0), pixel), pixel)
    return total


@compiled
def forward(layer, net, room, memory, present, totals, tile, pixel):
    """One layer of a group; `totals` [2, channels] get the results' sums and sums of squares."""
    for first in range(0, layer.side, layer.rows):
        rows = min(layer.rows, layer.side - first)
        fill_inputs(layer, net, room, memory, present, first, rows, tile, pixel)
        for row in range(0, rows, layer.prune_ties):
            end = min(row + layer.prune_ties, rows)
            convolve(layer, net, room, memory, first, row, end, tile, pixel)
        for channel in range(layer.outputs):
            totals[0, channel] += take(room.sums, 2 * channel, pixel)
            totals[1, channel] += take(room.sums, 2 * channel + 1, pixel)


@compiled
def fill_gradients(layer, net, room, memory, present, first, rows, tile, pixel):
    """The gradients of rows of the results, through their normalisation, with one row more on
    each side (Ioffe and Szegedy 2015, section 3)."""
    strip, slopes, norm = room.strip, room.slopes, net.norms[layer.norm]
    size, lines, line = layer.side, layer.back_lines, layer.back_line
    mask, border = load(present, 0, tile), fill(memory.dtype.type(0), pixel)
    channels = net.index[layer.results :]
    for row in range(first - 1, first + rows + 1):
        outside = row < 0 or row >= size
        for slot in range(layer.result_count):
            channel = entry(channels, slot)
            target = (slot * lines + row - first + 1) * line
            store(strip, target, border, pixel)
            for x in range(target + 1 if outside else target + line - 1, target + line):
                store(strip, x, border, pixel)
            if outside:
                continue
            scale, slope, shift = slopes[:, norm.start + channel]
            place = (row * layer.outputs + channel) * size
            for x in range(0, size, width(tile) // IMAGES):
                result = load(memory, layer.target + place + x, tile)
                gradient = load(memory, layer.gradient + place + x, tile)
                total = add_scaled(fill(shift, tile), slope, result)
                total = multiply(add_scaled(total, scale, gradient), mask)
                store(strip, target + 1 + x, total, tile)


@compiled
def convolve_backward(layer, net, room, memory, first, begin, end, tile, pixel):
    """Rows `begin` to `end` of the strip from row `first` of the results.

    The weights' gradients go into the room. Add to those of the source, gated by its ReLU. Where
    this completes them, the room gets for each channel their sum, and the sums of their products
    with the centred results that the activation normalises.
    """
    act, index, parameters = net.activations[layer.activation], net.index, net.parameters
    strip, sums, products = room.strip, room.sums, room.products
    size, stride, line = layer.side, layer.stride, layer.back_line
    source, given, before = layer.source, layer.given, layer.before
    starts, shifts = index[layer.column_starts :], index[layer.back_shifts :]
    positions, weights = index[layer.positions :], parameters[layer.weights :]
    columns, channels = index[layer.columns :], index[layer.channels :]
    present = index[layer.present :]
    again = layer.activation >= 0 and act.kept < 0
    complete = layer.first and layer.activation >= 0
    raw, other, two = act.source, act.other, act.other_norm >= 0
    zero = parameters.dtype.type(0)
    for j in range(layer.column_count):
        column, channel = entry(columns, j), entry(channels, j)
        low, high = entry(starts, column), entry(starts, column + 1)
        phase = column - channel * stride * stride
        number = (
            act.start + channel if layer.activation >= 0 else 0
        )  # images have none: any will do
        scale, shift, _ = room.factors[:, number]
        mean, other_mean = room.means[:, number]
        for y in range(begin, end):
            row = (first + y) * stride + phase // stride
            corner = channel * layer.channel_step + row * layer.row_step + phase % stride
            for x in range(0, size, width(tile) // IMAGES):
                inner = (y + 1) * line + x + 1
                place = corner + x * stride
                value = load_apart(memory, source + place, stride, tile)
                if again:
                    value = relu(add_scaled(fill(shift, tile), scale, value))
                if before < 0:
                    for k in range(low, high):
                        result = load(strip, inner + entry(shifts, k), tile)
                        accumulate_product(products, k, value, result, pixel)
                    continue
                total = fill(zero, tile)
                if entry(present, j):
                    total = load_apart(memory, given + place, stride, tile)
                for k in range(low, high):
                    result = load(strip, inner + entry(shifts, k), tile)
                    total = add_scaled(total, entry(weights, entry(positions, k)), result)
                    accumulate_product(products, k, value, result, pixel)
                total = relu_gradient(value, total)
                store_apart(memory, before + place, stride, total, tile)
                if complete:
                    accumulate(sums, 3 * channel, total, pixel)
                    centred = load_apart(memory, raw + place, stride, tile)
                    centred = subtract(centred, fill(mean, tile))
                    accumulate(sums, 3 * channel + 1, multiply(total, centred), pixel)
                    if two:
                        centred = load_apart(memory, other + place, stride, tile)
                        centred = subtract(centred, fill(other_mean, tile))
                        accumulate(sums, 3 * channel + 2, multiply(total, centred), pixel)


@compiled
def backward(layer, net, room, memory, present, gradients, totals, tile, pixel):
    """One layer of a group; `totals` [3, channels] of the source: see `convolve_backward`."""
    for first in range(0, layer.side, layer.back_rows):
        rows = min(layer.back_rows, layer.side - first)
        fill_gradients(layer, net, room, memory, present, first, rows, tile, pixel)
        for row in range(0, rows, layer.prune_ties):
            end = min(row + layer.prune_ties, rows)
            convolve_backward(layer, net, room, memory, first, row, end, tile, pixel)
        if layer.first and layer.activation >= 0:
            settle(net.activations[layer.activation], net, room, totals, pixel)
    positions = net.index[layer.positions :]
    for k in range(layer.position_count):
        gradients[layer.weights + positions[k]] += take(room.products, k, pixel)


@compiled
def settle(act, net, room, totals, pixel):
    """Move the sums of an activation's gradients into `totals` [3, channels]."""
    reached = net.index[act.reached :]
    for i in range(act.reached_count):
        channel = reached[i]
        for kind in range(3):
            totals[kind, channel] += take(room.sums, 3 * channel + kind, pixel)


@compiled
def pool(act, head, room, memory, present, pixel):
    """The mean over the pixels of the last activation, the inputs of the head."""
    side, residual = act.side, act.other >= 0
    mask = load(present, 0, pixel)
    size = fill(memory.dtype.type(side * side), pixel)
    for channel in range(act.channels):
        scale, shift, factor = room.factors[:, act.start + channel]
        total = fill(memory.dtype.type(0), pixel)
        for k in range(side * side):
            place = (k // side * act.channels + channel) * side + k % side
            value = load(memory, act.source + place, pixel)
            value = add_scaled(fill(shift, pixel), scale, value)
            if residual:
                value = add_scaled(value, factor, load(memory, act.other + place, pixel))
            total = add(total, relu(value))
        store(memory, head.source + channel, multiply(divide(total, size), mask), pixel)


@compiled
def pool_backward(act, head, net, room, memory, totals, pixel):
    """Spread the means' gradients over the pixels, gated by ReLU; sums as `convolve_backward`."""
    side, residual, two = act.side, act.other >= 0, act.other_norm >= 0
    size, sums = fill(memory.dtype.type(side * side), pixel), room.sums
    for channel in range(act.channels):
        scale, shift, factor = room.factors[:, act.start + channel]
        mean, other_mean = room.means[:, act.start + channel]
        gradient = divide(load(memory, head.source + channel, pixel), size)
        for k in range(side * side):
            place = (k // side * act.channels + channel) * side + k % side
            raw = load(memory, act.source + place, pixel)
            value, other = add_scaled(fill(shift, pixel), scale, raw), raw
            if residual:
                other = load(memory, act.other + place, pixel)
                value = add_scaled(value, factor, other)
            passed = relu_gradient(value, gradient)
            store(memory, act.gradient + place, passed, pixel)
            accumulate(sums, 3 * channel, passed, pixel)
            centred = subtract(raw, fill(mean, pixel))
            accumulate(sums, 3 * channel + 1, multiply(passed, centred), pixel)
            if two:
                centred = subtract(other, fill(other_mean, pixel))
                accumulate(sums, 3 * channel + 2, multiply(passed, centred), pixel)
    settle(act, net, room, totals, pixel)
