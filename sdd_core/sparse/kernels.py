"""Training and evaluation of a multilayer perceptron, compiled: whole epochs in one call.

Activations are units x examples, one `Tile` of examples at a time. A layer's backward pass
overwrites its input activations with their gradients, so one buffer serves both passes and stays
in the processor's cache. All parameters lie in one flat array, kept weights only where a layer is
sparse, and so do their gradients and momenta. `plan.py` says where everything is.
"""


# pyright: reportCallIssue=false
# (the functions of `vector` get their first argument, the typing context, from the compiler)

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from sdd_core.sparse.vector import (
    BLOCK,
    add_scaled,
    divide,
    dot,
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


def compiled(function: Callable[..., Any]) -> Any:
    """Compile without holding the interpreter's lock, and keep the machine code for later runs."""
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(function, nogil=True, error_model="numpy")


@compiled
def sparse_forward(layer, index, parameters, units, last, tile):
    weights = parameters[layer.weights :]
    starts = index[layer.row_starts :]
    columns = index[layer.columns :]
    for row in range(layer.outputs):
        total = fill(bias(layer, parameters, row), tile)
        for k in range(starts[row], starts[row + 1]):
            total = add_scaled(total, weights[k], load(units, layer.source + columns[k], tile))
        store(units, layer.target + row, total if last else relu(total), tile)


@compiled
def dense_forward(layer, parameters, units, last, tile):
    """Two rows at a time: each input vector is fetched once for two products."""
    size = layer.inputs
    for row in range(0, layer.outputs - 1, 2):
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
    if layer.outputs % 2:
        row = layer.outputs - 1
        weights = parameters[layer.weights + row * size :]
        total = fill(bias(layer, parameters, row), tile)
        for column in range(size):
            total = add_scaled(total, weights[column], load(units, layer.source + column, tile))
        store(units, layer.target + row, total if last else relu(total), tile)


@compiled
def bias(layer, parameters, row):
    return parameters[layer.biases + row] if layer.biases >= 0 else parameters.dtype.type(0)


@compiled
def sparse_backward(layer, index, parameters, gradients, units, first, tile):
    """Add to the weights' gradients; replace the inputs by their gradients unless `first`."""
    weights = parameters[layer.weights :]
    gradients = gradients[layer.weights :]
    starts = index[layer.column_starts :]
    rows = index[layer.rows :]
    positions = index[layer.positions :]
    for column in range(layer.inputs):
        source = load(units, layer.source + column, tile)
        if first:
            for k in range(starts[column], starts[column + 1]):
                gradients[positions[k]] += dot(source, load(units, layer.target + rows[k], tile))
        else:
            total = fill(parameters.dtype.type(0), tile)
            for k in range(starts[column], starts[column + 1]):
                target = load(units, layer.target + rows[k], tile)
                total = add_scaled(total, weights[positions[k]], target)
                gradients[positions[k]] += dot(source, target)
            store(units, layer.source + column, relu_gradient(source, total), tile)


@compiled
def dense_backward(layer, parameters, gradients, units, first, tile):
    size = layer.inputs
    weights = parameters[layer.weights :]
    gradients = gradients[layer.weights :]
    column = 0
    while first and column + 1 < size:  # two columns at a time, as in `dense_forward`
        left = load(units, layer.source + column, tile)
        right = load(units, layer.source + column + 1, tile)
        for row in range(layer.outputs):
            target = load(units, layer.target + row, tile)
            gradients[row * size + column] += dot(left, target)
            gradients[row * size + column + 1] += dot(right, target)
        column += 2
    while column < size:
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
def gather(images, examples, live, units, tile):
    """The live features of some images, as units x examples.

    Features come in blocks of 16 (`live` has their beginnings), or one by one where an image has
    fewer. Lanes without an example repeat the first one; `cross_entropy` clears their gradients.
    """
    lanes = width(tile)
    numbers = np.empty(lanes, examples.dtype)
    for lane in range(lanes):
        numbers[lane] = examples[lane] if lane < examples.size else examples[0]
    for start in range(0, lanes, BLOCK):
        if images.shape[1] >= BLOCK:
            for k in range(live.size):
                transpose_block(images, numbers, start, live[k], units, k * BLOCK, tile)
        else:
            for k in range(live.size):
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
def forward(plan, index, parameters, units, tile):
    for i in range(plan.size):
        layer = plan[i]
        if layer.kernel == DENSE:
            dense_forward(layer, parameters, units, i == plan.size - 1, tile)
        else:
            sparse_forward(layer, index, parameters, units, i == plan.size - 1, tile)


@compiled
def backward(plan, index, parameters, gradients, units, tile):
    for i in range(plan.size - 1, -1, -1):
        layer = plan[i]
        if layer.biases >= 0:
            for row in range(layer.outputs):
                gradients[layer.biases + row] += reduce(load(units, layer.target + row, tile))
        if layer.kernel == DENSE:
            dense_backward(layer, parameters, gradients, units, i == 0, tile)
        else:
            sparse_backward(layer, index, parameters, gradients, units, i == 0, tile)


@compiled
def descend(parameters, momenta, gradients, kept, learning_rate, momentum, weight_decay):
    """One step of torch.optim.SGD; leaves the gradients zero for the next."""
    for k in range(parameters.size):
        gradient = gradients[k] if kept[k] else parameters.dtype.type(0)
        gradients[k] = 0
        momenta[k] = momentum * momenta[k] + (gradient + weight_decay * parameters[k])
        parameters[k] -= learning_rate * momenta[k]


@compiled
def train(
    plan, index, live, parameters, momenta, gradients, kept, units,
    images, labels, order, batch_size, learning_rates, momentum, weight_decay, tile,
):  # fmt: skip
    """One SGD step for each batch of `order`. Returns the sum of the examples' losses."""
    logits = units[plan[plan.size - 1].target * width(tile) :]
    classes = plan[plan.size - 1].outputs
    loss = 0.0
    for step in range(learning_rates.size):
        batch = order[step * batch_size : (step + 1) * batch_size]
        scale = parameters.dtype.type(1 / batch.size)
        for start in range(0, batch.size, width(tile)):
            examples = batch[start : start + width(tile)]
            gather(images, examples, live, units, tile)
            forward(plan, index, parameters, units, tile)
            loss += cross_entropy(logits, classes, labels, examples, scale, tile)[0]
            backward(plan, index, parameters, gradients, units, tile)
        descend(parameters, momenta, gradients, kept, learning_rates[step], momentum, weight_decay)
    return loss


@compiled
def evaluate(plan, index, live, parameters, units, images, labels, logits, tile):
    """Fill `logits` [examples, classes]; return the sum of losses and the number of hits."""
    lanes = width(tile)
    last = plan[plan.size - 1]
    outputs = units[last.target * lanes :]
    loss = 0.0
    hits = 0
    scale = parameters.dtype.type(1)
    everything = np.arange(labels.size)
    for start in range(0, labels.size, lanes):
        examples = everything[start : start + lanes]
        gather(images, examples, live, units, tile)
        forward(plan, index, parameters, units, tile)
        for lane in range(examples.size):
            for c in range(last.outputs):
                logits[start + lane, c] = outputs[c * lanes + lane]
        more, right = cross_entropy(outputs, last.outputs, labels, examples, scale, tile)
        loss += more
        hits += right
    return loss, hits
