import math

import numpy as np
import pytest
from results import made

from sdd_core import SddError
from sdd_core.analysis.groups import group, place

NAN = math.nan


def test_runs_that_differ_in_nothing_but_the_seed_are_one_group():
    runs = [
        made([0.5, 0.6, 0.1], settings={"seed": 1}),
        made([0.7, 0.8, 0.3], settings={"seed": 0}),
        made([0.9, 0.9, 0.9], settings={"pruner": "random"}),
        made([0.9, NAN, 0.2], settings={"seed": 2}),
    ]
    first, second = group(runs)
    assert (first.label, second.label) == ("pruner imp", "pruner random")
    assert first.seeds == (0, 1, 2)
    assert second.results == (runs[2],)
    found = first.statistics("test_accuracy")
    assert found.mean == pytest.approx((0.7, 0.7, 0.2))
    # deviations of 0.5 0.7 0.9, of 0.6 0.8, and of 0.1 0.2 0.3
    assert found.deviation == pytest.approx((0.2, math.sqrt(0.02), 0.1))
    assert found.error == pytest.approx((0.2 / math.sqrt(3), 0.1, 0.1 / math.sqrt(3)))
    assert found.count == (3, 2, 3)
    assert found.diverged == (0, 1, 0)


def test_a_level_that_diverged_counts_for_no_metric():
    runs = [made([0.9, NAN], settings={"seed": s}, learning_distance=[1.0, s]) for s in (1, 2)]
    found = group(runs)[0].statistics("learning_distance")
    assert found.mean[0] == 1.0
    assert math.isnan(found.mean[1])
    assert math.isnan(found.deviation[1])
    assert (found.count, found.diverged) == ((2, 0), (0, 2))


def test_one_seed_has_no_deviation():
    found = group([made([0.9, 0.8])])[0].statistics("test_accuracy")
    assert found.mean == (0.9, 0.8)
    assert all(math.isnan(value) for value in (*found.deviation, *found.error))


def test_more_levels_and_other_metrics_are_no_difference():
    runs = [made([0.9] * 9 + [0.8, 0.7]),
            made([0.7] * 9, settings={"seed": 1, "metrics": []})]
    (both,) = group(runs)
    assert both.statistics("test_accuracy").mean == pytest.approx((*[0.8] * 9, 0.8, 0.7))
    assert both.statistics("test_accuracy").count == (*[2] * 9, 1, 1)
    # Where seeds are missing, a step of the mean would look like a phase.
    assert both.phases.named() == {"light": (0, 8)}


def test_values_are_those_of_seeds_that_have_them():
    runs = [made([0.9, 0.8]), made([0.7], settings={"seed": 1}),
            made([math.nan, 0.6], settings={"seed": 2})]
    values = group(runs)[0].values("test_accuracy")
    assert np.isnan(values).tolist() == [[False, False], [False, True], [True, False]]
    assert values[0].tolist() == [0.9, 0.8]


def test_equal_sparsities_stay_what_they_are():
    runs = [made([0.9, 0.8], settings={"seed": seed}, sparsity=[0.0, 0.9962221068137043])
            for seed in range(3)]
    assert group(runs)[0].sparsity[1] == 0.9962221068137043


def test_a_run_that_comes_twice_counts_once_with_the_most_levels():
    (one,) = group([made([0.9]), made([0.9, 0.8]), made([0.9])])
    assert one.statistics("test_accuracy").count == (1, 1)


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ([{}], ["digits, noise symmetric 0.4, mlp, imp, rewind"]),
        ([{"noise": "none"}], ["digits, noise none, mlp, imp, rewind"]),
        ([{"noise": {"rate": 0.2}}, {"noise": {"rate": 0.4}}], ["noise 0.2", "noise 0.4"]),
        ([{"noise": "none"}, {"noise": {"rate": 0.4}}], ["noise 0", "noise 0.4"]),
        ([{"noise": "pair-flip"}, {}], ["noise pair-flip", "noise symmetric"]),
        ([{"train": {"lr": 0.1}}, {"train": {"lr": 0.01}}], ["lr 0.1", "lr 0.01"]),
        ([{"model": {"widths": [300, 100]}}, {"model": {"widths": [8]}}],
         ["model.widths 300,100", "model.widths 8"]),
        # options that only one of the plugins has say nothing beside its name
        ([{"retrain": "rewind"}, {"retrain": "scratch"}], ["retrain rewind", "retrain scratch"]),
        ([{"retrain": {"to": 0}}, {"retrain": {"to": 9}}, {"retrain": "scratch"}],
         ["retrain rewind, retrain.to 0", "retrain rewind, retrain.to 9", "retrain scratch"]),
        ([{"pruner": "imp", "noise": {"rate": 0.2}}, {"pruner": "random", "noise": {"rate": 0.2}},
          {"pruner": "imp"}],
         ["noise 0.2, pruner imp", "noise 0.2, pruner random", "noise 0.4, pruner imp"]),
        # nor do options that have the default of each, although the defaults differ
        ([{"sparse_training": "set"}, {"sparse_training": "rigl"}, {}],
         ["sparse_training set", "sparse_training rigl", "sparse_training none"]),
        ([{"sparse_training": "set"}, {"sparse_training": {"name": "rigl", "every": 7}}],
         ["sparse_training set, sparse_training.every none",
          "sparse_training rigl, sparse_training.every 7"]),
    ],
)
def test_a_label_says_in_what_groups_differ(settings, labels):
    assert [one.label for one in group(made([0.9], settings=each) for each in settings)] == labels


def test_a_run_without_a_level_is_refused():
    with pytest.raises(SddError, match="run by-hand has no finished level yet"):
        group([made([])])


def test_a_layer_is_a_metric_too():
    runs = [made([0.9, 0.9], settings={"seed": seed}) for seed in (0, 1)]
    found = group(runs)[0].statistics("sparsity_by_layer/hidden.weight")
    assert found.mean == pytest.approx((0.0, 0.2))


def test_equal_fractions_of_the_remaining_weights_are_equal_steps():
    assert place(0.0) == 0.0
    assert place(1 - 0.8**7) == pytest.approx(-7 * math.log(0.8))
    assert place(1.0) == pytest.approx(5 * math.log(10))
