# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Linear layers, forward and backward: y = relu(W x + b), with all of W or what is kept of it.

A layer's inputs and outputs are units x examples in one array, one vector for each unit. A thread
computes some outputs (forward) or some inputs (backward): its `part`.

Where a sparse layer still has many weights it is gone through in blocks of units that the first
level of the processor's cache holds; the sums are the same, in the same order. The products of a
dense layer are torch's (see `Products`).
"""

from __future__ import annotations

from sdd_core.sparse.barrier import share, share_of_weights
from sdd_core.sparse.compilation import inner
from sdd_core.sparse.plan.records import FORWARD, INPUTS, PARTS, WEIGHTS
from sdd_core.sparse.products import call
from sdd_core.sparse.simd import (
    add,
    add_scaled,
    add_to,
    dot,
    entry,
    fill,
    load,
    reduce,
    relu,
    relu_gradient,
    store,
)


@inner
def sparse_forward(layer, net, units, last, part, lanes):
    """Replace the outputs by W x + b; by what ReLU leaves of it unless `last`."""
    index, parameters = net.index, net.parameters
    weights = parameters[layer.weights :]
    columns = index[layer.columns :]
    begin, end = share_of_weights(index[layer.row_work :], layer.outputs, part)
    for block in range(layer.row_blocks):
        starts = index[layer.row_starts + block * layer.outputs :]
        done = block == layer.row_blocks - 1 and not last
        for row in range(begin, end):
            if block == 0:
                total = fill(bias(layer, parameters, row), lanes)
            else:  # what the blocks before have summed
                total = load(units, layer.target + row, lanes)
            for k in range(starts[row], starts[row + 1]):
                source = load(units, layer.source + entry(columns, k), lanes)
                total = add_scaled(total, entry(weights, k), source)
            store(units, layer.target + row, relu(total) if done else total, lanes)


@inner
def dense_forward(layer, net, units, products, last, part, lanes):
    """The same with all weights, by a matrix product in parts."""
    for number in range(PARTS * part[0] // part[1], PARTS * (part[0] + 1) // part[1]):
        call(products, layer.products + FORWARD * PARTS + number)
        begin, end = share(layer.outputs, (number, PARTS))
        for row in range(begin, end):
            total = load(units, layer.target + row, lanes)
            total = add(total, fill(bias(layer, net.parameters, row), lanes))
            store(units, layer.target + row, total if last else relu(total), lanes)


@inner
def bias(layer, parameters, row):
    """The bias of an output, 0 where the layer has none."""
    return parameters[layer.biases + row] if layer.biases >= 0 else parameters.dtype.type(0)


@inner
def bias_backward(layer, gradients, units, part, lanes):
    """Add to the biases' gradients: each is the sum of its output's gradients."""
    begin, end = share(layer.outputs, part)
    for row in range(begin, end):
        gradients[layer.biases + row] += reduce(load(units, layer.target + row, lanes))


@inner
def sparse_backward(layer, net, gradients, units, first, part, lanes):
    """Add to the weights' gradients; replace the inputs by their gradients unless `first`.

    With g the outputs' gradients, summed over the examples: dL/dW = g x^T for kept weights, and
    dL/dx = W^T g where ReLU let x through.
    """
    index, parameters = net.index, net.parameters
    weights = parameters[layer.weights :]
    gradients = gradients[layer.weights :]
    rows = index[layer.rows :]
    positions = index[layer.positions :]
    begin, end = share_of_weights(index[layer.column_work :], layer.inputs, part)
    for block in range(layer.column_blocks):
        starts = index[layer.column_starts + block * layer.inputs :]
        for column in range(begin, end):
            source = load(units, layer.source + column, lanes)
            if first:
                for k in range(starts[column], starts[column + 1]):
                    target = load(units, layer.target + entry(rows, k), lanes)
                    add_to(gradients, entry(positions, k), dot(source, target))
            else:
                total = fill(parameters.dtype.type(0), lanes)
                for k in range(starts[column], starts[column + 1]):
                    target = load(units, layer.target + entry(rows, k), lanes)
                    position = entry(positions, k)
                    total = add_scaled(total, entry(weights, position), target)
                    add_to(gradients, position, dot(source, target))
                store(units, layer.source + column, relu_gradient(source, total), lanes)


@inner
def dense_backward(layer, units, products, first, part, lanes):
    """The same with all weights; `descend` leaves out the gradients of those that are pruned."""
    for number in range(PARTS * part[0] // part[1], PARTS * (part[0] + 1) // part[1]):
        call(products, layer.products + WEIGHTS * PARTS + number)
        if not first:
            call(products, layer.products + INPUTS * PARTS + number)
            begin, end = share(layer.inputs, (number, PARTS))
            for column in range(begin, end):
                source = load(units, layer.source + column, lanes)
                gradient = load(units, layer.scratch + column, lanes)
                store(units, layer.source + column, relu_gradient(source, gradient), lanes)
