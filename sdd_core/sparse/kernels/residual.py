# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Epochs of a residual network.

A batch is groups of 16 images, in two halves. Threads share the halves, and wait for each other
where all of a batch is needed: for the statistics of a normalisation, and those of its gradient.
"""

from __future__ import annotations

import numpy as np

from sdd_core.sparse.barrier import ALONE, wait
from sdd_core.sparse.compilation import compiled, inner
from sdd_core.sparse.kernels.convolution import layer_forward
from sdd_core.sparse.kernels.convolution_backward import layer_backward
from sdd_core.sparse.kernels.images import enter
from sdd_core.sparse.kernels.linear import bias_backward, sparse_backward, sparse_forward
from sdd_core.sparse.kernels.loss import cross_entropy
from sdd_core.sparse.kernels.normalisation import (
    bn_grad_coefficients,
    normalise,
    update_running_stats,
)
from sdd_core.sparse.kernels.pooling import pool, pool_backward
from sdd_core.sparse.kernels.records import IMAGES, Group
from sdd_core.sparse.kernels.sgd import descend


@inner
def halves_of(batch, thread):
    """The first and the last half that a thread works on, the latter not included."""
    number, count = thread.part
    halves = batch.result_sums.shape[0]
    return halves * number // count, halves * (number + 1) // count


@inner
def groups_of(batch, space, size, half):
    """The same of the groups of a half, in a batch of `size` examples."""
    groups, halves = (size + IMAGES - 1) // IMAGES, batch.result_sums.shape[0]
    return groups * half // halves, groups * (half + 1) // halves


@inner
def group_of(batch, space, number):
    """A group's part of the batch."""
    return Group(batch.memory[number], batch.present[number])


@compiled
def train(net, sgd, batch, space, data, steps, thread):
    """Take one step for each batch of `steps`. Return the sum of the examples' losses."""
    begin, end = halves_of(batch, thread)
    loss = 0.0
    for step in range(steps.learning_rates.size):
        examples = steps.order[step * steps.batch_size : (step + 1) * steps.batch_size]
        for half in range(begin, end):
            start(batch, space, data, examples, half)
        all_forward(net, batch, space, examples.size, thread)
        for half in range(begin, end):
            head(net, sgd, batch, space, data, examples, half)
        wait(thread)
        all_backward(net, sgd, batch, space, examples.size, thread)
        if thread.part[0] == 0:
            update_running_stats(net, batch, examples.size)
            for group in range((examples.size + IMAGES - 1) // IMAGES):
                loss += batch.losses[group]
        descend(net, sgd, steps.learning_rates[step], thread.part, space.pixel)
        wait(thread)
    return loss


@inner
def start(batch, space, data, examples, half):
    """Clear the sums of a half, and enter its images."""
    batch.result_sums[half] = 0
    batch.gradient_sums[half] = 0
    begin, end = groups_of(batch, space, examples.size, half)
    for group in range(begin, end):
        chosen = examples[group * IMAGES : (group + 1) * IMAGES]
        enter(data.images, chosen, group_of(batch, space, group), space.pixel)


@inner
def all_forward(net, batch, space, size, thread):
    """All layers, first to last, and the factors of the last activation."""
    first, last = halves_of(batch, thread)
    for i in range(net.convolutions.size):
        layer = net.convolutions[i]
        if layer.first and layer.activation >= 0:
            act = net.activations[layer.activation]
            normalise(act, net, batch, space, size * act.side * act.side, True)
        norm = net.norms[layer.norm]
        for half in range(first, last):
            totals = batch.result_sums[half, :, norm.start : norm.start + norm.channels]
            begin, end = groups_of(batch, space, size, half)
            for group in range(begin, end):
                layer_forward(layer, net, space, group_of(batch, space, group), totals)
        wait(thread)
    act = net.activations[net.activations.size - 1]
    normalise(act, net, batch, space, size * act.side * act.side, True)


@inner
def all_backward(net, sgd, batch, space, size, thread):
    """All layers, last to first."""
    first, last = halves_of(batch, thread)
    for i in range(net.convolutions.size - 1, -1, -1):
        layer = net.convolutions[i]
        act = net.activations[layer.activation]
        pixels, write = size * layer.side * layer.side, thread.part[0] == 0
        bn_grad_coefficients(layer, net, batch, space, sgd.gradients[0], pixels, write)
        for half in range(first, last):
            totals = batch.gradient_sums[half, :, act.start : act.start + act.channels]
            begin, end = groups_of(batch, space, size, half)
            for number in range(begin, end):
                group = group_of(batch, space, number)
                layer_backward(layer, net, space, group, sgd.gradients[half], totals)
        if layer.first:  # now its source's gradient is complete
            wait(thread)


@inner
def head(net, sgd, batch, space, data, examples, half):
    """The linear layer for the groups of a half, forward and backward."""
    layer, gradients = net.linears[0], sgd.gradients[half]
    act = net.activations[net.activations.size - 1]
    totals = batch.gradient_sums[half, :, act.start : act.start + act.channels]
    begin, end = groups_of(batch, space, examples.size, half)
    for number in range(begin, end):
        group = group_of(batch, space, number)
        memory = group.memory
        head_forward(act, net, space, group)
        chosen = examples[number * IMAGES : (number + 1) * IMAGES]
        scale = memory.dtype.type(1 / examples.size)  # the loss is the mean of a batch
        logits = memory[layer.target * IMAGES :]
        batch.losses[number] = cross_entropy(
            logits, layer.outputs, data.labels, chosen, scale, space.pixel
        )
        bias_backward(layer, gradients, memory, ALONE, space.pixel)
        sparse_backward(layer, net, gradients, memory, False, ALONE, space.pixel)
        pool_backward(act, layer, net, space, group, totals)


@inner
def head_forward(act, net, space, group):
    """From the last activation to the logits."""
    layer = net.linears[0]
    pool(act, layer, space, group)
    sparse_forward(layer, net, group.memory, True, ALONE, space.pixel)


@compiled
def evaluate(net, batch, space, data, results, thread):
    """Fill in the results, a group of images for each number of losses.

    A thread's part are some of the groups; it uses the memory of one.
    """
    number, count = thread.part
    for i in range(net.activations.size):
        normalise(net.activations[i], net, batch, space, 1, False)
    layer, everything = net.linears[0], np.arange(data.labels.size)
    group = group_of(batch, space, number)
    outputs, scale = group.memory[layer.target * IMAGES :], group.memory.dtype.type(1)
    groups = results.losses.size
    for place in range(groups * number // count, groups * (number + 1) // count):
        examples = everything[place * IMAGES : (place + 1) * IMAGES]
        enter(data.images, examples, group, space.pixel)
        for i in range(net.convolutions.size):
            convolution = net.convolutions[i]
            totals = batch.result_sums[number, :, : convolution.outputs]
            layer_forward(convolution, net, space, group, totals)
        head_forward(net.activations[net.activations.size - 1], net, space, group)
        for lane in range(examples.size):
            for c in range(layer.outputs):
                results.logits[place * IMAGES + lane, c] = outputs[c * IMAGES + lane]
        results.losses[place] = cross_entropy(
            outputs, layer.outputs, data.labels, examples, scale, space.pixel
        )
