"""Batch normalisation (Ioffe and Szegedy 2015): y = gamma (x - mean) / sqrt(var + eps) + beta.

Nothing here goes through the maps. The convolutions sum what the statistics of a batch need; from
these sums come a scale and a shift for each channel, which the next convolution applies to what
it reads. Sums over a batch are kept in float64, half by half, so that the number of threads
changes none of them.
"""

from __future__ import annotations

import math

from sdd_core.sparse.compilation import inner


@inner
def normalise(act, net, batch, space, count, training):
    """Set the factors of an activation, by the statistics of the batch or the running ones.

    relu(norm(x) + rest) is relu(scale * x + shift + factor * rest). Where the rest is another
    normalised map, its scale is the factor, and its shift is part of the shift.

    count: pixels of the batch that the statistics are taken over.
    """
    set_moments(net.norms[act.norm], net, batch, space, count, training)
    if act.other_norm >= 0:
        set_moments(net.norms[act.other_norm], net, batch, space, count, training)
    for channel in range(act.channels):
        place = act.start + channel
        mean, scale, shift = affine(net.norms[act.norm], net, space, channel)
        space.means[0, place] = mean
        factor = 1.0
        if act.other_norm >= 0:
            mean, factor, more = affine(net.norms[act.other_norm], net, space, channel)
            space.means[1, place] = mean
            shift += more
        space.factors[0, place] = scale
        space.factors[1, place] = shift
        space.factors[2, place] = factor


@inner
def affine(norm, net, space, channel):
    """Return a channel's mean, and the scale and shift that its normalisation amounts to."""
    mean = space.moments[0, norm.start + channel]
    scale = net.parameters[norm.gamma + channel] * space.moments[1, norm.start + channel]
    return mean, scale, net.parameters[norm.beta + channel] - mean * scale


@inner
def set_moments(norm, net, batch, space, count, training):
    """Set the means and the inverse deviations of a normalisation."""
    for place in range(norm.start, norm.start + norm.channels):
        mean, variance = net.running[0, place], net.running[1, place]
        if training:
            mean, variance = statistics(batch, place, count)
        space.moments[0, place] = mean
        space.moments[1, place] = 1 / math.sqrt(variance + norm.epsilon)


@inner
def statistics(batch, place, count):
    """Return a channel's mean and (biased) variance over a batch, E[x^2] - E[x]^2."""
    plain = squares = 0.0
    for half in range(batch.result_sums.shape[0]):
        plain += batch.result_sums[half, 0, place]
        squares += batch.result_sums[half, 1, place]
    mean = plain / count
    return mean, max(squares / count - mean * mean, 0.0)


@inner
def update_running_stats(net, batch, size):
    """Take the statistics of a batch of `size` into the running ones, with the unbiased variance,
    as torch does."""
    for i in range(net.convolutions.size):
        layer = net.convolutions[i]
        norm, count = net.norms[layer.norm], size * layer.side**2
        for place in range(norm.start, norm.start + norm.channels):
            mean, variance = statistics(batch, place, count)
            variance *= count / (count - 1)
            net.running[0, place] += norm.momentum * (mean - net.running[0, place])
            net.running[1, place] += norm.momentum * (variance - net.running[1, place])


@inner
def bn_grad_coefficients(layer, net, batch, space, gradients, count, write):
    """Set how the gradient of a layer's result depends on that of its activation, dy.

    With s = 1 / sqrt(var + eps) and means over the `count` pixels of the batch (the paper,
    section 3, with its steps put together):

        dbeta  = sum(dy)
        dgamma = s sum(dy (x - mean))
        dx     = gamma s (dy - mean(dy) - s (x - mean) dgamma / count)

    which is scale * dy + slope * x + shift. Gradients of gamma and beta are written if `write`.
    """
    norm, act = net.norms[layer.norm], net.activations[layer.feeds]
    kind = 1 if act.norm == layer.norm else 2
    for channel in range(norm.channels):
        place = norm.start + channel
        mean, inverse = space.moments[0, place], space.moments[1, place]
        plain = weighted = 0.0
        for half in range(batch.gradient_sums.shape[0]):
            plain += batch.gradient_sums[half, 0, act.start + channel]
            weighted += batch.gradient_sums[half, kind, act.start + channel]
        weighted *= inverse
        scale = net.parameters[norm.gamma + channel] * inverse
        slope = -scale * inverse * weighted / count
        space.bn_grad_coefficients[0, place] = scale
        space.bn_grad_coefficients[1, place] = slope
        space.bn_grad_coefficients[2, place] = -scale * plain / count - slope * mean
        if write:
            gradients[norm.gamma + channel] = weighted
            gradients[norm.beta + channel] = plain
