"""The rule that chooses kernels, worked out by hand."""

from __future__ import annotations

import importlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdd_core.sparse.costs import KernelCosts, LayerWork, default_costs

COSTS = KernelCosts(
    sparse_first=2.0, dense_first=1.0, sparse_inner=3.0, dense_inner=1.0, dense_layer=0.0,
    general_weight=1.0, general_step=10.0,
    sparse_pixel=4.0, sparse_kept=4.0, general_pixel=1.0,
)  # fmt: skip


def mask(rows: int, columns: int, kept: int) -> np.ndarray:
    """The first `kept` weights, row by row."""
    return (np.arange(rows * columns) < kept).reshape(rows, columns)


def test_a_layer_pays_for_kept_weights_or_for_all():
    # First layer: 2 x 30 kept against 1 x 100. Inner: 3 x 40 against 100.
    assert COSTS.choose([mask(10, 10, 30), mask(10, 10, 40)]) == ("sparse", "dense")
    assert COSTS.choose([mask(10, 10, 60), mask(10, 10, 30)]) == ("dense", "sparse")


def test_a_dense_first_layer_pays_only_for_live_features():
    live = np.zeros((10, 10), bool)
    live[:, :3] = True  # 2 x 30 kept, against 1 x 10 units x 3 live features
    assert COSTS.choose([live]) == ("dense",)


def test_a_dense_layer_pays_for_its_calls():
    dear = replace(COSTS, dense_layer=21.0)  # 1 x 100 + 21 against 2 x 60 or 61; 3 x 40 or 41
    assert dear.choose([mask(10, 10, 60), mask(10, 10, 40)]) == ("sparse", "sparse")
    assert dear.choose([mask(10, 10, 61), mask(10, 10, 41)]) == ("dense", "dense")


def test_a_tie_goes_to_dense_kernels():
    assert COSTS.choose([mask(10, 10, 50)]) == ("dense",)


def test_the_general_path_pays_for_the_step_and_all_weights():
    # 2 x kept against 10 + 100.
    assert COSTS.gains([mask(10, 10, 50)])
    dear = replace(COSTS, dense_first=3.0)
    assert dear.gains([mask(10, 10, 54)])
    assert not dear.gains([mask(10, 10, 55)])


def test_a_step_pays_for_each_layer_with_its_kernel():
    # 2 x 30 kept in the first layer, all 100 in the second.
    assert COSTS.step([mask(10, 10, 30), mask(10, 10, 40)]) == 160


def test_convolutions_pay_for_each_pixel_of_their_results():
    # 2 x (4 x 16 + 4) + 14 x (4 x 4 + 4) against 20 x 16 + 24 x 4: 416 each, so that one weight
    # more decides.
    small, large = np.zeros(20, bool), np.zeros(24, bool)
    small[:2] = large[:14] = True
    assert not COSTS.gains([small, large], [16, 4])
    large[13] = False
    assert COSTS.gains([small, large], [16, 4])


@given(st.integers(0, 100), st.integers(0, 100))
def test_what_gains_still_gains_when_more_is_pruned(kept, more):
    one, other = mask(10, 10, max(kept, more)), mask(10, 10, min(kept, more))
    assert COSTS.gains([other]) >= COSTS.gains([one])
    assert COSTS.gains([other], [4]) >= COSTS.gains([one], [4])


LENET = (784, 300, 100, 10)


def lenet(density: float) -> list[np.ndarray]:
    """Masks of LeNet-300-100, its kept weights spread at random."""
    random = np.random.default_rng(0)
    return [random.random((o, i)) < density for i, o in pairwise(LENET)]


def _pretend(monkeypatch: pytest.MonkeyPatch, instructions: str) -> None:
    # By import: other tests load the package anew.
    processor = importlib.import_module("sdd_core.sparse.processor")
    monkeypatch.setattr(processor, "instruction_set", lambda: instructions)


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "neon", "other"])
def test_no_processor_takes_sparse_kernels_for_a_dense_level_or_torch_for_a_sparse_one(
    instructions, monkeypatch
):
    _pretend(monkeypatch, instructions)
    costs = default_costs()
    assert costs.choose(lenet(1.0))[:2] == ("dense", "dense")
    assert set(costs.choose(lenet(0.2))) == {"sparse"}
    for density in (1.0, 0.9, 0.7, 0.5, 0.2, 0.01):
        assert costs.gains(lenet(density))
        # Each layer takes what costs least, so none costs more than its products.
        assert costs.step(lenet(density)) <= costs.step(lenet(1.0))


def test_what_is_not_known_takes_sparse_kernels_last(monkeypatch):
    """A third of the weights, by AVX-512's costs two thirds."""
    chosen = {}
    for instructions in ("avx512", "avx2", "other"):
        _pretend(monkeypatch, instructions)
        chosen[instructions] = [default_costs().choose(lenet(d))[0] for d in (0.3, 0.5, 0.75)]
    assert chosen == {
        "avx512": ["sparse", "sparse", "sparse"],
        "avx2": ["sparse", "sparse", "dense"],
        "other": ["sparse", "dense", "dense"],
    }


def masked(inputs: int, outputs: int, density: float, side: int = 0) -> LayerWork:
    """A masked 3x3 convolution of maps with this side, of 128 images; 0: a linear layer of 128
    images with 65 tokens each."""
    weights = inputs * outputs * (9 if side else 1)
    results = 128 * (side * side if side else 65)
    return LayerWork(weights, int(density * weights), results, results / 128,
                     results * (3 * inputs + 2 * outputs), bool(side))


VGG = [(64, 64, 32), (128, 128, 16), (256, 256, 8), (512, 512, 4), (512, 512, 2)]
VIT = [(192, 192, 0), (192, 768, 0), (768, 192, 0)]


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "neon", "other"])
@pytest.mark.parametrize(("inputs", "outputs", "side"), VGG + VIT)
def test_masked_layers_take_kernels_only_where_they_were_measured_to_be_faster(
    inputs, outputs, side, instructions, monkeypatch
):
    _pretend(monkeypatch, instructions)
    costs = default_costs()

    def chosen(density: float) -> bool:
        return costs.gains_masked(masked(inputs, outputs, density, side))

    # A convolution with half of its weights took up to 1.4 times as long on its kept weights.
    assert not chosen(0.5)
    assert not chosen(0.7)
    assert chosen(0.05)
    if instructions in ("avx512", "avx2"):
        assert chosen(0.1)
        assert chosen(0.3) or not side
    else:
        assert not chosen(0.3)  # not measured there


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_costs_are_finite_numbers(cost):
    with pytest.raises(ValueError, match="finite"):
        KernelCosts(general_step=cost).check()
