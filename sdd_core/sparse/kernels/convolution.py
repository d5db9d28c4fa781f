# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Sparse convolutions of one group of images, forward.

Maps are rows x channels x columns x 16 images, so that a vector holds neighbouring pixels of 16
images. A convolution works on tiles of some rows. What it reads of one, its normalised inputs, is
computed into a thread's own buffer, with a border of zeros, where it stays in the cache. There a
tap is a shift of the address: with the taps that were kept as compressed rows, a convolution is a
sparse matrix product. So normalising never goes through the maps a second time.
"""

from __future__ import annotations

from sdd_core.sparse.compilation import inner
from sdd_core.sparse.kernels.prefetching import prefetch_forward
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
    reduce,
    relu,
    store,
    store_apart,
    width,
)


@inner
def layer_forward(layer, net, space, group, totals):
    """One layer of a group; `totals` [2, channels] get the results' sums and sums of squares."""
    if layer.side % 8 == 0:
        convolve_map(layer, net, space, group, totals, space.wide)
    else:
        convolve_map(layer, net, space, group, totals, space.narrow)


@inner
def convolve_map(layer, net, space, group, totals, lanes):
    """The same with vectors of so many lanes, tile by tile."""
    for first in range(0, layer.side, layer.tile_rows):
        rows = min(layer.tile_rows, layer.side - first)
        fill_inputs(layer, net, space, group, first, rows, lanes)
        for row in range(0, rows, layer.rows_at_once):
            end = min(row + layer.rows_at_once, rows)
            convolve(layer, net, space, group, first, row, end, lanes)
        for channel in range(layer.outputs):
            totals[0, channel] += take_sum(space.sums, 2 * channel, space.pixel)
            totals[1, channel] += take_sum(space.sums, 2 * channel + 1, space.pixel)


@inner
def fill_inputs(layer, net, space, group, first, rows, lanes):
    """Write what the layer reads for `rows` of its results from row `first` into the buffer.

    That is relu(scale * source + shift + factor * other): a normalisation, with a residual sum
    where there is one, in the order in which the factors were put together (`normalise`). Absent
    images get 0. The first layer that reads an activation makes it, and keeps it where others
    will read it. With a stride of 2 a line of the buffer has first what lies left and right of
    the pixels that the kernel is centred on, then these.
    """
    act, buffer = net.activations[layer.activation], space.tile_buffer
    scales, offsets, others = space.factors[0], space.factors[1], space.factors[2]
    memory, pixel = group.memory, space.pixel
    side, stride, lines, line = layer.side, layer.stride, layer.buffer_rows, layer.buffer_line
    mask, border = load(group.present, 0, lanes), fill(memory.dtype.type(0), pixel)
    top, end = first * stride, (first + rows) * stride
    make, residual = layer.first and layer.activation >= 0, act.other >= 0
    keep = make and act.kept >= 0
    slots = net.index[layer.slots :]
    listed, count = (act.read, act.read_count) if keep else (layer.filled, layer.filled_count)
    channels = net.index[listed:]
    for row in range(top - 1, end - stride + 2):
        outside = row < 0 or row >= side * stride
        own = keep and top <= row < end  # rows of the border belong to another tile
        for i in range(count):
            channel = entry(channels, i)
            slot = entry(slots, channel)  # -1: kept for others, and not read here
            target = (slot * lines + row - top + 1) * line
            if slot >= 0:
                store(buffer, target, border, pixel)
                for x in range(target + 1 if outside else target + line - 1, target + line):
                    store(buffer, x, border, pixel)
            if outside or (slot < 0 and not own):
                continue
            # Images have no factors: any will do.
            number = act.start + channel if make else 0
            scale, shift = entry(scales, number), entry(offsets, number)
            factor = entry(others, number)
            place = channel * layer.channel_step + row * layer.row_step
            source = (act.source if make else layer.source) + place
            other, kept = act.other + place, act.kept + place
            for phase in range(stride):
                begin = target + (line // 2 if phase < stride - 1 else 1)
                for x in range(0, side, width(lanes) // IMAGES):
                    at = x * stride + phase
                    value = load_apart(memory, source + at, stride, lanes)
                    if make:
                        value = add_scaled(fill(shift, lanes), scale, value)
                        if residual:
                            rest = load_apart(memory, other + at, stride, lanes)
                            value = add_scaled(value, factor, rest)
                        value = relu(value)
                    value = multiply(value, mask)
                    if own:
                        store_apart(memory, kept + at, stride, value, lanes)
                    if slot >= 0:
                        store(buffer, begin + x, value, lanes)


@inner
def convolve(layer, net, space, group, first, begin, end, lanes):
    """Compute rows `begin` to `end` of the tile from row `first` of the results.

    Each is the sum of weight * shifted input over the kept weights of its channel. Their sums and
    sums of squares go into the workspace, two a channel.
    """
    buffer, sums, index, memory = space.tile_buffer, space.sums, net.index, group.memory
    size, stride, line, outputs = layer.side, layer.stride, layer.buffer_line, layer.outputs
    starts, shifts = index[layer.row_starts :], index[layer.shifts :]
    weights, pixel = net.parameters[layer.weights :], space.pixel
    zero = weights.dtype.type(0)
    act = net.activations[layer.activation]
    for channel in range(outputs):
        low, high = entry(starts, channel), entry(starts, channel + 1)
        if low == high:
            continue  # it has been zero from the beginning
        for y in range(begin, end):
            outer = layer.target + ((first + y) * outputs + channel) * size
            for x in range(0, size, width(lanes) // IMAGES):
                prefetch_forward(layer, act, index, group, channel, first, y, x, lanes)
                inner = y * stride * line + x
                total = fill(zero, lanes)
                for k in range(low, high):
                    source = load(buffer, inner + entry(shifts, k), lanes)
                    total = add_scaled(total, entry(weights, k), source)
                store(memory, outer + x, total, lanes)
                accumulate(sums, 2 * channel, total, pixel)
                accumulate_product(sums, 2 * channel + 1, total, total, pixel)


@inner
def take_sum(sums, number, pixel):
    """Return the sum over the images, and leave 0 in its place."""
    total = reduce(load(sums, number, pixel))
    store(sums, number, fill(sums.dtype.type(0), pixel), pixel)
    return total
