"""The plan of a residual network: its maps, activations, normalisations and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.packing import Packing
from sdd_core.sparse.plan.gradients import GradientPlan
from sdd_core.sparse.plan.index import Index
from sdd_core.sparse.plan.linear import list_weights
from sdd_core.sparse.plan.memory import Memory
from sdd_core.sparse.plan.reach import Reach
from sdd_core.sparse.plan.records import (
    ACTIVATION,
    CONVOLUTION,
    LINEAR,
    NORM,
    Plan,
    plain,
    table,
)
from sdd_core.sparse.plan.taps import list_taps

Masks = Sequence[NDArray[np.bool_]]


def plan_residual(architecture: Architecture, masks: Masks) -> Plan:
    """Return the plan for given masks of the parameters.

    A group's memory has the images, the results of the convolutions, the activations that are
    kept, one vector for each mean, logit and its gradient, and gradients of activations, whose
    place is used again when they are done with.
    """
    packing, index, memory = Packing(), Index(), Memory()
    starts = [packing.add(mask.shape, np.flatnonzero(mask)) for mask in masks]
    reach = Reach.of(architecture, masks)
    places = _place_maps(architecture, memory)
    norms = _norm_table(architecture, starts)
    activations = _activation_table(architecture, places, reach, index)
    head = _head_table(masks[-2], starts[-2:], memory, index)
    layers = _convolution_table(architecture, places, activations)
    tile_vectors = products = 0
    for layer, part in zip(layers, architecture.convolutions, strict=True):
        layer.weights = starts[part.layer]
        taps = list_taps(layer, part, masks[part.layer], reach, index)
        tile_vectors, products = max(tile_vectors, taps.tile_vectors), max(products, taps.products)
    GradientPlan(architecture, masks, reach, memory, index).place(activations, layers)
    return Plan(
        packing, index.flat(), plain(head, LINEAR), plain(layers, CONVOLUTION),
        plain(activations, ACTIVATION), plain(norms, NORM),
        vectors=memory.size, tile_vectors=tile_vectors, products=products,
    )  # fmt: skip


def _norm_table(architecture: Architecture, starts: Sequence[int]) -> list[Any]:
    records, start = table(len(architecture.norms), NORM), 0
    first = len(architecture.convolutions)
    shapes = architecture.shapes()
    for number, (record, norm) in enumerate(zip(records, architecture.norms, strict=True)):
        parameter = first + 2 * number
        record.gamma, record.beta = starts[parameter], starts[parameter + 1]
        record.channels, record.start = shapes[parameter][0], start
        record.momentum, record.epsilon = norm.momentum, norm.epsilon
        start += shapes[parameter][0]
    return records


def _place_maps(architecture: Architecture, memory: Memory) -> list[int]:
    """Where the images are, all results, and the activations that are read more than once."""
    convolutions, activations = architecture.convolutions, architecture.activations
    places = [-1] * len(architecture.sizes)
    results = {0, *(part.target for part in convolutions)}
    summed = {part.other for part in activations}
    for number, (channels, size) in enumerate(architecture.sizes):
        readers = sum(part.source == number for part in convolutions)
        made = [part for part in activations if part.target == number]
        needed = readers > 1 or number in summed or any(part.other is not None for part in made)
        if number in results or (readers and needed):
            places[number] = memory.take(channels * size * size)
    return places


def _activation_table(
    architecture: Architecture, places: Sequence[int], reach: Reach, index: Index
) -> list[Any]:
    records, start = table(len(architecture.activations), ACTIVATION), 0
    for record, part in zip(records, architecture.activations, strict=True):
        channels, size = architecture.sizes[part.target]
        record.source, record.norm = places[part.source], part.norm
        record.other = -1 if part.other is None else places[part.other]
        record.other_norm = -1 if part.other_norm is None else part.other_norm
        record.kept = places[part.target]
        record.channels, record.side, record.start = channels, size, start
        record.read, record.read_count = index.append_chosen(reach.read[part.target])
        record.reached, record.reached_count = index.append_chosen(reach.reached[part.target])
        start += channels
    return records


def _head_table(
    mask: NDArray[np.bool_], starts: Sequence[int], memory: Memory, index: Index
) -> list[Any]:
    records = table(1, LINEAR)
    head = records[0]
    head.outputs, head.inputs = mask.shape
    head.source = memory.take(mask.shape[1])
    head.target = memory.take(mask.shape[0] + 2)  # two for `cross_entropy`
    head.weights, head.biases = starts
    head.row_blocks = head.column_blocks = 1
    rows, columns = (found.astype(np.int32) for found in np.nonzero(mask))
    list_weights(head, rows, columns, index)
    return records


def _convolution_table(
    architecture: Architecture, places: Sequence[int], activations: Any
) -> list[Any]:
    """What each convolution reads and writes; its taps and gradients are listed elsewhere."""
    records, seen = table(len(architecture.convolutions), CONVOLUTION), set[int]()
    makers = {part.target: number for number, part in enumerate(architecture.activations)}
    users = {
        source: (number, norm)
        for number, part in enumerate(architecture.activations)
        for source, norm in part.normed()
    }
    for layer, part in zip(records, architecture.convolutions, strict=True):
        layer.activation = makers.get(part.source, -1)
        layer.first = part.source not in seen
        seen.add(part.source)
        kept = places[part.source]
        if kept < 0:  # the activation is made anew from what it normalises
            kept = activations[layer.activation].source
        layer.source, layer.target = kept, places[part.target]
        channels, size = architecture.sizes[part.source]
        layer.channel_step, layer.row_step = size, channels * size
        if part.source == 0:
            layer.channel_step, layer.row_step = size * size, size
        layer.outputs, layer.side = architecture.sizes[part.target]
        layer.stride = part.stride
        layer.feeds, layer.norm = users[part.target]
    return records
