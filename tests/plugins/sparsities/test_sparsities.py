from __future__ import annotations

import pytest
from support import go, plugins_with, small

from sdd_core import Experiment, SddError, SparsitySchedule
from sdd_plugins.sparsities import Cubic, Geometric, Linear


def test_curves_by_hand():
    assert [Linear(to=0.8, over=4).sparsity(k) for k in (1, 2, 4)] == pytest.approx([0.2, 0.4, 0.8])
    # Two levels that each keep half of what is left.
    assert [Geometric(to=0.75, over=2).sparsity(k) for k in (1, 2)] == pytest.approx([0.5, 0.75])
    # 0.8 (1 - (1 - 1/2)^3)
    assert [Cubic(to=0.8, over=2).sparsity(k) for k in (1, 2)] == pytest.approx([0.7, 0.8])


def test_an_experiment_has_as_many_levels_as_its_curve():
    assert Experiment.make({"pruner": {"name": "imp", "sparsity": "linear"}}).levels == 10
    given = {"name": "cubic", "over": 3}
    assert Experiment.make({"pruner": {"name": "imp", "sparsity": given}}).levels == 3


@pytest.mark.parametrize("name", ["linear", "geometric", "cubic"])
def test_levels_are_pruned_to_the_curve(name, tmp_path):
    pruner = {"name": "imp", "sparsity": {"name": name, "to": 0.9, "over": 3}}
    result = go(small(pruner=pruner, levels=3), tmp_path)
    curve = {"linear": Linear, "geometric": Geometric, "cubic": Cubic}[name](to=0.9, over=3)
    found = [level.sparsity for level in result.levels[1:]]
    # Of some hundred weights a whole number is pruned.
    assert found == pytest.approx([curve.sparsity(k) for k in (1, 2, 3)], abs=0.01)


def test_more_levels_than_the_curve_has_are_refused_before_anything_is_trained(tmp_path):
    pruner = {"name": "imp", "sparsity": {"name": "linear", "over": 2}}
    with pytest.raises(SddError, match="has 2 levels"):
        go(small(pruner=pruner, levels=3), tmp_path)
    assert not list(tmp_path.glob("**/level.json"))


class Faulty(SparsitySchedule):
    """Less and less."""

    name = "faulty"

    def sparsity(self, level):
        return 0.5 - 0.1 * level


def test_a_falling_one_is_named_in_one_line(tmp_path):
    plugins = plugins_with(sdd_sparsities=[Faulty])
    with pytest.raises(SddError, match="sparsity 'faulty'") as caught:
        go(small(pruner={"name": "imp", "sparsity": "faulty"}, levels=2), tmp_path, plugins=plugins)
    assert "\n" not in str(caught.value)
