"""Streams of randomness: named, independent of one another and of what ran before."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.randomness import generator, seed_torch, stream_seed

paths = st.tuples(
    st.sampled_from(["order", "initialisation", "training", "label noise"]),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
seeds = st.integers(0, 2**63 - 1)


@given(seeds, paths)
@settings(max_examples=50)
def test_a_stream_does_not_depend_on_what_was_drawn(seed, path):
    torch.rand(3)
    first = torch.rand(4, generator=generator(seed, *path))
    torch.rand(5)
    assert torch.equal(torch.rand(4, generator=generator(seed, *path)), first)


@given(seeds, paths, seeds, paths)
@settings(max_examples=50)
def test_another_seed_or_name_is_another_stream(seed, path, other_seed, other_path):
    same = (seed, path) == (other_seed, other_path)
    assert (stream_seed(seed, *path) == stream_seed(other_seed, *other_path)) == same
    assert 0 <= stream_seed(seed, *path) < 2**63


def test_seed_and_level_are_not_run_together():
    assert stream_seed(1, "order", 2) != stream_seed(12, "order")
    assert stream_seed(0, "order", 1, 12) != stream_seed(0, "order", 11, 2)


def test_a_stream_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    torch.rand(2, generator=generator(5, "order", 0, 0))
    assert torch.equal(torch.rand(2), expected)


def test_streams_are_uncorrelated():
    one = torch.randn(20_000, generator=generator(0, "order", 0))
    other = torch.randn(20_000, generator=generator(0, "order", 1))
    # Five standard errors of a correlation that is zero.
    assert abs((one * other).mean()) < 5 / 20_000**0.5


def test_seeds_torch_as_its_own_function_does():
    torch.manual_seed(5)
    expected = torch.rand(3)
    seed_torch(5)
    assert torch.equal(torch.rand(3), expected)
