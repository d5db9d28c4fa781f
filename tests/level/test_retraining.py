"""The learning rates of the dense network, and what a schedule may make of them."""

import numpy as np
import pytest

from sdd_core import Dense, Experiment, Retraining, SddError, Train
from sdd_core.training.learning_rates import dense_learning_rates


def steps(*milestones, gamma=0.1):
    return {"name": "steps", "milestones": milestones, "gamma": gamma}


@pytest.mark.parametrize(
    ("options", "steps_per_epoch", "expected"),
    [
        ({"epochs": 2, "lr": 0.4, "decay": steps()}, 3, [0.4] * 6),
        (
            {"epochs": 4, "lr": 1.0, "decay": steps(0.25, 0.5, gamma=0.5)},
            2,
            [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25],
        ),
        # A milestone within an epoch takes effect there, at the nearest step.
        ({"epochs": 1, "lr": 1.0, "decay": steps(0.5)}, 5, [1, 1, 0.1, 0.1, 0.1]),
        # So short a training that both fall on one step: the rate drops twice there.
        ({"epochs": 1, "lr": 1.0, "decay": steps(0.5, 0.6)}, 2, [1, 0.01]),
    ],
)
def test_the_rate_drops_at_each_milestone(options, steps_per_epoch, expected):
    rates = dense_learning_rates(Train(**options), steps_per_epoch)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "steps_per_epoch", "expected"),
    [
        # (1 + cos(pi t / 4)) / 2 at t = 0, 1, 2, 3
        ({"epochs": 2, "lr": 2.0, "decay": "cosine"}, 2, [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5]),
        # Four steps of warm-up: a quarter, a half, three quarters, all; a drop comes after it.
        (
            {"epochs": 3, "lr": 0.8, "warmup_epochs": 2, "decay": steps(0.7, gamma=0.5)},
            2,
            [0.2, 0.4, 0.6, 0.8, 0.4, 0.4],
        ),
        # One and a half epochs of two steps; the cosine goes on under it.
        (
            {"epochs": 2, "lr": 3.0, "decay": "cosine", "warmup_epochs": 1.5},
            2,
            [1, (2 + 2**0.5) / 2, 1.5, 3 * (2 - 2**0.5) / 4],
        ),
    ],
)
def test_cosine_and_warm_up(options, steps_per_epoch, expected):
    rates = dense_learning_rates(Train(**options), steps_per_epoch)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


@pytest.mark.parametrize("milestones", [[0.75, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0]])
def test_milestones_that_do_not_grow_within_the_training_are_refused(milestones):
    with pytest.raises(SddError, match=r"milestones"):
        Experiment.make({"train": {"decay": {"milestones": milestones}}})


DENSE = Dense(np.full(6, 0.1), steps_per_epoch=3)


@pytest.mark.parametrize(
    "retraining",
    [
        Retraining("previous", np.array([0.0])),
        Retraining("rewind point", np.full(4, 0.1), first_step=2),
        Retraining("fresh", np.full(9, 0.1), masked_steps=9),
        Retraining("initialisation", np.full(6, 1), first_step=6, masked_steps=0),
    ],
)
def test_what_can_be_trained_is_itself_in_double_precision(retraining):
    checked = retraining.check("mine", DENSE)
    assert checked.learning_rates.dtype == np.float64
    assert checked.learning_rates.tolist() == retraining.learning_rates.tolist()
    for field in ("start", "first_step", "masked_steps"):
        assert getattr(checked, field) == getattr(retraining, field)


@pytest.mark.parametrize(
    ("retraining", "message"),
    [
        (Retraining("previous", np.array([])), "leaves no step to train; the dense network trains"),
        (Retraining("previous", np.ones((2, 2))), "leaves no step to train"),
        (Retraining("previous", np.array([0.1, -0.1])), "a learning rate that is not between 0"),
        (Retraining("previous", np.array([0.1, np.nan])), "a learning rate that is not between 0"),
        (Retraining("previous", np.array([np.inf])), "a learning rate that is not between 0"),
        (Retraining("end", np.ones(2)), "starts from 'end'; expected one of 'initialisation', "),
        (Retraining("fresh", np.ones(2), first_step=7), "starts at step 7; .* steps 0 to 6"),
        (Retraining("fresh", np.ones(2), first_step=-1), "starts at step -1"),
        (Retraining("fresh", np.ones(2), masked_steps=3), "masks 3 of 2 steps"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_the_schedules_name(retraining, message):
    with pytest.raises(SddError, match=f"retraining schedule 'mine' .*{message}"):
        retraining.check("mine", DENSE)
