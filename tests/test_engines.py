"""The two engines, over whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import go, small

from sdd_core.runs.store import Store
from sdd_core.sparse.costs import default_costs


def levels(settings: dict, folder: Path) -> list:
    """The levels of a run, in order."""
    go(settings, folder)
    store = Store(folder)
    found = [store.load_level(key.name) for key in (folder / ".shared" / "levels").iterdir()]
    return sorted((level for level in found if level), key=lambda level: level.index)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    settings = small(model={"name": "mlp", "widths": [60, 30]}, train={"epochs": 4}, levels=6)
    return {
        engine: levels({**settings, "kernels": engine}, tmp_path_factory.mktemp(engine))
        for engine in ("auto", "none")
    }


def test_kernels_are_part_of_a_levels_record(both, tmp_path):
    assert [level.kernels for level in both["none"]] == [()] * 7
    for level in both["auto"]:
        masks = [level.masks[name].numpy() for name in level.masks]
        assert level.kernels == default_costs().choose(masks)
    assert both["auto"][6].kernels[:2] == ("sparse", "sparse")
    go(small(levels=0, model={"name": "mlp", "widths": [300]}), tmp_path)
    (record,) = (tmp_path / ".shared" / "levels").glob("*/level.json")
    assert json.loads(record.read_text())["kernels"][0] == "dense"


def test_engines_prune_the_same_weights_and_learn_as_much(both):
    for ours, theirs in zip(both["auto"], both["none"], strict=True):
        assert ours.index == theirs.index
        for name, mask in theirs.masks.items():
            # Rounding grows from step to step, so a few weights near the threshold differ.
            kept = int(mask.sum())
            assert int((ours.masks[name] & mask).sum()) >= 0.98 * kept
            assert int(ours.masks[name].sum()) == pytest.approx(kept, rel=0.02)
        accuracies = [level.epochs[-1].test_accuracy for level in (ours, theirs)]
        assert accuracies[0] == pytest.approx(accuracies[1], abs=0.03)
