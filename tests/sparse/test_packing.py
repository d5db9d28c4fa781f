"""Parameters in one flat array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from sdd_core.sparse.architecture import Architecture, Linear
from sdd_core.sparse.packing import Packing
from sdd_core.sparse.plan import make_plan

MASKS = st.lists(
    st_numpy.arrays(bool, st_numpy.array_shapes(min_dims=1, max_dims=4, max_side=5)),
    min_size=1, max_size=4,
)  # fmt: skip


@given(MASKS)
def test_what_is_kept_lies_side_by_side_and_comes_back(masks):
    packing = Packing()
    starts = [packing.add(mask.shape, np.flatnonzero(mask)) for mask in masks]
    parameters = [np.arange(1.0, mask.size + 1).reshape(mask.shape) for mask in masks]
    flat = packing.pack(parameters)
    assert packing.size == flat.size == sum(int(mask.sum()) for mask in masks)
    assert packing.kept().all()
    for start, parameter, mask in zip(starts, parameters, masks, strict=True):
        np.testing.assert_array_equal(flat[start : start + mask.sum()], parameter[mask])
    for parameter, mask, back in zip(parameters, masks, packing.unpack(flat), strict=True):
        np.testing.assert_array_equal(back, np.where(mask, parameter, 0))


@given(MASKS, st.data())
def test_what_is_packed_again_keeps_what_both_masks_keep(masks, data):
    others = [data.draw(st_numpy.arrays(bool, mask.shape)) for mask in masks]
    before, after = Packing(), Packing()
    for packing, kept in ((before, masks), (after, others)):
        for mask in kept:
            packing.add(mask.shape, np.flatnonzero(mask)[::-1])
    parameters = [np.arange(1.0, mask.size + 1).reshape(mask.shape) for mask in masks]
    packed = before.pack(parameters)
    flat, doubled = after.repack(before, [packed, 2 * packed])
    np.testing.assert_array_equal(doubled, 2 * flat)
    after.add_to(flat, 0, np.full(masks[0].shape, 0.5))
    expected = [np.where(mask & other, parameter, 0)
                for mask, other, parameter in zip(masks, others, parameters, strict=True)]
    expected[0] += 0.5 * others[0]
    for number, values in enumerate(expected):
        np.testing.assert_array_equal(after.unpack_one(flat, number), values)


def test_memory_order_of_a_parameter_does_not_matter():
    packing, mask = Packing(), np.ones((2, 3), bool)
    packing.add(mask.shape, np.flatnonzero(mask))
    parameter = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(packing.pack([np.asfortranarray(parameter)]), np.arange(6.0))


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
@given(
    mask=st_numpy.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 70))),
    biased=st.booleans(),
)
def test_a_plan_packs_each_kept_weight_once(kernel, mask, biased):
    outputs, inputs = mask.shape
    masks = [mask, np.ones(outputs, bool)][: 1 + biased]
    plan = make_plan(Architecture((Linear(inputs, outputs, biased),)), masks, [kernel])
    parameters = [np.arange(1.0, mask.size + 1).reshape(mask.shape), np.arange(1.0, outputs + 1)]
    flat = plan.packing.pack(parameters[: 1 + biased])
    weight, *rest = plan.packing.unpack(flat)
    np.testing.assert_array_equal(weight, np.where(mask, parameters[0], 0))
    for bias in rest:
        np.testing.assert_array_equal(bias, parameters[1])
    kept = plan.packing.kept()
    assert kept.sum() == mask.sum() + biased * outputs
    assert not flat[~kept].any()
    assert flat[kept].all()
