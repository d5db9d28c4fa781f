"""The learning rates of the dense network, which every schedule builds on."""

import numpy as np
import pytest

from sdd_core import Experiment, SddError, Train
from sdd_core.training import dense_learning_rates


@pytest.mark.parametrize(
    ("options", "steps_per_epoch", "expected"),
    [
        ({"epochs": 2, "lr": 0.4, "milestones": ()}, 3, [0.4] * 6),
        (
            {"epochs": 4, "lr": 1.0, "gamma": 0.5, "milestones": (0.25, 0.5)},
            2,
            [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25],
        ),
        # A milestone within an epoch takes effect there, at the nearest step.
        ({"epochs": 1, "lr": 1.0, "gamma": 0.1, "milestones": (0.5,)}, 5, [1, 1, 0.1, 0.1, 0.1]),
        # So short a training that both fall on one step: the rate drops twice there.
        ({"epochs": 1, "lr": 1.0, "gamma": 0.1, "milestones": (0.5, 0.6)}, 2, [1, 0.01]),
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
        # The milestones are those of the other kind.
        ({"epochs": 2, "lr": 1.0, "decay": "cosine", "milestones": (0.5,)}, 1, [1, 0.5]),
        # Four steps of warm-up: a quarter, a half, three quarters, all; a drop comes after it.
        (
            {"epochs": 3, "lr": 0.8, "warmup_epochs": 2, "milestones": (0.7,), "gamma": 0.5},
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
    settings = {"milestones": (), **options}
    rates = dense_learning_rates(Train(**settings), steps_per_epoch)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


@pytest.mark.parametrize("milestones", [[0.75, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0]])
def test_milestones_that_do_not_grow_within_the_training_are_refused(milestones):
    with pytest.raises(SddError, match=r"milestones"):
        Experiment.make({"train": {"milestones": milestones}})
