"""A physically smaller network as a program of torch.export."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core import Exportable, Exporter, compact
from sdd_plugins.exporters.tracing import load_program, save_program, traced

REPEATS = 7


class Compact(Exporter):
    """A smaller network that computes the same, as a program of torch.export (`.pt2`).

    Neurons, channels, groups of convolutions and attention heads are removed if they do not reach
    the output, or do not depend on the input; what the latter contributed goes into the next bias
    (`sdd_core.compact`). The program holds operations and weights, and takes any batch size. It
    loads without sdd, and without the source of the network, by
    `torch.export.load(path).module()`. The archive's extra file `sdd.json` is the description of
    the level.

    Recorded before and after: parameters, multiply-adds for one example, bytes of parameters and
    buffers, and the milliseconds for one example, the median of several on one thread of this
    machine.
    """

    name = "compact"
    source = "https://docs.pytorch.org/docs/stable/export.html"
    suffix = ".pt2"

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        """Write the program. Raises SddError for a network that cannot be traced or exported."""
        small = compact(source.network, source.example)
        save_program(traced(small, source.example), source, path)
        before, after = (_facts(network, source.example) for network in (source.network, small))
        facts = {name: {"before": before[name], "after": after[name]} for name in before}
        how = f"one example, one thread of this machine, median of {REPEATS}"
        return {**facts, "latency": how}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        return load_program(path)


def _facts(network: nn.Module, examples: Tensor) -> dict[str, float]:
    """What a network costs."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (slow to import)

    tensors = [*network.parameters(), *network.buffers()]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(examples[:1])
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": counter.get_total_flops() // 2,
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "latency_ms": _milliseconds(network, examples[:1]),
    }


@torch.no_grad()
def _milliseconds(network: nn.Module, example: Tensor) -> float:
    """The median time of an inference on one thread, after one to warm up."""
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        network(example)
        for _ in range(REPEATS):
            start = time.perf_counter()
            network(example)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return float(f"{1e3 * median(times):.3g}")
