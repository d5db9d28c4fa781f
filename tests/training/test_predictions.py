"""Metrics take a level's logits from the kernels that trained it, and from the trainer itself."""

import pytest
from support import go, small

from sdd_core.training.select import TrainerFactory

METRICS = ["memorisation", "calibration"]
CASES = {
    "a perceptron": {},
    "masks that move": {"sparse_training": {"name": "set", "every": 3}, "train": {"epochs": 3}},
    "an ablation": {"ablation": "reinit"},
}


@pytest.mark.parametrize("case", CASES)
def test_a_trainer_predicts_what_the_stored_level_predicts_bit_for_bit(
    tmp_path, monkeypatch, case
):
    settings = small(**{"metrics": METRICS, **CASES[case]})
    loaded = []
    logits = TrainerFactory.logits
    monkeypatch.setattr(TrainerFactory, "logits",
                        lambda *given: (loaded.append(given), logits(*given))[1])
    first = go(settings, tmp_path)
    assert loaded == []  # no network was built and loaded again to predict
    (first.folder / "metrics.jsonl").unlink()
    for file in (tmp_path / ".shared" / "metrics").iterdir():
        file.unlink()
    again = go(settings, tmp_path)
    assert loaded  # the levels that kernels trained
    assert again.levels == first.levels
