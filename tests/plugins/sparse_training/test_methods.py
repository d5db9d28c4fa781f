"""Each method against an independent implementation, in plain numpy and torch."""

from functools import partial

import numpy as np
import pytest
import torch
from support import go, small

from plugins.sparse_training import reference
from sdd_core import load_plugins
from sdd_core.runs.store import Store
from sdd_core.testing import check_sparse_training

METHODS = {
    "rigl": ({"every": 7, "fraction": 0.4, "end": 0.8},
             partial(reference.rigl, every=7, fraction=0.4, end=0.8)),
    "set": ({"fraction": 0.3}, partial(reference.set_, fraction=0.3)),
    "gmp": ({"begin": 0.1, "end": 0.6, "every": 4},
            partial(reference.gmp, begin=0.1, end=0.6, every=4)),
    # Of 32 steps: 4 dense, then phases of 3, and from step 26 on compressed.
    "ac-dc": ({"warmup": 0.125, "phase": 0.1, "last": 0.2},
              partial(reference.ac_dc, compressed={4, 10, 16, 26}, dense={7, 13, 19})),
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settings(name, options, **changes):
    return small(
        sparse_training={"name": name, **options}, levels=1, retrain={"name": "rewind", "to": 0},
        train={"epochs": 4, "lr": 0.1, "weight_decay": 1e-3}, model={"name": "mlp", "widths": [24]},
        pruner={"name": "imp", "fraction": 0.4, "exempt": []},
    ) | changes


@pytest.mark.parametrize("kernels", ["none", "auto"])
@pytest.mark.parametrize("name", METHODS)
def test_is_what_the_paper_describes(tmp_path, name, kernels):
    options, update = METHODS[name]
    given = settings(name, options, kernels=kernels)
    result = go(given, tmp_path)
    dense, level = result.levels
    network = reference.ExperimentSetup(
        reference.Experiment.make(given), None, torch.device("cpu")).build(0)
    expected = reference.Reference(given, dense.state_dict(), network.state_dict())
    if name in {"gmp", "ac-dc"}:
        expected.masks = expected.full
    expected.train(update, replaces=name == "rigl")
    found = level.state_dict()
    wrong = sum(int((level.masks[n].numpy() != mask).sum()) for n, mask in expected.masks.items())
    assert wrong <= 2  # rounding may exchange two equal weights
    for parameter, value in expected.network.state_dict().items():
        assert torch.allclose(found[parameter], value, atol=2e-3, rtol=1e-3), parameter
    assert sum(int(mask.sum()) for mask in level.masks.values()) == expected.count


@pytest.mark.parametrize("name", METHODS)
def test_the_reference_can_differ(tmp_path, name):
    """That the test above can fail: static masks are far from those of each method."""
    options, _ = METHODS[name]
    moving = go(settings(name, options), tmp_path).levels[1].masks
    static = go(settings(name, options, sparse_training=None), tmp_path).levels[1].masks
    assert sum(int((moving[n] != static[n]).sum()) for n in moving) > 50


@pytest.mark.parametrize("name", METHODS)
def test_keeps_the_contract(name):
    check_sparse_training(load_plugins().get("sparse-training", name))


def test_rigl_by_hand():
    """The fraction of eq. 1, and one update of one layer."""
    rigl = load_plugins().make("sparse-training", {"name": "rigl", "every": 10, "fraction": 0.5,
                                                   "end": 1.0})
    assert [*rigl.updates(40, 7)] == [10, 20, 30]
    view = view_of(step=20, steps=40, weights=[[0.1, -0.2, 0.9, 0.0], [0.8, 0.0, 0.0, -0.7]],
                   gradients=[[9.0, 0.1, 0.0, -3.0], [0.0, 2.0, 0.5, 0.0]],
                   masks=[[1, 1, 1, 0], [1, 0, 0, 1]])
    # Half of half of 5 weights is 1: 0.1 is dropped, and has the largest gradient, so it returns.
    assert kept(rigl.masks(view)) == [[1, 1, 1, 0], [1, 0, 0, 1]]
    view.gradients["w"][0, 0] = 0.0
    assert kept(rigl.masks(view)) == [[0, 1, 1, 1], [1, 0, 0, 1]]


def test_set_drops_by_sign():
    set_ = load_plugins().make("sparse-training", {"name": "set", "fraction": 0.5})
    assert [*set_.updates(30, 10)] == [10, 20]
    assert [*set_.model_copy(update={"every": 7}).updates(30, 10)] == [7, 14, 21, 28]
    # Of the positive ones 1 and 2 go, of the negative ones -1: not the three smallest magnitudes.
    weights = [[1.0, 2.0, 3.0, 4.0], [-5.0, -1.5, 0.0, 0.0]]
    masks = [[1, 1, 1, 1], [1, 1, 0, 0]]
    found = {tuple(map(tuple, kept(set_.masks(view_of(step, 30, weights, masks=masks)))))
             for step in range(60)}
    assert all(one[0][2:] == (1, 1) and one[1][0] == 1 for one in found)
    assert all(sum(map(sum, one)) == 6 for one in found)
    places = np.array([np.ravel(one) for one in found])
    assert places[:, [0, 1, 5, 6, 7]].any(0).all()  # also those that were just dropped


def test_gmp_follows_the_cubic():
    gmp = load_plugins().make("sparse-training", {"name": "gmp", "begin": 0.2, "end": 0.7,
                                                  "every": 10})
    assert sorted(gmp.updates(100, 9)) == [20, 30, 40, 50, 60, 70]
    assert gmp.progress(0, 100) == 0
    for step in (20, 30, 40, 50, 60, 70):
        start, final = 0.1, 0.9
        cubic = final + (start - final) * (1 - (step - 20) / 50) ** 3
        assert start + (final - start) * gmp.progress(step, 100) == pytest.approx(cubic)
    assert gmp.progress(99, 100) == 1


def test_ac_dc_has_the_phases_of_the_paper():
    """The epochs of the authors' configuration for 90 % on ImageNet."""
    ac_dc = load_plugins().make("sparse-training", "ac-dc")
    phases = {step: ac_dc.progress(step, 100) for step in sorted(ac_dc.updates(100, 1))}
    assert [step for step, part in phases.items() if part == 1] == [*range(10, 71, 10), 85]
    assert [step for step, part in phases.items() if part == 0] == [*range(15, 76, 10)]


def view_of(step, steps, weights, gradients=None, masks=None):
    from sdd_core import MaskView

    masks = {"w": torch.tensor(masks).bool()}
    gradients = {} if gradients is None else {"w": torch.tensor(gradients)}
    return MaskView(
        level=1, step=step, steps=steps, steps_per_epoch=10, weights={"w": torch.tensor(weights)},
        masks=masks, before=masks, gradients=gradients, momenta=dict, exempt=(), seed=0, state={},
        prune=lambda scores: {},
    )


def kept(masks):
    return masks["w"].int().tolist()


def test_levels_that_move_are_not_shared_with_static_ones(tmp_path):
    """The dense level is."""
    static = go(small(), tmp_path)
    moving = go(small(sparse_training="set"), tmp_path)
    assert static.levels[0].key == moving.levels[0].key
    assert {one.key for one in static.levels[1:]}.isdisjoint(one.key for one in moving.levels[1:])
    assert len([*(Store(tmp_path).folder / ".shared" / "levels").iterdir()]) == 5
