"""The sparse path against the dense-masked reference, and against itself."""

from __future__ import annotations

import _thread
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.errors import SddError
from sdd_core.sparse.network import State
from sdd_core.sparse.perceptron import Perceptron

from .reference import SETTINGS, Case, Reference, assert_same, bits, make_case

SIZES = (30, 24, 12, 5)


def rates(steps: int) -> list[float]:
    return np.linspace(0.05, 0.01, steps).tolist()


def single_weight() -> Case:
    case = make_case(SIZES, 0.0)
    for layer, (row, column) in enumerate([(3, 29), (7, 3), (0, 7)]):
        case.masks[layer][row, column] = True
        case.weights[layer][row, column] = 0.5
    return case


CASES = {
    "dense": lambda: make_case(SIZES, 1.0),
    "half": lambda: make_case(SIZES, 0.5),
    "sparse": lambda: make_case(SIZES, 0.05),
    "empty": lambda: make_case(SIZES, 0.0),
    "first layer empty": lambda: make_case(SIZES, [0.0, 0.5, 1.0]),
    "middle layer empty": lambda: make_case(SIZES, [0.5, 0.0, 0.5]),
    "last layer empty": lambda: make_case(SIZES, [0.5, 0.5, 0.0]),
    "one weight a layer": single_weight,
    "no bias": lambda: make_case(SIZES, 0.3, biased=False),
    "one hidden layer": lambda: make_case((64, 40, 10), 0.2),
    "four hidden layers": lambda: make_case((16, 20, 18, 17, 9, 3), 0.4),
    "linear": lambda: make_case((20, 4), 0.5),
    "few features": lambda: make_case((3, 7, 2), 0.7),
    "blocks of units": lambda: make_case((200, 130, 90, 7), [0.5, 0.3, 0.9]),
    "odd dense sizes": lambda: make_case((17, 9, 7, 3), 0.95),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [1, 20, 200])
@pytest.mark.parametrize("kernels", [None, "sparse", "dense"])
def test_follows_the_reference(name, steps, kernels):
    case = CASES[name]()
    network = case.sparse(kernels=kernels and [kernels] * len(case.masks))
    reference = Reference(case)
    order = case.order(1, 32 * steps - 5)  # the last batch is smaller
    loss = network.train_epoch(case.images, case.labels, order, 32, rates(steps))
    assert loss == pytest.approx(reference.train(order, 32, rates(steps)), abs=1e-10)
    assert_same(network, reference, rtol=1e-9, atol=1e-10)


MIXED = {
    "sparse": ["sparse"] * 3,
    "dense": ["dense"] * 3,
    "dense first": ["dense", "sparse", "sparse"],
    "dense inside": ["sparse", "dense", "sparse"],
    "dense last": ["sparse", "sparse", "dense"],
}


@pytest.mark.parametrize("tile", [32, 64, 128])
@pytest.mark.parametrize("kernels", MIXED)
@pytest.mark.parametrize("batch_size", [50, 128])
def test_every_tile_follows_the_reference(tile, kernels, batch_size):
    case = make_case((150, 70, 33, 5), [0.6, 0.3, 0.9], examples=300)
    network, reference = case.sparse(kernels=MIXED[kernels], tile=tile), Reference(case)
    order = case.order(1, 20 * batch_size - 37)  # the last batch is smaller
    loss = network.train_epoch(case.images, case.labels, order, batch_size, rates(20))
    expected = reference.train(order, batch_size, rates(20))
    assert loss == pytest.approx(expected, abs=1e-10)
    assert_same(network, reference, rtol=1e-9, atol=1e-10)
    for weight, momentum, mask in zip(
        network.state().parameters, network.state().momenta, case.all_masks(), strict=True
    ):
        if mask is not None:
            assert not weight[~mask].any()
            assert not momentum[~mask].any()
    with torch.inference_mode():
        logits = reference.model(torch.from_numpy(case.images)).numpy()
    result = network.evaluate(case.images, case.labels)
    np.testing.assert_allclose(result.logits, logits, atol=1e-9)


@pytest.mark.parametrize("density", [1.0, 0.5, 0.1, 0.02])
def test_float32_differs_by_rounding(density):
    case = make_case((100, 60, 30, 10), density, examples=1000, dtype=np.float32)
    network, reference = case.sparse(), Reference(case)
    # Not many: sooner or later rounding puts a unit on the other side of zero.
    for steps, tolerance in ((1, 1e-6), (19, 1e-5)):
        order = case.order(steps, 128 * steps)
        network.train_epoch(case.images, case.labels, order, 128, rates(steps))
        reference.train(order, 128, rates(steps))
        assert_same(network, reference, rtol=tolerance, atol=tolerance)


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    densities=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=4, max_size=4),
    kernels=st.lists(st.sampled_from(["sparse", "dense"]), min_size=4, max_size=4),
    batch_size=st.integers(1, 150),
    tile=st.sampled_from([32, 64, 128]),
    biased=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_mask(*, sizes, densities, kernels, batch_size, tile, biased, seed):
    layers = len(sizes) - 1
    case = make_case(sizes, densities[:layers], biased=biased, seed=seed)
    network, reference = case.sparse(kernels=kernels[:layers], tile=tile), Reference(case)
    order = case.order(seed, 3 * batch_size - batch_size // 2)
    network.train_epoch(case.images, case.labels, order, batch_size, rates(3))
    reference.train(order, batch_size, rates(3))
    assert_same(network, reference, rtol=1e-9, atol=1e-10)


def test_unit_without_inputs_trains_its_bias_and_disconnected_weights_decay():
    case = make_case((4, 3, 2), 1.0)
    case.masks[0][0] = False  # unit 0 sees nothing
    case.weights[0][0] = 0.0
    case.biases[0] = np.array([1.0, 0.1, -0.1])
    case.masks[1][:, 1] = False  # unit 1 reaches nothing
    case.weights[1][:, 1] = 0.0
    network = case.sparse(kernels=["sparse", "sparse"])
    network.train_epoch(case.images, case.labels, np.arange(200), 200, [0.1])
    weight, bias, *_ = network.state().parameters
    assert abs(bias[0] - (1 - 0.1 * 1e-2)) > 1e-4
    np.testing.assert_allclose(weight[1], case.weights[0][1] * (1 - 0.1 * 1e-2))


def test_relu_has_no_gradient_at_zero():
    case = make_case((2, 1, 2), 1.0)
    case.weights[0][:] = 0.0
    case.biases[0] = np.zeros(1)
    network = case.sparse()
    network.train_epoch(case.images, case.labels, np.arange(100), 100, [0.1])
    weight, bias, *_ = network.state().parameters
    assert not bias.any()
    assert not weight.any()


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_split_run_equals_whole_run_bit_for_bit(density):
    case = make_case(SIZES, density, dtype=np.float32)
    order = case.order(0, 10 * 32)
    kernels = ["dense" if density == 1.0 else "sparse"] * 3
    whole, again = case.sparse(kernels=kernels), case.sparse(kernels=kernels)
    for network in (whole, again):
        network.train_epoch(case.images, case.labels, order, 32, rates(10))

    part = case.sparse(kernels=kernels)
    part.train_epoch(case.images, case.labels, order[: 4 * 32], 32, rates(10)[:4])
    resumed = case.sparse(part.state(), kernels=part.kernels)
    resumed.train_epoch(case.images, case.labels, order[4 * 32 :], 32, rates(10)[4:])
    for other in (again, resumed):
        assert bits(other) == bits(whole)


def test_matrix_products_begin_where_they_did_in_other_runs():
    """Their last bits may depend on it."""
    networks = [make_case((5 + seed, 9, 3), 1.0, seed=seed).sparse() for seed in range(20)]
    for network in networks:
        for numbers in (network._net.parameters, network._sgd.gradients):
            assert numbers.ctypes.data % 64 == 0


@pytest.fixture
def two_threads():
    """Torch has two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_threads_do_not_disturb_each_other(kernel, two_threads):
    cases = [make_case((64, 50, 10), 0.2, dtype=np.float32, seed=seed) for seed in range(4)]

    def run(case: Case) -> bytes:
        network = case.sparse(kernels=[kernel] * 2)
        network.train_epoch(case.images, case.labels, case.order(0, 150 * 64), 64, rates(150))
        return bits(network)

    alone = [run(case) for case in cases]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, cases)) == alone
    assert torch.get_num_threads() == 2  # one for each network is for their steps alone


@pytest.fixture
def interruptible():
    """An interrupt raises KeyboardInterrupt; a job in the background may be told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_an_interrupt_is_not_lost_in_compiled_code(kernel, capfd, interruptible):
    """Matrix products go through ctypes, which ignores what Python code raises there."""
    case = make_case((64, 50, 10), 1.0, dtype=np.float32)
    network = case.sparse(kernels=[kernel] * 2)
    order = case.order(0, 2000 * 64)
    network.train_epoch(case.images, case.labels, order, 64, rates(2000))  # compiles
    threading.Timer(0.01, _thread.interrupt_main).start()

    def train() -> None:
        for _ in range(50):
            network.train_epoch(case.images, case.labels, order, 64, rates(2000))

    with pytest.raises(KeyboardInterrupt):
        train()
    assert "ignored" not in capfd.readouterr().err


@pytest.mark.parametrize("examples", [1, 130, 1000])
def test_evaluation(examples):
    case = make_case(SIZES, 0.5, examples=examples)
    reference = Reference(case)
    images, labels = torch.from_numpy(case.images), torch.from_numpy(case.labels)
    with torch.inference_mode():
        logits = reference.model(images)
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(1) == labels).double().mean().item()
    result = case.sparse().evaluate(case.images, case.labels)
    assert result.loss == pytest.approx(loss, abs=1e-12)
    assert result.accuracy == accuracy
    np.testing.assert_allclose(result.logits, logits.numpy(), atol=1e-12)


def test_torchs_inference_mode_does_not_reach_a_dense_layer(capfd):
    """Tensors made in that mode could not be written outside of it, and compiled code would not
    notice."""
    case, kernels = make_case(SIZES, 1.0), ["dense"] * 3
    one, other = case.sparse(kernels=kernels, tile=32), case.sparse(kernels=kernels, tile=32)
    order = case.order(0, 5 * 32)
    with torch.inference_mode():
        one.evaluate(case.images, case.labels)  # with the tiles of the training below
    for network in (one, other):
        network.train_epoch(case.images, case.labels, order, 32, rates(5))
    assert bits(one) == bits(other)
    with torch.inference_mode():
        inside = one.evaluate(case.images, case.labels).logits
    assert (inside == other.evaluate(case.images, case.labels).logits).all()
    assert "ignored" not in capfd.readouterr().err


def test_equal_logits_count_as_the_first_class():
    case = make_case((4, 3), 0.0, biased=False)
    case.labels[:] = np.arange(200) % 3
    assert case.sparse().evaluate(case.images, case.labels).accuracy == 67 / 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_do_not_overflow(dtype):
    case = make_case((4, 3), 1.0, dtype=dtype)
    case.weights[0] *= 1e4
    with torch.inference_mode():
        logits = Reference(case).model(torch.from_numpy(case.images)).double()
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(case.labels)).item()
    assert case.sparse().evaluate(case.images, case.labels).loss == pytest.approx(loss, rel=1e-5)


def test_divergence_shows():
    case = make_case(SIZES, 1.0)
    case.weights[0][0, 0] = np.nan
    assert np.isnan(case.sparse().evaluate(case.images, case.labels).loss)
    network = case.sparse()
    assert np.isnan(network.train_epoch(case.images, case.labels, np.arange(64), 64, [0.1]))
    assert np.isnan(network.state().parameters[-2]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((200, 29))}, "shape"),
        ({"images": np.zeros((200, 30), np.float32)}, "float32"),
        ({"images": np.zeros((30, 200)).T}, "contiguous"),
        ({"labels": np.full(200, 5)}, "classes 0 to 4"),
        ({"labels": np.zeros(100, np.int64)}, "labels"),
        ({"order": np.array([0, 200])}, "order"),
        ({"learning_rates": [0.1, 0.1]}, "learning rate"),
    ],
)
def test_data_that_does_not_fit(change, message):
    case = make_case(SIZES, 0.5)
    arguments = {
        "images": case.images,
        "labels": case.labels,
        "order": np.arange(10),
        "batch_size": 32,
        "learning_rates": [0.1],
    }
    with pytest.raises(SddError, match=message):
        case.sparse().train_epoch(**{**arguments, **change})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda case: case.masks.__setitem__(1, np.ones((2, 2), bool)), "mask of parameter 2 is"),
        (lambda case: case.masks.__setitem__(1, np.ones((12, 24))), "mask of parameter 2 is float"),
        (lambda case: case.biases.__setitem__(0, np.zeros(3)), "parameter 1 has shape"),
        (lambda case: case.weights.__setitem__(2, case.weights[2].astype("f4")), "parameter 4 is"),
        (lambda case: [part.pop(1) for part in (case.weights, case.biases, case.masks)], "inputs"),
    ],
)
def test_networks_that_do_not_fit(damage, message):
    case = make_case(SIZES, 0.5)
    damage(case)
    with pytest.raises(SddError, match=message):
        case.sparse()


def test_as_many_masks_as_parameters_and_none_of_biases():
    case = make_case(SIZES, 0.5)
    arguments = case.architecture(), State(case.parameters()), case.all_masks(), SETTINGS
    architecture, state, masks, settings = arguments
    with pytest.raises(SddError, match="as many"):
        Perceptron(architecture, state, masks[:-1], settings)
    masks[1] = np.arange(24) < 5
    with pytest.raises(SddError, match="biases"):
        Perceptron(architecture, state, masks, settings)


@pytest.mark.parametrize("kernels", MIXED)
def test_factors_leave_the_next_step_as_it_is(kernels):
    case = make_case((150, 70, 33, 5), [0.6, 0.3, 0.9], examples=300)
    one, other = (case.sparse(kernels=MIXED[kernels]) for _ in range(2))
    factors = one.factors(case.images, case.labels, np.arange(50))
    assert [(g.shape, x.shape) for g, x in factors] == [
        ((70, 50), (150, 50)), ((33, 50), (70, 50)), ((5, 50), (33, 50))]
    for network in (one, other):
        network.train_epoch(case.images, case.labels, case.order(1, 200), 50, rates(4))
    for mine, theirs in zip(one.state().parameters, other.state().parameters, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("kernels", MIXED)
def test_a_network_that_is_refilled_is_as_a_new_one(kernels):
    case = make_case((150, 70, 33, 5), [0.6, 0.3, 0.9], examples=300)
    other = make_case((150, 70, 33, 5), [0.4, 0.5, 0.7], examples=300, seed=3)
    used, new = (one.sparse(kernels=MIXED[kernels]) for one in (case, other))
    for network in (used, new):
        if network is used:
            used.train_epoch(case.images, case.labels, case.order(1, 200), 50, rates(4))
            used.refill(new.state(), other.all_masks())
        network.train_epoch(case.images, case.labels, case.order(2, 200), 50, rates(4))
    for mine, theirs in zip(used.state().parameters, new.state().parameters, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("kernels", MIXED)
def test_under_other_masks_it_goes_on_as_a_new_network_does(kernels):
    case = make_case((150, 70, 33, 5), [0.6, 0.3, 0.9], examples=300)
    other = make_case((150, 70, 33, 5), [0.4, 0.5, 0.7], examples=300, seed=3)
    used, new = (one.sparse(kernels=MIXED[kernels]) for one in (case, other))
    used.train_epoch(case.images, case.labels, case.order(1, 200), 50, rates(4))
    state, masks = used.state(), other.all_masks()
    grown = masks[0] & ~case.all_masks()[0]
    values = 0.01 * grown.astype(state.parameters[0].dtype)
    assert grown.any()
    used.remask(masks, {0: values})
    parameters, momenta = (
        [array if mask is None else np.where(mask, array, 0)
         for array, mask in zip(arrays, masks, strict=True)]
        for arrays in (state.parameters, state.momenta)
    )
    parameters[0] = parameters[0] + values
    new.refill(State(parameters, momenta), masks)
    for network in (used, new):
        network.train_epoch(case.images, case.labels, case.order(2, 200), 50, rates(4))
    assert bits(used) == bits(new)
    assert used.steps == 8
