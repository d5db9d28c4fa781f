# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Epochs of a multilayer perceptron.

A batch is worked on in as many examples at a time as a vector has lanes. A layer's backward pass
overwrites its inputs with their gradients, so one array of units serves both passes and stays in
the processor's cache.
"""

from __future__ import annotations

import numpy as np

from sdd_core.sparse.barrier import ALONE, Thread, share, wait
from sdd_core.sparse.compilation import compiled, inner
from sdd_core.sparse.kernels.images import gather
from sdd_core.sparse.kernels.linear import (
    bias_backward,
    dense_backward,
    dense_forward,
    sparse_backward,
    sparse_forward,
)
from sdd_core.sparse.kernels.loss import cross_entropy
from sdd_core.sparse.kernels.sgd import descend
from sdd_core.sparse.plan.records import DENSE
from sdd_core.sparse.simd import width


@inner
def forward(net, units, products, thread, lanes):
    """All layers, first to last."""
    count = net.linears.size
    for i in range(count):
        layer = net.linears[i]
        if layer.kernel == DENSE:
            dense_forward(layer, net, units, products, i == count - 1, thread.part, lanes)
        else:
            sparse_forward(layer, net, units, i == count - 1, thread.part, lanes)
        wait(thread)


@inner
def backward(net, gradients, units, products, thread, lanes):
    """All layers, last to first."""
    for i in range(net.linears.size - 1, -1, -1):
        layer = net.linears[i]
        if layer.biases >= 0:
            bias_backward(layer, gradients, units, thread.part, lanes)
        if layer.kernel == DENSE:
            dense_backward(layer, units, products, i == 0, thread.part, lanes)
        else:
            sparse_backward(layer, net, gradients, units, i == 0, thread.part, lanes)
        wait(thread)


@compiled
def train(net, sgd, units, products, data, steps, thread, lanes):
    """Take one step for each batch of `steps`. Return the sum of the examples' losses.

    A thread's part of a step are some units of each layer, and some parameters: every number is
    computed by one thread, so how many there are changes none of them.
    """
    last = net.linears[net.linears.size - 1]
    logits = units[last.target * width(lanes) :]
    loss = 0.0
    for step in range(steps.learning_rates.size):
        batch = steps.order[step * steps.batch_size : (step + 1) * steps.batch_size]
        scale = net.parameters.dtype.type(1 / batch.size)  # the loss is the mean of a batch
        for start in range(0, batch.size, width(lanes)):
            examples = batch[start : start + width(lanes)]
            gather(data.images, examples, net.features, units, thread.part, lanes)
            wait(thread)
            forward(net, units, products, thread, lanes)
            if thread.part[0] == 0:
                loss += cross_entropy(logits, last.outputs, data.labels, examples, scale, lanes)
            wait(thread)
            backward(net, sgd.gradients[0], units, products, thread, lanes)
        descend(net, sgd, steps.learning_rates[step], thread.part, lanes)
    return loss


@compiled
def differentiate(
    net, gradients, units, products, inputs, data, examples, scale, thread, lanes
):
    """Do a forward and a backward pass without a step, in one thread.

    `inputs` gets the hidden units as the forward pass leaves them. In `units`, all but the features
    are then gradients; those of the kept weights are added to `gradients`.
    """
    first, last = net.linears[0], net.linears[net.linears.size - 1]
    gather(data.images, examples, net.features, units, thread.part, lanes)
    forward(net, units, products, thread, lanes)
    for k in range(first.target * width(lanes), last.target * width(lanes)):
        inputs[k] = units[k]
    logits = units[last.target * width(lanes) :]
    cross_entropy(logits, last.outputs, data.labels, examples, scale, lanes)
    backward(net, gradients, units, products, thread, lanes)


@compiled
def evaluate(net, units, products, data, results, thread, lanes):
    """Fill in the results, a group of examples for each number of losses.

    A thread's part are some of the groups. It has `units` to itself.
    """
    count = width(lanes)
    last = net.linears[net.linears.size - 1]
    outputs = units[last.target * count :]
    scale = net.parameters.dtype.type(1)
    numbers = np.empty(count, np.int64)
    alone = Thread(ALONE, thread.barrier)
    begin, end = share(results.losses.size, thread.part)
    for number in range(begin, end):
        start = number * count
        examples = numbers[: min(count, data.labels.size - start)]
        for lane in range(examples.size):
            examples[lane] = start + lane
        gather(data.images, examples, net.features, units, alone.part, lanes)
        forward(net, units, products, alone, lanes)
        for lane in range(examples.size):
            for c in range(last.outputs):
                results.logits[start + lane, c] = outputs[c * count + lane]
        results.losses[number] = cross_entropy(
            outputs, last.outputs, data.labels, examples, scale, lanes
        )
