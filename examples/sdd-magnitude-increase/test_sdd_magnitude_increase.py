"""Tests of the pruner and the metric, without a run where a hand-made level suffices."""

from types import SimpleNamespace
from typing import Any

import torch

from sdd_core import run
from sdd_core.testing import check_metric, check_pruner
from sdd_magnitude_increase import MagnitudeIncrease, SignChanges

LEVEL: Any = SimpleNamespace(
    prunable=["fc.weight"],
    initial={"fc.weight": torch.tensor([[1.0, -2.0, 0.5, 3.0]])},
    weights={"fc.weight": torch.tensor([[1.5, 2.5, -0.25, 0.0]])},
    masks={"fc.weight": torch.tensor([[True, True, True, False]])},
)


def test_scores_are_how_much_magnitudes_grew():
    scores = MagnitudeIncrease().scores(LEVEL)
    assert scores["fc.weight"].tolist() == [[0.5, 0.5, -0.25, -3.0]]


def test_signs_of_pruned_weights_do_not_count():
    assert SignChanges().measure(LEVEL) == {"sign_changes": 2 / 3}
    nothing: Any = SimpleNamespace(masks={}, weights={}, initial={})
    assert SignChanges().measure(nothing) == {"sign_changes": None}


def test_both_keep_the_contract():
    check_pruner(MagnitudeIncrease)
    check_metric(SignChanges)


def test_both_in_a_run(tmp_path):
    experiment = {
        "pruner": "magnitude-increase",
        "metrics": ["sign_changes"],
        "levels": 1,
        "train": {"epochs": 1},
    }
    result = run(experiment, store=tmp_path)
    assert result.sparsity == [0.0, 0.2]
    # The first level starts from the initialisation and trains one epoch: some signs change.
    assert all(0 < changed < 0.5 for changed in result.curve("sign_changes"))
