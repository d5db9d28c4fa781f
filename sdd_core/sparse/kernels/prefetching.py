# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""What a convolution will read next, fetched while it computes.

The maps of a batch are larger than the caches next to a core, and with few kept weights a
convolution would wait for them most of the time. Nothing here changes a result.
"""

from __future__ import annotations

from sdd_core.sparse.compilation import inner
from sdd_core.sparse.kernels.records import IMAGES
from sdd_core.sparse.simd import entry, prefetch, width


@inner
def prefetch_forward(layer, act, index, group, number, first, y, x, lanes):
    """Fetch as many inputs of the tile behind that from row `first` as a vector of the `number`-th
    channel's results at row y, column x of the tile takes."""
    stride, pixels = layer.stride, width(lanes) // IMAGES
    if number >= layer.filled_count * stride:
        return
    channel = entry(index, layer.filled + number // stride)
    row = (first + y) * stride + number % stride
    place = channel * layer.channel_step + row * layer.row_step + x * stride
    place += to_next_tile(group, first, layer.tile_rows, layer.side, stride * layer.row_step, lanes)
    make = layer.first and layer.activation >= 0
    source = act.source if make else layer.source
    for part in range(stride):
        prefetch(group.memory, source + place + part * pixels, 1, lanes)
        if make and act.other >= 0:
            prefetch(group.memory, act.other + place + part * pixels, 1, lanes)


@inner
def prefetch_backward(layer, act, index, group, number, first, y, x, place, lanes):
    """Fetch what `convolve_backward` reads of the source a row below `place`, and of the tile
    behind that from row `first` the `number`-th channel's results and gradients, as above."""
    memory, stride = group.memory, layer.stride
    below = place + stride * layer.row_step
    prefetch(memory, layer.source + below, stride, lanes)
    if entry(index, layer.present + number):
        prefetch(memory, layer.gradient_so_far + below, stride, lanes)
    if layer.first and layer.activation >= 0 and act.kept >= 0:
        prefetch(memory, act.source + below, stride, lanes)
    if number < layer.result_count:
        row_step = layer.outputs * layer.side
        channel = entry(index, layer.results + number)
        place = (first + y) * row_step + channel * layer.side + x
        place += to_next_tile(group, first, layer.back_tile_rows, layer.side, row_step, lanes)
        prefetch(memory, layer.target + place, 1, lanes)
        prefetch(memory, layer.gradient + place, 1, lanes)


@inner
def to_next_tile(group, first, rows, side, row_step, lanes):
    """Return how far the next tile is from that of `rows` from row `first`: it is in the same
    maps, or in those of the next group. lanes: for the cache, as this uses `IMAGES`."""
    if first + rows < side:
        return rows * row_step
    return group.memory.size // IMAGES - first * row_step
