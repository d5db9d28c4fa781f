"""A step of stochastic gradient descent."""

from __future__ import annotations

from sdd_core.sparse.barrier import share
from sdd_core.sparse.compilation import inner


@inner
def descend(net, sgd, learning_rate, part, lanes):
    """Take one step of torch.optim.SGD for a thread's part of the parameters: with momentum m,
    weight decay d, learning rate r and gradient g,

        v = m v + (g + d w),  w = w - r v.

    The parts of the gradients are summed first, and zero for the next step afterwards. Pruned
    weights of a dense layer have gradient 0, so they and their momenta stay 0.
    """
    begin, end = share(net.parameters.size, part)
    gradients = sgd.gradients[0][begin:end]
    for number in range(1, sgd.gradients.shape[0]):
        more = sgd.gradients[number][begin:end]
        for k in range(gradients.size):
            gradients[k] += more[k]
            more[k] = 0
    parameters, momenta = net.parameters[begin:end], sgd.momenta[begin:end]
    kept, zero = sgd.kept[begin:end], net.parameters.dtype.type(0)
    for k in range(parameters.size):
        gradient = gradients[k] if kept[k] else zero
        gradients[k] = 0
        momenta[k] = sgd.momentum * momenta[k] + (gradient + sgd.weight_decay * parameters[k])
        parameters[k] -= learning_rate * momenta[k]
