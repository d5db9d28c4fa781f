"""Each schedule's retraining, its learning rates worked out by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from sdd_core import Dense, SddError, Train
from sdd_core.training.learning_rates import dense_learning_rates
from sdd_plugins.schedules.finetune import Finetune
from sdd_plugins.schedules.lr_rewind import LrRewind
from sdd_plugins.schedules.rewind import Rewind
from sdd_plugins.schedules.scratch import Scratch

# Four epochs of two steps; the learning rate falls after half and after three quarters of them.
DENSE = Dense(np.array([0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]), steps_per_epoch=2)


def test_the_dense_schedule_that_the_others_build_on():
    train = Train(epochs=4, lr=0.1, decay={"milestones": (0.5, 0.75)})
    np.testing.assert_allclose(dense_learning_rates(train, 2), DENSE.learning_rates, rtol=1e-12)


def test_finetune_goes_on_with_a_small_constant_rate_as_long_as_the_dense_network_trained():
    found = Finetune().retraining(DENSE)
    assert (found.start, found.first_step) == ("previous", 0)
    assert found.learning_rates.tolist() == [0.001] * 8


def test_finetune_for_some_epochs():
    found = Finetune(lr=0.02, epochs=3).retraining(DENSE)
    assert found.learning_rates.tolist() == [0.02] * 6


def test_lr_rewind_goes_on_with_the_whole_schedule():
    found = LrRewind().retraining(DENSE)
    assert (found.start, found.first_step) == ("previous", 0)
    assert found.learning_rates.tolist() == DENSE.learning_rates.tolist()


def test_scratch_starts_afresh_with_the_whole_schedule():
    found = Scratch().retraining(DENSE)
    assert (found.start, found.first_step) == ("fresh", 0)
    assert found.learning_rates.tolist() == DENSE.learning_rates.tolist()


@pytest.mark.parametrize(
    ("options", "step", "rates"),
    [
        ({}, 0, [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]),
        ({"to": 3}, 3, [0.1, 0.01, 0.01, 0.001, 0.001]),
        ({"to": 7}, 7, [0.001]),
        ({"to": 3, "unit": "epoch"}, 6, [0.001, 0.001]),
        ({"to": 2, "unit": "epoch"}, 4, [0.01, 0.01, 0.001, 0.001]),
    ],
)
def test_rewind_repeats_the_dense_training_from_a_step_on(options, step, rates):
    found = Rewind(**options).retraining(DENSE)
    assert (found.start, found.first_step) == ("rewind point", step)
    assert found.learning_rates.tolist() == rates


@pytest.mark.parametrize("options", [{"to": 8}, {"to": 4, "unit": "epoch"}, {"to": 99}])
def test_rewind_to_the_end_or_beyond_is_refused(options):
    with pytest.raises(SddError, match=r"retrain.to: cannot rewind to step \d+, the dense network "
                                       "trains only 8 steps; choose an earlier one"):
        Rewind(**options).retraining(DENSE)


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (Finetune, {"lr": 0}),
        (Finetune, {"lr": float("nan")}),
        (Finetune, {"epochs": -1}),
        (Rewind, {"to": -1}),
        (Rewind, {"unit": "steps"}),
        (Scratch, {"lr": 0.1}),
    ],
)
def test_impossible_options_are_refused(schedule, options):
    with pytest.raises(ValidationError):
        schedule(**options)
