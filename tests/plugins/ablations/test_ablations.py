"""What an ablation changes about a level, and that it leaves the levels themselves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import Log, contents, go, plugins_with, small
from torch import nn

from sdd_core import Ablation, Dense, Metric, Retraining, Schedule, SddError
from sdd_core.runs.store import Store
from sdd_plugins.ablations.extended import Extended
from sdd_plugins.ablations.re_dense import ReDense
from sdd_plugins.ablations.reinit import Reinit
from sdd_plugins.ablations.shuffle import Shuffle

ABLATIONS = ["reinit", "shuffle", "re-dense", "extended"]
NAME = "hidden1.weight"


class Weights(Metric):
    """A fingerprint of the network that is measured."""

    name = "weights"

    def measure(self, level):
        return {"fingerprint": sum(w.double().abs().sum().item() for w in level.weights.values())}


def fingerprint(level) -> float:
    return sum(level.state[name].double().abs().sum().item() for name in level.state)


# On runs


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_levels_go_on_as_without_it_and_are_shared(tmp_path, ablation):
    plain = go(small(), tmp_path)
    before = contents(tmp_path / ".shared" / "levels")
    log = Log()
    changed = go(small(ablation=ablation), tmp_path, observers=[log])
    assert log.levels == [1, 2]  # trained once more each, changed; the dense one is as it was
    after = contents(tmp_path / ".shared" / "levels")
    assert {path: after[path] for path in before} == before
    keys = [level.key for level in changed.levels]
    assert keys[0] == plain.levels[0].key
    assert not set(keys[1:]) & {level.key for level in plain.levels}
    again = Log()
    go(small(ablation=ablation), tmp_path, observers=[again])
    assert again.levels == []


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_it_is_the_changed_network_that_is_measured(tmp_path, ablation):
    plugins = plugins_with(sdd_metrics=[Weights])
    settings = small(ablation=ablation, metrics=["weights", "accuracy"])
    result = go(settings, tmp_path, plugins=plugins)
    for row in result.levels:
        kept = Store(tmp_path).load_level(row.key)
        assert kept is not None
        assert kept.index == row.level
        assert row.metrics["fingerprint"] == pytest.approx(fingerprint(kept), rel=1e-9)
        assert row.metrics["test_accuracy"] == kept.epochs[-1].test_accuracy


def levels(settings, store, **options):
    return [Store(store).load_level(level.key) for level in go(settings, store, **options).levels]


def test_reinit_trains_the_tickets_mask_from_other_weights(tmp_path):
    plain = levels(small(), tmp_path)
    changed = levels(small(ablation="reinit"), tmp_path)
    for one, other in zip(plain, changed, strict=True):
        assert torch.equal(one.masks[NAME], other.masks[NAME])
    assert torch.equal(plain[0].state[NAME], changed[0].state[NAME])
    # A run that trains every level from scratch starts level 1 from the same fresh weights, under
    # the same mask.
    scratch = levels(small(retrain="scratch"), tmp_path)
    assert torch.equal(scratch[1].state[NAME], changed[1].state[NAME])
    assert not torch.equal(scratch[2].masks[NAME], changed[2].masks[NAME])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_shuffled_masks_keep_their_counts_in_a_run(tmp_path, scope):
    model = {"name": "mlp", "widths": [16, 12]}
    plain = levels(small(model=model), tmp_path)
    changed = levels(small(model=model, ablation={"name": "shuffle", "scope": scope}), tmp_path)
    for one, other in zip(plain[1:], changed[1:], strict=True):
        counts, shuffled = ({n: int(m.sum()) for n, m in x.masks.items()} for x in (one, other))
        assert sum(counts.values()) == sum(shuffled.values())
        assert (counts == shuffled) == (scope == "layer")
        assert shuffled["output.weight"] == 120  # it is exempt
        assert not torch.equal(one.masks[NAME], other.masks[NAME])
        assert not other.state[NAME][~other.masks[NAME]].any()


def test_re_dense_ends_with_all_weights_and_the_store_keeps_them(tmp_path):
    ablation = {"name": "re-dense", "masked_epochs": 1, "epochs": 2, "lr": "dense"}
    plain = levels(small(), tmp_path)
    changed = levels(small(ablation=ablation), tmp_path)
    weights = plain[0].state[NAME].numel()
    for one, other in zip(plain[1:], changed[1:], strict=True):
        assert torch.equal(one.masks[NAME], other.masks[NAME])
        gone = ~other.masks[NAME]
        # Pixels that are always black have weights without a gradient, which stay at zero.
        assert 0.7 * int(gone.sum()) < int(other.state[NAME][gone].count_nonzero()) < weights
        assert [epoch.number for epoch in other.epochs] == [1, 2, 3]


def test_re_dense_goes_on_from_the_level_itself(tmp_path):
    """With next to no learning rate it stays where the sparse training ended, in every weight."""
    plain = levels(small(), tmp_path)
    changed = levels(small(ablation={"name": "re-dense", "lr": 1e-12}), tmp_path)
    for one, other in zip(plain[1:], changed[1:], strict=True):
        assert [epoch.number for epoch in other.epochs] == [4, 5, 6]
        for name, weight in one.state.items():
            torch.testing.assert_close(other.state[name], weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lr", ["last", "dense"])
def test_re_dense_has_the_learning_rates_that_were_asked_for(tmp_path, lr):
    train = {**small()["train"], "epochs": 4}
    plain = levels(small(train=train), tmp_path)
    changed = levels(small(train=train, ablation={"name": "re-dense", "lr": lr}), tmp_path)
    usual = [epoch.learning_rate for epoch in plain[0].epochs]
    assert usual[0] > usual[-1]
    expected = usual if lr == "dense" else [usual[-1]] * 4
    assert [epoch.learning_rate for epoch in changed[2].epochs] == expected


def test_re_dense_begins_as_the_level_does_where_the_sparse_part_is_trained_again(tmp_path):
    plain = levels(small(), tmp_path)
    changed = levels(small(ablation={"name": "re-dense", "masked_epochs": 3}), tmp_path)
    # But for the last bits, for the level itself was trained by sparse kernels.
    for one, other in zip(plain[1:], changed[1:], strict=True):
        assert len(other.epochs) == 6
        for a, b in zip(one.epochs, other.epochs, strict=False):
            assert a.test_loss == pytest.approx(b.test_loss, rel=1e-3)


def test_only_an_ablation_has_a_trained_level_to_start_from(tmp_path):
    class Again(Schedule):
        """Starts where it ends."""

        name = "again"

        def retraining(self, dense):
            return Retraining("level", dense.learning_rates)

    plugins = plugins_with(sdd_schedules=[Again])
    with pytest.raises(SddError, match="'again' starts from 'level'; expected one of 'init") as it:
        go(small(retrain="again"), tmp_path, plugins=plugins)
    assert "'fresh'" in str(it.value)
    assert str(it.value).count("'level'") == 1


def test_extended_training_prunes_nothing_and_stands_at_the_levels_sparsity(tmp_path):
    plain = go(small(), tmp_path)
    changed = go(small(ablation="extended", metrics=["weights", "sparsity"]), tmp_path,
                 plugins=plugins_with(sdd_metrics=[Weights]))
    assert [one.sparsity for one in changed.levels] == [one.sparsity for one in plain.levels]
    assert [one.density for one in changed.levels] == [one.density for one in plain.levels]
    for row in changed.levels[1:]:
        level = Store(tmp_path).load_level(row.key)
        assert level is not None
        assert all(bool(mask.all()) for mask in level.masks.values())
        # The dense network's three epochs, and three for each level.
        assert [epoch.number for epoch in level.epochs] == list(range(1, 4 + 3 * row.level))


class Wrong(Ablation):
    """Returns what is no masks."""

    name = "wrong"

    def masks(self, level):
        return {name: mask.float() for name, mask in level.masks.items()}


def test_masks_that_are_none_are_refused_in_one_line(tmp_path):
    plugins = plugins_with(sdd_ablations=[Wrong])
    with pytest.raises(SddError, match=r"ablation 'wrong' did not return a bool mask") as error:
        go(small(ablation="wrong"), tmp_path, plugins=plugins)
    assert "\n" not in str(error.value)


# The retraining, by hand


DENSE = Dense(np.array([0.4, 0.4, 0.2, 0.1]), 2)
SPARSE = Retraining("rewind point", np.array([0.3, 0.2, 0.1]), first_step=1)


def test_reinit_has_the_full_schedule_from_fresh_weights():
    found = Reinit().retraining(DENSE, SPARSE, 2)
    assert found.start == "fresh"
    assert found.first_step == 0
    np.testing.assert_array_equal(found.learning_rates, [0.4, 0.4, 0.2, 0.1])


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        # The paper's rule: the last rate of the sparse training, constant, for as long again.
        ({}, [0.1, 0.1, 0.1, 0.1]),
        ({"epochs": 1}, [0.1, 0.1]),
        ({"epochs": 1, "lr": 0.05}, [0.05, 0.05]),
        # Of another length: the schedule is stretched.
        ({"lr": "dense"}, [0.4, 0.4, 0.2, 0.1]),
        ({"lr": "dense", "epochs": 4}, [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]),
        ({"lr": "dense", "epochs": 1}, [0.4, 0.2]),
    ],
)
@pytest.mark.parametrize(
    ("masked_epochs", "sparse"),
    [(None, []), (0, []), (1, [0.3, 0.2]), (9, [0.3, 0.2, 0.1])],
)
def test_re_dense_goes_on_with_all_weights(options, rates, masked_epochs, sparse):
    found = ReDense(masked_epochs=masked_epochs, **options).retraining(DENSE, SPARSE, 2)
    np.testing.assert_array_equal(found.learning_rates, [*sparse, *rates])
    assert found.masked_steps == len(sparse)
    start = ("level", 4) if masked_epochs is None else ("rewind point", 1)
    assert (found.start, found.first_step) == start


def test_re_dense_of_a_schedule_longer_than_the_dense_training_is_possible():
    longer = Retraining("previous", np.full(9, 0.01))
    found = ReDense().retraining(DENSE, longer, 1).check("re-dense", DENSE, of_ablation=True)
    np.testing.assert_array_equal(found.learning_rates, np.full(4, 0.01))


@pytest.mark.parametrize("level", [1, 3])
def test_extended_training_is_the_dense_schedule_and_one_more_for_each_level(level):
    found = Extended().retraining(DENSE, SPARSE, level)
    np.testing.assert_array_equal(
        found.learning_rates, [0.4, 0.4, 0.2, 0.1] + [0.3, 0.2, 0.1] * level
    )
    assert (found.start, found.first_step, found.masked_steps) == ("initialisation", 0, None)


def test_shuffle_leaves_the_retraining_alone():
    assert Shuffle().retraining(DENSE, SPARSE, 2) is SPARSE


# The masks, on a level made by hand


def two_layers(make_view, **options):
    network = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20), nn.Linear(20, 2))
    draw = torch.Generator().manual_seed(1)
    masks = {
        "0.weight": torch.rand(30, 40, generator=draw) < 0.7,
        "1.weight": torch.rand(20, 30, generator=draw) < 0.1,
    }
    return make_view(network, masks=masks, exempt=("2.weight",), **options), masks


def test_shuffling_within_layers_keeps_each_layers_count(make_view):
    view, masks = two_layers(make_view)
    found = Shuffle().masks(view)
    for name, mask in masks.items():
        assert found[name].sum() == mask.sum()
        assert not torch.equal(found[name], mask)
    assert found["2.weight"].all()


def test_shuffling_over_all_layers_spreads_them_evenly(make_view):
    view, masks = two_layers(make_view)
    found = Shuffle(scope="global").masks(view)
    total = sum(int(mask.sum()) for mask in masks.values())
    assert sum(int(found[name].sum()) for name in masks) == total
    for name in masks:
        # Either layer has the density of both, within five standard deviations.
        density = total / 1800
        spread = 5 * (density * (1 - density) / masks[name].numel()) ** 0.5
        assert float(found[name].double().mean()) == pytest.approx(density, abs=spread)
    assert found["2.weight"].all()


def test_places_depend_on_the_seed_and_the_level_alone(make_view):
    def places(**options):
        return Shuffle().masks(two_layers(make_view, **options)[0])["0.weight"]

    assert torch.equal(places(), places())
    assert not torch.equal(places(), places(seed=1))
    assert not torch.equal(places(), places(level=2))
