import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from sdd_core import LevelView, Metric, SddError, compact, sparse_inference, warn

Inference = Callable[[Tensor], Tensor]

WAYS = ("dense", "compact", "sparse")

WARM_UP = 3
"""The number of calls before the first timing: for compilation, memory and caches."""


class Latency(Metric):
    """The time that a level's network takes for a batch, in milliseconds, three ways.

    dense: the network as it is, with its zeros. compact: without the units and channels that do
    nothing (`sdd export --format compact`). sparse: with sdd's sparse kernels, on the CPU; they
    know perceptrons and residual networks.

    `latency_dense_64_ms` is the median for a batch of 64 examples over `repeats` timings, after a
    warm-up; `latency_dense_64_q1_ms` and `..._q3_ms` are its quartiles. None where a way does not
    exist for the network. `latency_processor` and `latency_threads` say on what it was measured.

    Times are not reproducible: they depend on the processor, its load and the versions of
    libraries. A level keeps those that were measured first, also when the run is resumed on another
    machine.
    """

    name = "latency"
    source = "measurement"
    default: ClassVar[bool] = False
    reproducible: ClassVar[bool] = False

    batch_sizes: tuple[PositiveInt, ...] = Field(
        default=(1, 64), min_length=1, description="numbers of examples in a batch"
    )
    repeats: int = Field(default=30, ge=1, description="number of timings of each batch size")
    threads: int = Field(default=1, ge=1, description="number of threads, on a CPU")

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        examples, _ = level.batches(1, max(self.batch_sizes))[0]
        network = level.network()
        values: dict[str, Any] = {}
        for way in WAYS:
            infer = self._inference(way, network, level, examples)
            for size in dict.fromkeys(self.batch_sizes):
                # Small data sets have fewer examples than a batch.
                batch = examples[torch.arange(size, device=examples.device) % len(examples)]
                values |= {f"latency_{way}_{size}{end}_ms": time for end, time in
                           zip(("", "_q1", "_q3"), self._quartiles(infer, batch), strict=True)}
        return {**values, "latency_threads": self.threads,
                "latency_processor": _processor(level.device)}

    def _inference(
        self, way: str, network: nn.Module, level: LevelView, examples: Tensor
    ) -> Inference | None:
        """Return the function to time; None if there is none for the network."""
        if way == "dense":
            return network
        try:
            if way == "compact":
                return compact(network, examples[:2])
            if level.device.type != "cpu":
                return None
            parameters = dict(network.named_parameters())
            kept = {name: mask | (parameters[name] != 0) for name, mask in level.masks.items()}
            return sparse_inference(network, kept, examples.shape[1:], self.threads)
        except SddError as error:
            warn(f"level {level.level}: latency of {way} inference is left out: {error}")
            return None

    @torch.inference_mode()
    def _quartiles(self, infer: Inference | None, batch: Tensor) -> list[float | None]:
        """Return the median and the quartiles of the time for a batch, in milliseconds."""
        if infer is None:
            return [None] * 3
        with _threads(self.threads):
            for _ in range(WARM_UP):
                _time(infer, batch)
            times = [_time(infer, batch) for _ in range(self.repeats)]
        return [float(time) for time in np.quantile(times, (0.5, 0.25, 0.75))]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use that many threads on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time(infer: Inference, batch: Tensor) -> float:
    """Return the time for a batch in milliseconds."""
    _wait(batch.device)
    start = perf_counter()
    infer(batch)
    _wait(batch.device)
    return 1000 * (perf_counter() - start)


def _wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor(device: torch.device) -> str:
    """Return the name of the processor that a device computes on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
