# pyright: reportCallIssue=false
# (the functions of `vector` get their first argument, the typing context, from the compiler)
"""Sparse convolution and batch normalisation, compiled.

Feature maps are groups of 16 images x channels x pixels x 16 images, each map with a border of
one zero pixel, so that a vector holds neighbouring pixels of 16 images and a convolution's tap is
a shift of its address: with the taps that were kept as compressed rows, it is a sparse matrix
product. `size` is the width and height of a map without its border.
"""

from __future__ import annotations

from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.vector import (
    add,
    add_scaled,
    dot,
    fill,
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


@compiled
def convolve(weights, starts, offsets, source, target, sums, size, tile):
    """target = source * weights; `sums` [2, channels] gets the sums and sums of squares."""
    pixels = width(tile) // IMAGES
    channels = sums.shape[1]
    plane = (size + 2) * (size + 2)
    zero = weights.dtype.type(0)
    for group in range(target.shape[0]):
        maps, results = source[group], target[group]
        for y in range(size):
            for channel in range(channels):
                if starts[channel] == starts[channel + 1]:
                    continue  # it has been zero from the beginning
                plain, squares = fill(zero, tile), fill(zero, tile)
                for x in range(0, size, pixels):
                    pixel = (y + 1) * (size + 2) + x + 1
                    total = fill(zero, tile)
                    for k in range(starts[channel], starts[channel + 1]):
                        total = add_scaled(total, weights[k], load(maps, pixel + offsets[k], tile))
                    store(results, channel * plane + pixel, total, tile)
                    plain = add(plain, total)
                    squares = add(squares, multiply(total, total))
                sums[0, channel] += reduce(plain)
                sums[1, channel] += reduce(squares)


@compiled
def convolve_backward(
    weights,
    gradients,
    starts,
    offsets,
    positions,
    source,
    target,
    before,
    more,
    reached,
    size,
    tile,
):
    """Add to the weights' gradients, given the result's gradient `target`.

    `before` gets the gradient of the source, added to what it holds if `more`, and gated by the
    ReLU that the source came from; no groups in it: no gradient is wanted. Channels that are not
    `reached` by any gradient are left alone.
    """
    pixels = width(tile) // IMAGES
    plane = (size + 2) * (size + 2)
    zero = weights.dtype.type(0)
    for group in range(target.shape[0]):
        maps, results = source[group], target[group]
        for y in range(size):
            for channel in range(starts.size - 1):
                if not reached[channel]:
                    continue
                for x in range(0, size, pixels):
                    pixel = (y + 1) * (size + 2) + x + 1
                    place = channel * plane + pixel
                    value = load(maps, place, tile)
                    if before.shape[0] == 0:
                        for k in range(starts[channel], starts[channel + 1]):
                            result = load(results, pixel + offsets[k], tile)
                            gradients[positions[k]] += dot(value, result)
                    else:
                        total = load(before[group], place, tile) if more else fill(zero, tile)
                        for k in range(starts[channel], starts[channel + 1]):
                            result = load(results, pixel + offsets[k], tile)
                            total = add_scaled(total, weights[positions[k]], result)
                            gradients[positions[k]] += dot(value, result)
                        store(before[group], place, relu_gradient(value, total), tile)


@compiled
def normalise(source, scale, shift, other, factor, result, read, present, size, tile):
    """result = relu(scale * source + shift + factor * other), 0 for absent images.

    Channels that nothing will `read` are left alone.
    """
    pixels = width(tile) // IMAGES
    plane = (size + 2) * (size + 2)
    for group in range(result.shape[0]):
        mask = load(present[group], 0, tile)
        for channel in range(scale.size):
            if not read[channel]:
                continue
            shifts = fill(shift[channel], tile)
            for y in range(size):
                for x in range(0, size, pixels):
                    place = channel * plane + (y + 1) * (size + 2) + x + 1
                    total = add_scaled(shifts, scale[channel], load(source[group], place, tile))
                    if other.shape[0] > 0:
                        values = load(other[group], place, tile)
                        total = add_scaled(total, factor[channel], values)
                    store(result[group], place, multiply(relu(total), mask), tile)


@compiled
def normalise_backward(
    channels,
    gradient,
    source,
    mean,
    inverse,
    gamma,
    live,
    reached,
    count,
    sums,
    present,
    size,
    tile,
):
    """Replace `source` by its gradient (Ioffe and Szegedy 2015, section 3), where `live`.

    `sums` [2, channels] gets the gradients of beta and gamma; these are 0 where not `reached`.
    """
    pixels = width(tile) // IMAGES
    plane = (size + 2) * (size + 2)
    kind = mean.dtype.type
    for channel in channels:
        if not reached[channel]:
            continue
        plain, weighted = 0.0, 0.0
        means = fill(mean[channel], tile)
        for group in range(gradient.shape[0]):
            first, second = fill(kind(0), tile), fill(kind(0), tile)
            for y in range(size):
                for x in range(0, size, pixels):
                    place = channel * plane + (y + 1) * (size + 2) + x + 1
                    value = load(gradient[group], place, tile)
                    first = add(first, value)
                    centred = subtract(load(source[group], place, tile), means)
                    second = add(second, multiply(value, centred))
            plain += reduce(first)
            weighted += reduce(second)
        sums[0, channel] = plain
        sums[1, channel] = weighted * inverse[channel]
        if not live[channel]:
            continue
        scale = gamma[channel] * inverse[channel]
        slope = -scale * inverse[channel] * sums[1, channel] / count
        shifts = fill(kind(-scale * plain / count - slope * mean[channel]), tile)
        for group in range(gradient.shape[0]):
            mask = load(present[group], 0, tile)
            for y in range(size):
                for x in range(0, size, pixels):
                    place = channel * plane + (y + 1) * (size + 2) + x + 1
                    total = add_scaled(shifts, kind(slope), load(source[group], place, tile))
                    total = add_scaled(total, kind(scale), load(gradient[group], place, tile))
                    store(source[group], place, multiply(total, mask), tile)


@compiled
def split(source, target, chosen, size, reverse, pixel):
    """Even and odd rows and columns as four maps of `size`, for strides of 2; `reverse` joins."""
    small, wide = (size + 2) * (size + 2), 2 * size + 2
    for group in range(source.shape[0]):
        whole, parts = source[group], target[group]
        for channel in range(chosen.size):
            if not chosen[channel]:
                continue
            for y in range(2 * size):
                for x in range(2 * size):
                    a = (channel * wide + y + 1) * wide + x + 1
                    phase = 4 * channel + y % 2 * 2 + x % 2
                    b = phase * small + (y // 2 + 1) * (size + 2) + x // 2 + 1
                    if reverse:
                        store(whole, a, load(parts, b, pixel), pixel)
                    else:
                        store(parts, b, load(whole, a, pixel), pixel)


@compiled
def spread(images, examples, target, first, size):
    """Images [examples, channels, size, size] into maps from group `first`; absent: zeros."""
    channels = images.shape[1]
    plane = (size + 2) * (size + 2)
    for group in range(target.shape[0]):
        for image in range(IMAGES):
            place = (first + group) * IMAGES + image
            for channel in range(channels):
                for y in range(size):
                    start = channel * plane + (y + 1) * (size + 2) + 1
                    for x in range(size):
                        value = images.dtype.type(0)
                        if place < examples.size:
                            value = images[examples[place], channel, y, x]
                        target[group, (start + x) * IMAGES + image] = value


@compiled
def pool(source, means, size):
    """The mean over the pixels, into `means` [groups, 16, channels]."""
    plane = (size + 2) * (size + 2)
    for group in range(means.shape[0]):
        for channel in range(means.shape[2]):
            for pixel in range(plane):  # the border is 0
                for image in range(IMAGES):
                    value = source[group, (channel * plane + pixel) * IMAGES + image]
                    means[group, image, channel] += value / (size * size)


@compiled
def pool_backward(source, gradient, before, size):
    """Spread `gradient` [groups, 16, channels] over the pixels, gated by the source's ReLU."""
    plane = (size + 2) * (size + 2)
    for group in range(before.shape[0]):
        for channel in range(gradient.shape[2]):
            for pixel in range(plane):
                for image in range(IMAGES):
                    place = (channel * plane + pixel) * IMAGES + image
                    value = gradient[group, image, channel] / (size * size)
                    before[group, place] = value if source[group, place] > 0 else 0
