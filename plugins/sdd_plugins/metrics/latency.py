import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from sdd_core import LevelView, Metric, SddError, compact, sparse_inference, warn

Inference = Callable[[Tensor], Tensor]

WAYS = ("dense", "compact", "sparse")


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
    source = "measurement; torch.utils.benchmark"
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

    def _quartiles(self, infer: Inference | None, batch: Tensor) -> list[float | None]:
        """Return the median and the quartiles of the time for a batch, in milliseconds."""
        if infer is None:
            return [None] * 3
        from torch.utils.benchmark import Timer  # noqa: PLC0415 (slow, and it looks for CUDA)

        timer = Timer("infer(batch)", globals={"infer": torch.inference_mode()(infer),
                                               "batch": batch}, num_threads=self.threads)
        timer.timeit(1)  # compilation, and memory
        times = [timer.timeit(1).mean * 1000 for _ in range(self.repeats)]
        return np.quantile(times, (0.5, 0.25, 0.75)).tolist()


def _processor(device: torch.device) -> str:
    """Return the name of the processor that a device computes on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
