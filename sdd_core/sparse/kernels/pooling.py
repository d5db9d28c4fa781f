# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""The mean over the pixels of the last activation, which the linear layer reads."""

from __future__ import annotations

from sdd_core.sparse.compilation import inner
from sdd_core.sparse.kernels.convolution_backward import flush
from sdd_core.sparse.simd import (
    accumulate,
    add,
    add_scaled,
    divide,
    fill,
    load,
    multiply,
    relu,
    relu_gradient,
    store,
    subtract,
)


@inner
def pool(act, head, space, group):
    """Write the mean of each channel of the activation, the inputs of the head."""
    memory, pixel = group.memory, space.pixel
    side, residual = act.side, act.other >= 0
    mask = load(group.present, 0, pixel)
    size = fill(memory.dtype.type(side * side), pixel)
    for channel in range(act.channels):
        scale, shift, factor = space.factors[:, act.start + channel]
        total = fill(memory.dtype.type(0), pixel)
        for k in range(side * side):
            place = (k // side * act.channels + channel) * side + k % side
            value = load(memory, act.source + place, pixel)
            value = add_scaled(fill(shift, pixel), scale, value)
            if residual:
                value = add_scaled(value, factor, load(memory, act.other + place, pixel))
            total = add(total, relu(value))
        store(memory, head.source + channel, multiply(divide(total, size), mask), pixel)


@inner
def pool_backward(act, head, net, space, group, totals):
    """Spread the means' gradients evenly over the pixels, gated by ReLU; `totals` [3, channels]
    get sums as in `convolve_backward`."""
    memory, pixel, sums = group.memory, space.pixel, space.sums
    side, residual, two = act.side, act.other >= 0, act.other_norm >= 0
    size = fill(memory.dtype.type(side * side), pixel)
    for channel in range(act.channels):
        scale, shift, factor = space.factors[:, act.start + channel]
        mean, other_mean = space.means[:, act.start + channel]
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
    flush(act, net, space, totals)
