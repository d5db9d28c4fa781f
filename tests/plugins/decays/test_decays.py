from __future__ import annotations

import math

import numpy as np
import pytest
from support import go, plugins_with, small

from sdd_core import Experiment, LearningRateSchedule, SddError
from sdd_core.training.learning_rates import dense_learning_rates
from sdd_plugins.decays import Cosine, Steps


def test_steps_drop_after_the_milestones():
    assert Steps(milestones=[0.5, 0.75], gamma=0.1).factors(4) == pytest.approx([1, 1, 0.1, 0.01])


def test_a_half_cosine_falls_from_1_towards_0():
    expected = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert Cosine().factors(4) == pytest.approx(expected)


class Linear(LearningRateSchedule):
    """The rate falls evenly to 0."""

    name = "linear"

    def factors(self, steps):
        return 1 - np.arange(steps) / steps


def test_one_of_a_third_party_sets_the_rates(tmp_path):
    plugins = plugins_with(sdd_decays=[Linear])
    settings = small(train={"epochs": 2, "lr": 0.2, "decay": "linear"}, levels=0)
    experiment = Experiment.make(settings, plugins)
    assert dense_learning_rates(experiment.train, 2) == pytest.approx([0.2, 0.15, 0.1, 0.05])
    result = go(settings, tmp_path, plugins=plugins)
    assert 'decay = "linear"' in (result.folder / "experiment.toml").read_text()


class Faulty(LearningRateSchedule):
    """Says what it was told to."""

    name = "faulty"
    answer: str

    def factors(self, steps):
        return {
            "short": np.ones(steps - 1),
            "negative": -np.ones(steps),
            "nan": np.full(steps, np.nan),
            "text": "fast",
        }[self.answer]


@pytest.mark.parametrize("answer", ["short", "negative", "nan", "text"])
def test_a_wrong_one_is_named_in_one_line(answer, tmp_path):
    plugins = plugins_with(sdd_decays=[Faulty])
    settings = small(train={"epochs": 1, "decay": {"name": "faulty", "answer": answer}}, levels=0)
    with pytest.raises(SddError, match="decay 'faulty'") as caught:
        go(settings, tmp_path, plugins=plugins)
    assert "\n" not in str(caught.value)
