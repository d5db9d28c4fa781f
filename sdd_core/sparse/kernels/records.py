"""What the kernels work on: records of arrays, by what they belong to."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from sdd_core.sparse.simd import Lanes

# Images in a group. A vector of `PIXEL` has one pixel of each, of `WIDE` eight pixels.
IMAGES = 16
PIXEL, WIDE, NARROW = Lanes(IMAGES), Lanes(8 * IMAGES, IMAGES), Lanes(4 * IMAGES, IMAGES)

# The groups of a batch are divided into so many parts, each worked on by one thread.
HALVES = 2


class Net(NamedTuple):
    """A network, shared by all threads: the tables of its `Plan`, and its numbers."""

    linears: NDArray
    convolutions: NDArray
    activations: NDArray
    norms: NDArray
    index: NDArray
    features: NDArray  # where the blocks of features begin that a perceptron reads
    parameters: NDArray
    running: NDArray  # [2, channels of all norms]: running means and variances


class Sgd(NamedTuple):
    """The state of gradient descent, shared by all threads."""

    momenta: NDArray
    gradients: NDArray  # [parts, parameters]: a step takes their sum and leaves zeros
    kept: NDArray  # which parameters change
    momentum: Any
    weight_decay: Any


class Data(NamedTuple):
    """Images [examples, features] and their classes [examples]."""

    images: NDArray
    labels: NDArray


class Steps(NamedTuple):
    """The examples in the order of training, and a learning rate for each batch of them."""

    order: NDArray
    batch_size: int
    learning_rates: NDArray


class Results(NamedTuple):
    """What an evaluation fills in."""

    logits: NDArray  # [examples, classes]
    losses: NDArray  # [groups of examples]: sums


class Batch(NamedTuple):
    """The maps and sums of a step of a residual network; each half is written by one thread."""

    memory: NDArray  # [groups, vectors * images]: the maps and their gradients
    present: NDArray  # [groups, 8 * images]: 1 where there is an image
    losses: NDArray  # [groups]
    result_sums: NDArray  # [halves, 2, channels of all norms]: of results, and of their squares
    gradient_sums: NDArray  # [halves, 3, channels of all activations]: see `convolve_backward`


class Group(NamedTuple):
    """A group's part of `Batch`."""

    memory: NDArray
    present: NDArray


class Workspace(NamedTuple):
    """What a thread has to itself for a residual network; sums and products are per image."""

    tile_buffer: NDArray  # inputs or gradients of some rows, with a border of zeros
    sums: NDArray  # three for each channel of a map
    products: NDArray  # one for each kept weight of a layer, in the order of its columns
    moments: NDArray  # [2, channels of all norms]: means and inverse deviations
    means: NDArray  # [2, channels of all activations]: of what they normalise
    factors: NDArray  # [3, channels of all activations]: scale, shift, and scale of the rest
    bn_grad_coefficients: NDArray  # [3, channels of all norms]: of gradient, result, and 1
    wide: Lanes
    narrow: Lanes  # for maps whose width is no multiple of 8
    pixel: Lanes
