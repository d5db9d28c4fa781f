"""A whole sweep of levels, done by `sdd` and done by plain torch."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from baseline import BATCH, CPU, Clock, Eager, build

import sdd_core
from sdd_core import Dataset, Experiment
from sdd_core.data.resident import DeviceDataset
from sdd_core.level.masks import full_masks, prunable_weights
from sdd_core.pruning.prune import prune_fraction
from sdd_core.randomness import generator
from sdd_core.training.learning_rates import dense_learning_rates


def noisy(experiment: Experiment, data: Dataset) -> Dataset:
    """The data with the experiment's label noise."""
    draw = generator(experiment.seed, "label noise")
    labels = experiment.noise.corrupt(data.train.labels.clone(), data, draw)
    return replace(data, train=replace(data.train, labels=labels))


def eager_sweep(experiment: Experiment, data: Dataset, clock: Clock) -> list[float]:
    """Seconds of each level of the paper's algorithm in plain torch on resident tensors.

    As `sdd` does it: train, evaluate on the test set after each epoch, and on the training set
    where the epoch is the best so far or the last; prune the smallest weights of all layers;
    rewind to the initial weights. It stores nothing and computes no further metrics.
    """
    resident = DeviceDataset(noisy(experiment, data), CPU, augment=False)
    network = build(experiment, data)
    initial = deepcopy(network.state_dict())
    prunable = prunable_weights(network)
    masks = full_masks(prunable)
    steps = -(-len(resident) // BATCH)
    rates = dense_learning_rates(experiment.train, steps)[::steps]
    times = []
    for level in range(experiment.levels + 1):
        start = clock.now()
        if level:
            scores = {n: prunable[n].detach().abs() for n in prunable if n != "output.weight"}
            pruner = experiment.pruner
            masks = prune_fraction(masks, scores, pruner.fraction, pruner.scope)
        network.load_state_dict(initial)
        eager = Eager(network, masks, resident, experiment)
        best = -1.0
        for epoch, rate in enumerate(rates):
            eager.steps(resident.order(0, level, epoch), float(rate))
            accuracy = eager.evaluate(resident.test_images, resident.test_labels)
            if accuracy > best or epoch == len(rates) - 1:
                best = max(best, accuracy)
                eager.evaluate(resident.train_images, resident.train_labels)
        times.append(clock.now() - start)
    return times


class _Levels:
    """Seconds from one level's end to the next one's."""

    def __init__(self, clock: Clock) -> None:
        self.seconds: list[float] = []
        self._clock = clock
        self._last = clock.now()

    @sdd_core.hookimpl
    def sdd_run_start(self) -> None:
        self._last = self._clock.now()

    @sdd_core.hookimpl
    def sdd_level_end(self) -> None:
        now = self._clock.now()
        self.seconds.append(now - self._last)
        self._last = now


def sdd_sweep(
    settings: dict[str, Any], data_root: str | None, clock: Clock, threads: int
) -> tuple[list[float], float]:
    """Seconds of each level, and of the whole run, with so many threads of torch."""
    torch.set_num_threads(threads)
    levels, start = _Levels(clock), clock.now()
    with tempfile.TemporaryDirectory() as store:
        sdd_core.run(settings, store=store, data_root=data_root, device="cpu", observers=[levels])
        taken = clock.now() - start
    return levels.seconds, taken


class Replicas:
    """Worker processes, started and warm, one for each experiment that is carried out."""

    def __init__(self, pool: Any, clock: Clock, threads: int, data_root: str | None) -> None:
        self._pool = pool
        self._rest = data_root, clock, threads

    def run(self, experiments: Sequence[dict[str, Any]]) -> tuple[list[float], float]:
        """Seconds of each level of the first one, and of the one that took longest."""
        jobs = [(settings, *self._rest) for settings in experiments]
        results = self._pool.starmap(sdd_sweep, jobs, chunksize=1)
        return results[0][0], max(seconds for _, seconds in results)


@contextmanager
def replicas(count: int, clock: Clock, data_root: str | None):
    """`count` workers that share the threads."""
    threads = max(1, max(clock.threads) // count)
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        warm = {"model": {"name": "mlp", "widths": [8]}, "train": {"epochs": 1}, "levels": 1}
        pool.starmap(sdd_sweep, [(warm, data_root, clock, threads)] * 2 * count, chunksize=1)
        yield Replicas(pool, clock, threads, data_root)
