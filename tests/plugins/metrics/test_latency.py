"""Latency: what is timed, and what the record says of it."""

import time

import pytest
import torch
from torch import nn

import sdd_core
from sdd_core import testing
from sdd_core.level.masks import prunable_weights
from sdd_plugins.metrics.latency import Latency

from ..conftest import dataset


class Slow(nn.Module):
    """Sleeps for a millisecond for each example, and longer every third time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.batches: list[int] = []

    def forward(self, inputs):
        self.batches.append(len(inputs))
        time.sleep(0.001 * len(inputs))
        return self.layer(inputs)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


DATA = dataset(torch.zeros(3, 1, 2, 2), [0, 1, 0])


def test_a_batch_takes_at_least_as_long_as_its_network_sleeps(make_view):
    data = dataset(torch.zeros(3, 4), [0, 1, 0])
    found = Latency(batch_sizes=(1, 10), repeats=3).measure(make_view(Slow(), data))
    assert found["latency_dense_1_ms"] >= 1
    assert found["latency_dense_10_ms"] >= 10  # more than the data set has
    for size in (1, 10):
        low, middle, high = (found[f"latency_dense_{size}{end}_ms"] for end in ("_q1", "", "_q3"))
        assert low <= middle <= high


def test_each_way_has_its_times_where_it_exists(make_view):
    found = Latency(batch_sizes=(2,), repeats=2).measure(make_view(perceptron(), DATA))
    names = {f"latency_{way}_2{end}_ms" for way in ("dense", "compact", "sparse")
             for end in ("", "_q1", "_q3")}
    assert found.keys() == names | {"latency_threads", "latency_processor"}
    assert found["latency_dense_2_ms"] > 0
    assert found["latency_compact_2_ms"] > 0
    assert found["latency_sparse_2_ms"] > 0
    convolution = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    found = Latency(batch_sizes=(2,), repeats=2).measure(make_view(convolution, DATA))
    assert found["latency_dense_2_ms"] > 0
    assert found["latency_compact_2_ms"] > 0
    assert found["latency_sparse_2_ms"] is None  # no kernels for a convolution with bias


def test_every_way_is_timed_on_the_same_network(make_view, monkeypatch):
    """Pruned weights that are not zero, as of re-dense training, are in all ways."""
    network, asked = perceptron(), []

    def spy(network, masks, shape, threads):
        asked.append((masks, tuple(shape), threads))

    monkeypatch.setattr("sdd_plugins.metrics.latency.sparse_inference", spy)
    masks = {"1.weight": torch.zeros(8, 4, dtype=torch.bool)}
    with torch.no_grad():
        network[1].weight[1:] = 0
    Latency(batch_sizes=(1,), repeats=1, threads=2).measure(make_view(network, DATA, masks=masks))
    ((masks, shape, threads),) = asked
    assert masks["1.weight"].any(1).tolist() == [True] + [False] * 7
    assert (shape, threads) == ((1, 2, 2), 2)


def test_it_says_on_what_it_was_measured(make_view):
    found = Latency(batch_sizes=(1,), repeats=1, threads=2).measure(make_view(perceptron(), DATA))
    assert found["latency_threads"] == 2
    assert found["latency_processor"]


def test_the_number_of_threads_is_that_asked_for_and_then_as_before(make_view):
    class Looks(Slow):
        def forward(self, inputs):
            threads.append(torch.get_num_threads())
            return self.layer(inputs)

    threads, before = [], torch.get_num_threads()
    view = make_view(Looks(), dataset(torch.zeros(3, 4), [0, 1, 0]))
    Latency(batch_sizes=(1,), repeats=1, threads=before + 1).measure(view)
    assert set(threads) <= {before, before + 1}  # compact and sparse look at it too
    assert threads.count(before + 1) >= 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("options", [{"batch_sizes": ()}, {"batch_sizes": (0,)}, {"repeats": 0},
                                     {"threads": 0}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=r"Input should be|at least 1 item"):
        Latency(**options)


def test_it_keeps_the_contract_and_says_that_it_is_not_reproducible():
    testing.check(Latency(batch_sizes=(1,), repeats=1))
    assert not Latency.reproducible
    assert "latency" not in {one.name for one in sdd_core.load_plugins().default_metrics()}


def test_a_level_that_nothing_is_left_of_has_times_too(make_view):
    network = perceptron()
    masks = {name: torch.zeros_like(weight, dtype=torch.bool)
             for name, weight in prunable_weights(network).items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    found = Latency(batch_sizes=(1,), repeats=1).measure(make_view(network, DATA, masks=masks))
    assert found["latency_dense_1_ms"] > 0
