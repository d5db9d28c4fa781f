"""Training and evaluation of a multilayer perceptron, compiled: whole epochs in one call.

Activations are units x examples, one `Tile` of examples at a time. A layer's backward pass
overwrites its input activations with their gradients, so one buffer serves both passes and stays
in the processor's cache. Where a sparse layer still has many weights it is gone through in blocks
of units that the first level of the cache holds; the sums are the same, in the same order. All
parameters lie in one flat array, kept weights only where a layer is sparse, and so do their
gradients and momenta. `plan.py` says where everything is.
"""


# pyright: reportCallIssue=false
# (the functions of `vector` get their first argument, the typing context, from the compiler)

from __future__ import annotations

import math

import numpy as np

from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.meeting import ALONE, meet, share, share_of_weights
from sdd_core.sparse.vector import (
    BLOCK,
    add_scaled,
    add_to,
    divide,
    dot,
    entry,
    exponential,
    fill,
    load,
    maximum,
    multiply,
    reduce,
    relu,
    relu_gradient,
    store,
    subtract,
    transpose_block,
    width,
)

SPARSE, DENSE = 0, 1


@compiled
def sparse_forward(layer, index, parameters, units, last, part, tile):
    weights = parameters[layer.weights :]
    columns = index[layer.columns :]
    begin, end = share_of_weights(index[layer.row_work :], layer.outputs, part)
    for block in range(layer.row_blocks):
        starts = index[layer.row_starts + block * layer.outputs :]
        done = block == layer.row_blocks - 1 and not last
        for row in range(begin, end):
            if block == 0:
                total = fill(bias(layer, parameters, row), tile)
            else:
                total = load(units, layer.target + row, tile)
            for k in range(starts[row], starts[row + 1]):
                source = load(units, layer.source + entry(columns, k), tile)
                total = add_scaled(total, entry(weights, k), source)
            store(units, layer.target + row, relu(total) if done else total, tile)


@compiled
def dense_forward(layer, parameters, units, last, part, tile):
    """Two rows at a time: each input vector is fetched once for two products."""
    size = layer.inputs
    begin, end = share(layer.outputs, part)
    for row in range(begin, end - 1, 2):
        upper = parameters[layer.weights + row * size :]
        lower = parameters[layer.weights + (row + 1) * size :]
        first = fill(bias(layer, parameters, row), tile)
        second = fill(bias(layer, parameters, row + 1), tile)
        for column in range(size):
            source = load(units, layer.source + column, tile)
            first = add_scaled(first, upper[column], source)
            second = add_scaled(second, lower[column], source)
        store(units, layer.target + row, first if last else relu(first), tile)
        store(units, layer.target + row + 1, second if last else relu(second), tile)
    if (end - begin) % 2:
        row = end - 1
        weights = parameters[layer.weights + row * size :]
        total = fill(bias(layer, parameters, row), tile)
        for column in range(size):
            total = add_scaled(total, weights[column], load(units, layer.source + column, tile))
        store(units, layer.target + row, total if last else relu(total), tile)


@compiled
def bias(layer, parameters, row):
    return parameters[layer.biases + row] if layer.biases >= 0 else parameters.dtype.type(0)


@compiled
def sparse_backward(layer, index, parameters, gradients, units, first, part, tile):
    """Add to the weights' gradients; replace the inputs by their gradients unless `first`."""
    weights = parameters[layer.weights :]
    gradients = gradients[layer.weights :]
    rows = index[layer.rows :]
    positions = index[layer.positions :]
    begin, end = share_of_weights(index[layer.column_work :], layer.inputs, part)
    for block in range(layer.column_blocks):
        starts = index[layer.column_starts + block * layer.inputs :]
        for column in range(begin, end):
            source = load(units, layer.source + column, tile)
            if first:
                for k in range(starts[column], starts[column + 1]):
                    target = load(units, layer.target + entry(rows, k), tile)
                    add_to(gradients, entry(positions, k), dot(source, target))
            else:
                total = fill(parameters.dtype.type(0), tile)
                for k in range(starts[column], starts[column + 1]):
                    target = load(units, layer.target + entry(rows, k), tile)
                    position = entry(positions, k)
                    total = add_scaled(total, entry(weights, position), target)
                    add_to(gradients, position, dot(source, target))
                store(units, layer.source + column, relu_gradient(source, total), tile)


@compiled
def dense_backward(layer, parameters, gradients, units, first, part, tile):
    size = layer.inputs
    weights = parameters[layer.weights :]
    gradients = gradients[layer.weights :]
    column, end = share(size, part)
    while first and column + 1 < end:  # two columns at a time, as in `dense_forward`
        left = load(units, layer.source + column, tile)
        right = load(units, layer.source + column + 1, tile)
        for row in range(layer.outputs):
            target = load(units, layer.target + row, tile)
            gradients[row * size + column] += dot(left, target)
            gradients[row * size + column + 1] += dot(right, target)
        column += 2
    while column < end:
        source = load(units, layer.source + column, tile)
        total = fill(parameters.dtype.type(0), tile)
        for row in range(layer.outputs):
            target = load(units, layer.target + row, tile)
            total = add_scaled(total, weights[row * size + column], target)
            gradients[row * size + column] += dot(source, target)
        if not first:
            store(units, layer.source + column, relu_gradient(source, total), tile)
        column += 1


@compiled
def gather(images, examples, live, units, part, tile):
    """The live features of some images, as units x examples.

    Features come in blocks of 16 (`live` has their beginnings), or one by one where an image has
    fewer. Lanes without an example repeat the first one; `cross_entropy` clears their gradients.
    """
    lanes = width(tile)
    numbers = np.empty(lanes, examples.dtype)
    for lane in range(lanes):
        numbers[lane] = examples[lane] if lane < examples.size else examples[0]
    begin, end = share(live.size, part)
    for start in range(0, lanes, BLOCK):
        if images.shape[1] >= BLOCK:
            for k in range(begin, end):
                transpose_block(images, numbers, start, live[k], units, k * BLOCK, tile)
        else:
            for k in range(begin, end):
                for lane in range(start, start + BLOCK):
                    units[k * lanes + lane] = images[numbers[lane], live[k]]


@compiled
def cross_entropy(logits, classes, labels, examples, scale, tile):
    """Sum of losses and number of hits; replaces the logits by `scale` times their gradients.

    Two more units lie behind the logits: the largest logit and the sum of exponentials.
    """
    lanes = width(tile)
    top = load(logits, 0, tile)
    for c in range(1, classes):
        top = maximum(load(logits, c, tile), top)
    store(logits, classes, top, tile)
    loss = 0.0
    hits = 0
    for lane in range(examples.size):
        label = labels[examples[lane]]
        chosen = logits[label * lanes + lane]
        loss += logits[classes * lanes + lane] - chosen
        first = 0
        while logits[first * lanes + lane] < chosen:
            first += 1
        hits += first == label and chosen == logits[classes * lanes + lane]
    total = fill(logits.dtype.type(0), tile)
    for c in range(classes):
        share = exponential(subtract(load(logits, c, tile), top))
        total = add_scaled(total, logits.dtype.type(1), share)
        store(logits, c, share, tile)
    store(logits, classes + 1, total, tile)
    factor = divide(fill(scale, tile), total)
    for c in range(classes):
        store(logits, c, multiply(load(logits, c, tile), factor), tile)
    for lane in range(examples.size):
        loss += math.log(logits[(classes + 1) * lanes + lane])
        logits[labels[examples[lane]] * lanes + lane] -= scale
    for c in range(classes):
        for lane in range(examples.size, lanes):
            logits[c * lanes + lane] = 0
    return loss, hits


@compiled
def forward(plan, index, parameters, units, part, meeting, rounds, tile):
    for i in range(plan.size):
        layer = plan[i]
        if layer.kernel == DENSE:
            dense_forward(layer, parameters, units, i == plan.size - 1, part, tile)
        else:
            sparse_forward(layer, index, parameters, units, i == plan.size - 1, part, tile)
        rounds = meet(meeting, rounds, part)
    return rounds


@compiled
def backward(plan, index, parameters, gradients, units, part, meeting, rounds, tile):
    for i in range(plan.size - 1, -1, -1):
        layer = plan[i]
        if layer.biases >= 0:
            begin, end = share(layer.outputs, part)
            for row in range(begin, end):
                gradients[layer.biases + row] += reduce(load(units, layer.target + row, tile))
        if layer.kernel == DENSE:
            dense_backward(layer, parameters, gradients, units, i == 0, part, tile)
        else:
            sparse_backward(layer, index, parameters, gradients, units, i == 0, part, tile)
        rounds = meet(meeting, rounds, part)
    return rounds


@compiled
def within(numbers, limit):
    """Whether all numbers are from 0 to below the limit."""
    low = high = 0
    for number in numbers:
        low, high = min(low, number), max(high, number)
    return low >= 0 and high < limit


@compiled
def descend(
    parameters, momenta, gradients, kept, learning_rate, momentum, weight_decay, tile
):
    """One step of torch.optim.SGD; leaves the gradients zero for the next."""
    for k in range(parameters.size):
        gradient = gradients[k] if kept[k] else parameters.dtype.type(0)
        gradients[k] = 0
        momenta[k] = momentum * momenta[k] + (gradient + weight_decay * parameters[k])
        parameters[k] -= learning_rate * momenta[k]


@compiled
def train(
    plan, index, live, parameters, momenta, gradients, kept, units, images, labels, order,
    batch_size, learning_rates, momentum, weight_decay, part, meeting, tile,
):  # fmt: skip
    """One SGD step for each batch of `order`. Returns the sum of the examples' losses.

    A thread's `part` of a step are some units of each layer, and some parameters: every number is
    computed by one thread, so how many there are changes none of them.
    """
    logits = units[plan[plan.size - 1].target * width(tile) :]
    classes = plan[plan.size - 1].outputs
    begin, end = share(parameters.size, part)
    mine = slice(begin, end)
    loss = 0.0
    rounds = 0
    for step in range(learning_rates.size):
        batch = order[step * batch_size : (step + 1) * batch_size]
        scale = parameters.dtype.type(1 / batch.size)
        for start in range(0, batch.size, width(tile)):
            examples = batch[start : start + width(tile)]
            gather(images, examples, live, units, part, tile)
            rounds = meet(meeting, rounds, part)
            rounds = forward(plan, index, parameters, units, part, meeting, rounds, tile)
            if part[0] == 0:
                loss += cross_entropy(logits, classes, labels, examples, scale, tile)[0]
            rounds = meet(meeting, rounds, part)
            rounds = backward(
                plan, index, parameters, gradients, units, part, meeting, rounds, tile
            )
        descend(
            parameters[mine], momenta[mine], gradients[mine], kept[mine],
            learning_rates[step], momentum, weight_decay, tile,
        )  # fmt: skip
    return loss


@compiled
def evaluate(
    plan, index, live, parameters, units, images, labels, logits, losses, hits, part, meeting, tile
):
    """Fill `logits` [examples, classes], and for each tile the sum of losses and the hits.

    A thread's `part` are some of the tiles. It has `units` to itself.
    """
    lanes = width(tile)
    last = plan[plan.size - 1]
    outputs = units[last.target * lanes :]
    scale = parameters.dtype.type(1)
    everything = np.arange(labels.size)
    begin, end = share(losses.size, part)
    for number in range(begin, end):
        start = number * lanes
        examples = everything[start : start + lanes]
        gather(images, examples, live, units, ALONE, tile)
        forward(plan, index, parameters, units, ALONE, meeting, 0, tile)
        for lane in range(examples.size):
            for c in range(last.outputs):
                logits[start + lane, c] = outputs[c * lanes + lane]
        losses[number], hits[number] = cross_entropy(
            outputs, last.outputs, labels, examples, scale, tile
        )
