# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Cross-entropy and its gradient, and accuracy."""

from __future__ import annotations

import math

from sdd_core.sparse.compilation import compiled, inner
from sdd_core.sparse.simd import (
    add_scaled,
    divide,
    exponential,
    fill,
    load,
    maximum,
    multiply,
    store,
    subtract,
    width,
)


@inner
def cross_entropy(logits, classes, labels, examples, scale, lanes):
    """Return the sum of the examples' losses; replace the logits by `scale` times their gradients.

    With m the largest logit of an example and S = sum_c exp(z_c - m), its loss is
    m - z_label + log S (nothing overflows, as all exponents are at most 0), and the gradient
    exp(z_c - m) / S, less 1 at the label.

    Two more units lie behind the logits, for m and S. Lanes without an example get gradient 0.
    """
    count = width(lanes)
    top = load(logits, 0, lanes)
    for c in range(1, classes):
        top = maximum(load(logits, c, lanes), top)
    store(logits, classes, top, lanes)

    loss = 0.0  # in float64, one example after the other
    for lane in range(examples.size):
        chosen = logits[labels[examples[lane]] * count + lane]
        loss += logits[classes * count + lane] - chosen  # m - z_label

    total = fill(logits.dtype.type(0), lanes)
    for c in range(classes):
        share = exponential(subtract(load(logits, c, lanes), top))
        total = add_scaled(total, logits.dtype.type(1), share)
        store(logits, c, share, lanes)
    store(logits, classes + 1, total, lanes)

    factor = divide(fill(scale, lanes), total)
    for c in range(classes):
        store(logits, c, multiply(load(logits, c, lanes), factor), lanes)
    for lane in range(examples.size):
        loss += math.log(logits[(classes + 1) * count + lane])  # log S
        logits[labels[examples[lane]] * count + lane] -= scale
    for c in range(classes):
        for lane in range(examples.size, count):
            logits[c * count + lane] = 0
    return loss


@compiled
def count_hits(logits, labels):
    """Return how many rows of `logits` [examples, classes] are largest at their label; of equal
    ones the first counts."""
    hits = 0
    for row in range(labels.size):
        best = 0
        for c in range(1, logits.shape[1]):
            if logits[row, c] > logits[row, best]:
                best = c
        hits += best == labels[row]
    return hits
