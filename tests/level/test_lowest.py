"""The lowest of many numbers, against a sort."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdd_core.level.lowest import LARGEST, SMALLEST, VALUE, lowest


def sorted_first(numbers, count, among):
    positions = among.nonzero().squeeze(1)
    return sorted(positions[numbers[positions].argsort(stable=True)[:count]].tolist())


KEYS = {"value": (VALUE, lambda x: x), "smallest": (SMALLEST, torch.abs),
        "largest": (LARGEST, lambda x: -x.abs())}
EACH_ORDER = pytest.mark.parametrize(("order", "key"), KEYS.values(), ids=KEYS)


@EACH_ORDER
@given(data=st.data())
def test_is_that_of_a_sort(order, key, data):
    values = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf, math.nan])
    numbers = torch.tensor(data.draw(st.lists(values, min_size=1, max_size=300)))
    seed = data.draw(st.integers(0, 99))
    among = torch.rand(len(numbers), generator=torch.Generator().manual_seed(seed)) < 0.7
    count = data.draw(st.integers(0, int(among.sum())))
    found = lowest(numbers.numpy(), count, among.numpy(), order)
    assert sorted(found.tolist()) == sorted_first(key(numbers), count, among)


@EACH_ORDER
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("kind", ["normal", "ties", "ascending", "misleading", "NaN", "integers"])
def test_of_many_numbers(order, key, kind, share):
    draw = torch.Generator().manual_seed(1)
    numbers = torch.randn(50_001, generator=draw)
    if kind == "ties":
        numbers = numbers.round()
    elif kind == "ascending":
        numbers = numbers.sort().values
    elif kind == "misleading":
        numbers[::64] = -9.0  # the sample has nothing but these
    elif kind == "NaN":
        numbers[torch.rand(50_001, generator=draw) < 0.3] = math.nan
    elif kind == "integers":
        numbers = (numbers * 100).long()
    for density in (0.05, 1.0):
        among = torch.rand(50_001, generator=draw) < density
        count = int(share * int(among.sum()))
        found = lowest(numbers.numpy(), count, among.numpy(), order)
        assert sorted(found.tolist()) == sorted_first(key(numbers), count, among)
