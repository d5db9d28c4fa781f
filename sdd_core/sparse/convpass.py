# pyright: reportCallIssue=false
# (the functions of `vector` get their first argument, the typing context, from the compiler)
"""Training and evaluation of a convolutional network, compiled: whole epochs in one call.

A batch is groups of 16 images, in two halves. Threads share the halves, and meet where all of a
batch is needed: for the statistics of a normalisation, and those of its gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.convolution import IMAGES, backward, forward, pool, pool_backward
from sdd_core.sparse.kernels import cross_entropy, descend, sparse_backward, sparse_forward
from sdd_core.sparse.meeting import ALONE, meet, share
from sdd_core.sparse.vector import BLOCK, load, reduce, transpose_block

HALVES = 2


class Batch(NamedTuple):
    """The state of a step; each half is written by one thread."""

    memory: NDArray  # [groups, pixels * 16]
    present: NDArray  # [groups, 8 pixels * 16]: 1 where there is an image
    losses: NDArray  # [groups]
    results: NDArray  # [halves, 2, channels of all norms]: sums and sums of squares
    slopes: NDArray  # [halves, 3, channels of all activations]: see `convolve_backward`
    gradients: NDArray  # [halves, parameters]


@compiled
def normalise(act, net, batch, room, count, training):
    """The factors of an activation, by the statistics of the batch or the running ones."""
    measure(net.norms[act.norm], net, batch, room, count, training)
    if act.other_norm >= 0:
        measure(net.norms[act.other_norm], net, batch, room, count, training)
    for channel in range(act.channels):
        place = act.start + channel
        mean, scale, shift = affine(net.norms[act.norm], net, room, channel)
        room.means[0, place] = mean
        factor = 1.0
        if act.other_norm >= 0:
            mean, factor, more = affine(net.norms[act.other_norm], net, room, channel)
            room.means[1, place] = mean
            shift += more
        room.factors[0, place] = scale
        room.factors[1, place] = shift
        room.factors[2, place] = factor


@compiled
def affine(norm, net, room, channel):
    mean = room.moments[0, norm.start + channel]
    scale = net.parameters[norm.gamma + channel] * room.moments[1, norm.start + channel]
    return mean, scale, net.parameters[norm.beta + channel] - mean * scale


@compiled
def measure(norm, net, batch, room, count, training):
    for place in range(norm.start, norm.start + norm.channels):
        mean, variance = net.running[0, place], net.running[1, place]
        if training:
            mean, variance = statistics(batch, place, count)
        room.moments[0, place] = mean
        room.moments[1, place] = 1 / math.sqrt(variance + norm.epsilon)


@compiled
def statistics(batch, place, count):
    plain = squares = 0.0
    for half in range(HALVES):
        plain += batch.results[half, 0, place]
        squares += batch.results[half, 1, place]
    mean = plain / count
    return mean, max(squares / count - mean * mean, 0.0)


@compiled
def remember(net, batch, size):
    """Take the statistics of a batch of `size` into the running ones."""
    for i in range(net.layers.size):
        norm, count = net.norms[net.layers[i].norm], size * net.layers[i].side ** 2
        for place in range(norm.start, norm.start + norm.channels):
            mean, variance = statistics(batch, place, count)
            variance *= count / (count - 1)
            net.running[0, place] += norm.momentum * (mean - net.running[0, place])
            net.running[1, place] += norm.momentum * (variance - net.running[1, place])


@compiled
def slopes(layer, net, batch, room, count, write):
    """How a result's gradient depends on that of its activation; `write` those of its norm."""
    norm, act = net.norms[layer.norm], net.activations[layer.made]
    kind = 1 if act.norm == layer.norm else 2
    for channel in range(norm.channels):
        place = norm.start + channel
        mean, inverse = room.moments[0, place], room.moments[1, place]
        plain = weighted = 0.0
        for half in range(HALVES):
            plain += batch.slopes[half, 0, act.start + channel]
            weighted += batch.slopes[half, kind, act.start + channel]
        weighted *= inverse
        scale = net.parameters[norm.gamma + channel] * inverse
        slope = -scale * inverse * weighted / count
        room.slopes[0, place] = scale
        room.slopes[1, place] = slope
        room.slopes[2, place] = -scale * plain / count - slope * mean
        if write:
            batch.gradients[0, norm.gamma + channel] = weighted
            batch.gradients[0, norm.beta + channel] = plain


@compiled
def layer_forward(layer, net, room, memory, present, totals, wide, narrow, pixel):
    if layer.side % 8 == 0:
        forward(layer, net, room, memory, present, totals, wide, pixel)
    else:
        forward(layer, net, room, memory, present, totals, narrow, pixel)


@compiled
def layer_backward(layer, net, room, memory, present, gradients, totals, wide, narrow, pixel):
    if layer.side % 8 == 0:
        backward(layer, net, room, memory, present, gradients, totals, wide, pixel)
    else:
        backward(layer, net, room, memory, present, gradients, totals, narrow, pixel)


@compiled
def groups_of(examples, half, pixel):
    """The groups of a half of so many examples."""
    groups = (examples + IMAGES - 1) // IMAGES
    return groups * half // HALVES, groups * (half + 1) // HALVES


@compiled
def train(
    net, batch, room, momenta, kept, images, labels, order, batch_size, learning_rates, momentum,
    weight_decay, part, meeting, wide, narrow, pixel,
):  # fmt: skip
    """One SGD step for each batch of `order`. Returns the sum of the examples' losses."""
    halves = range(HALVES * part[0] // part[1], HALVES * (part[0] + 1) // part[1])
    loss, rounds = 0.0, 0
    for step in range(learning_rates.size):
        examples = order[step * batch_size : (step + 1) * batch_size]
        for half in halves:
            batch.results[half] = 0
            batch.slopes[half] = 0
            begin, end = groups_of(examples.size, half, pixel)
            for group in range(begin, end):
                chosen = examples[group * IMAGES : (group + 1) * IMAGES]
                enter(images, chosen, batch.memory[group], batch.present[group], pixel)
        rounds = all_forward(
            net, batch, room, examples.size, halves, part, meeting, rounds, wide, narrow, pixel
        )
        for half in halves:
            begin, end = groups_of(examples.size, half, pixel)
            for group in range(begin, end):
                finish(net, batch, room, labels, examples, group, half, pixel)
        rounds = meet(meeting, rounds, part)
        rounds = all_backward(
            net, batch, room, examples.size, halves, part, meeting, rounds, wide, narrow, pixel
        )
        if part[0] == 0:
            remember(net, batch, examples.size)
            for group in range(groups_of(examples.size, HALVES - 1, pixel)[1]):
                loss += batch.losses[group]
        update(
            net, batch, momenta, kept, learning_rates[step], momentum, weight_decay, part, pixel
        )  # fmt: skip
        rounds = meet(meeting, rounds, part)
    return loss


@compiled
def all_forward(
    net, batch, room, size, halves, part, meeting, rounds, wide, narrow, pixel
):  # fmt: skip
    """All layers, and the factors of the last activation."""
    for i in range(net.layers.size):
        layer = net.layers[i]
        if layer.first and layer.activation >= 0:
            act = net.activations[layer.activation]
            normalise(act, net, batch, room, size * act.side * act.side, True)
        norm = net.norms[layer.norm]
        for half in halves:
            totals = batch.results[half, :, norm.start : norm.start + norm.channels]
            begin, end = groups_of(size, half, pixel)
            for group in range(begin, end):
                layer_forward(
                    layer, net, room, batch.memory[group], batch.present[group], totals,
                    wide, narrow, pixel,
                )  # fmt: skip
        rounds = meet(meeting, rounds, part)
    act = net.activations[net.activations.size - 1]
    normalise(act, net, batch, room, size * act.side * act.side, True)
    return rounds


@compiled
def all_backward(
    net, batch, room, size, halves, part, meeting, rounds, wide, narrow, pixel
):  # fmt: skip
    """All layers, last to first."""
    for i in range(net.layers.size - 1, -1, -1):
        layer = net.layers[i]
        act = net.activations[layer.activation]
        slopes(layer, net, batch, room, size * layer.side * layer.side, part[0] == 0)
        for half in halves:
            totals = batch.slopes[half, :, act.start : act.start + act.channels]
            begin, end = groups_of(size, half, pixel)
            for group in range(begin, end):
                layer_backward(
                    layer, net, room, batch.memory[group], batch.present[group],
                    batch.gradients[half], totals, wide, narrow, pixel,
                )  # fmt: skip
        if layer.first:  # now its source's gradient is complete
            rounds = meet(meeting, rounds, part)
    return rounds


@compiled
def enter(images, examples, memory, present, pixel):
    """A group's images [examples, features] as pixels x 16 images, and which there are."""
    numbers = np.empty(IMAGES, examples.dtype)
    for lane in range(IMAGES):
        there = lane < examples.size
        numbers[lane] = examples[lane] if there else examples[0]
        for x in range(lane, present.size, IMAGES):
            present[x] = there
    for x in range(0, images.shape[1], BLOCK):
        transpose_block(images, numbers, 0, x, memory, x, pixel)


@compiled
def finish(net, batch, room, labels, examples, group, half, pixel):
    """The head of a group, forward and backward."""
    head, memory, gradients = net.head[0], batch.memory[group], batch.gradients[half]
    act = net.activations[net.activations.size - 1]
    head_forward(act, net, room, memory, batch.present[group], pixel)
    chosen = examples[group * IMAGES : (group + 1) * IMAGES]
    scale = memory.dtype.type(1 / examples.size)
    batch.losses[group], _ = cross_entropy(
        memory[head.target * IMAGES :], head.outputs, labels, chosen, scale, pixel
    )
    for row in range(head.outputs):
        gradients[head.biases + row] += reduce(load(memory, head.target + row, pixel))
    sparse_backward(head, net.index, net.parameters, gradients, memory, False, ALONE, pixel)
    totals = batch.slopes[half, :, act.start : act.start + act.channels]
    pool_backward(act, head, net, room, memory, totals, pixel)


@compiled
def head_forward(act, net, room, memory, present, pixel):
    head = net.head[0]
    pool(act, head, room, memory, present, pixel)
    sparse_forward(head, net.index, net.parameters, memory, True, ALONE, pixel)


@compiled
def update(
    net, batch, momenta, kept, learning_rate, momentum, weight_decay, part, pixel
):  # fmt: skip
    """A step of SGD for this thread's share of the parameters."""
    begin, end = share(momenta.size, part)
    mine = slice(begin, end)
    for half in range(1, HALVES):
        for k in range(begin, end):
            batch.gradients[0, k] += batch.gradients[half, k]
            batch.gradients[half, k] = 0
    descend(
        net.parameters[mine], momenta[mine], batch.gradients[0, mine], kept[mine],
        learning_rate, momentum, weight_decay, pixel,
    )  # fmt: skip


@compiled
def evaluate(net, batch, room, images, labels, logits, losses, part, wide, narrow, pixel):
    """Fill `logits` [examples, classes] and `losses` [groups]: sums over a group's images.

    A thread's `part` are some of the groups; it uses the memory of one.
    """
    head, number = net.head[0], part[0]
    for i in range(net.activations.size):
        normalise(net.activations[i], net, batch, room, 1, False)
    everything = np.arange(labels.size)
    memory, present = batch.memory[number], batch.present[number]
    for group in range(losses.size * part[0] // part[1], losses.size * (part[0] + 1) // part[1]):
        examples = everything[group * IMAGES : (group + 1) * IMAGES]
        enter(images, examples, memory, present, pixel)
        for i in range(net.layers.size):
            layer = net.layers[i]
            totals = batch.results[number, :, : layer.outputs]
            layer_forward(layer, net, room, memory, present, totals, wide, narrow, pixel)
        head_forward(net.activations[net.activations.size - 1], net, room, memory, present, pixel)
        outputs = memory[head.target * IMAGES :]
        for lane in range(examples.size):
            for c in range(head.outputs):
                logits[group * IMAGES + lane, c] = outputs[c * IMAGES + lane]
        scale = memory.dtype.type(1)
        losses[group], _ = cross_entropy(outputs, head.outputs, labels, examples, scale, pixel)
