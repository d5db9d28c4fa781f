"""The lists of kept weights, against numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from sdd_core.sparse.listing import kept_places, sort_by_line

MASKS = st_numpy.arrays(bool, st.tuples(st.integers(0, 9), st.integers(0, 40)))


@given(MASKS, st.booleans())
def test_places_are_those_of_numpy(mask, turned):
    mask = mask.T if turned else mask  # not row by row in memory
    np.testing.assert_array_equal(kept_places(mask), np.flatnonzero(mask))


@pytest.mark.parametrize("fill", [np.zeros, np.ones])
def test_places_of_nothing_and_everything(fill):
    mask = fill((7, 33), bool)
    np.testing.assert_array_equal(kept_places(mask), np.flatnonzero(mask))


@given(st.lists(st.integers(0, 6), max_size=50))
def test_the_order_is_that_of_a_stable_sort(numbers):
    lines = np.array(numbers, np.int32)
    order, starts = sort_by_line(lines, 8)
    np.testing.assert_array_equal(order, np.argsort(lines, kind="stable"))
    np.testing.assert_array_equal(starts, np.searchsorted(np.sort(lines), np.arange(9)))
