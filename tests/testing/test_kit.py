"""The kit finds the fault in each faulty plugin, and none in good ones."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from sdd_core import testing
from sdd_core.plugin.base import noun
from sdd_core.testing import Fault, check, check_observer, check_pruner, fixtures

from . import faulty

FAULTS = {
    faulty.ScoresExempt: "scored an unknown layer '6.weight'",
    faulty.Exits: "scores() raised SystemExit: 0",
    faulty.GlobalDraws: "changes torch's random state",
    faulty.InPlace: "changes level.weights",
    faulty.EmptyLayers: "scores() raised RuntimeError: min()",
    faulty.FlatScores: "have shape [27]; expected [3, 1, 3, 3]",
    faulty.ObservesItself: "something else after a checkpoint",
    faulty.ObservesInItsModule: "something else after a checkpoint",
    faulty.ObservesFraction: "with another pruner.fraction",
    faulty.ObservesNumbers: "observe() leaves 'steps' of type int",
    faulty.Remembers: "gives another result the second time",
    faulty.Tires: "makes a resumed run differ from an uninterrupted one",
    faulty.NoSteps: "starts from 'beginning'",
    faulty.ShorterEachLevel: "leaves no step to train",
    faulty.WritesRates: "changes dense.learning_rates",
    faulty.NotANumber: "not finite, on a level without any weight",
    faulty.Sorts: "changes level.data.train.labels",
    faulty.Gappy: "gives 'share' only on a level with half of the weights",
    faulty.Pickled: "reads a pickle",
    faulty.CorruptsTruth: "changes the true labels",
    faulty.AtLeastOne: "changes labels at rate 0",
    faulty.OneTooMany: "gives labels from 0 to 4; with 4 classes",
    faulty.OwnDice: "changes numpy's random state",
    faulty.Shuffled: "loads other data the second time",
    faulty.DoubleImages: "train images are torch.float64",
    faulty.NumpyWeights: "has other weights with the same seed of torch",
    faulty.WrongClasses: "gives [1, 11] for 1 examples",
    faulty.ExemptsNothing: "'classifier' matches no layer",
    faulty.Sums: "take the mean over examples",
    faulty.Overflows: "for finite logits",
    faulty.PrunesExempt: "changes the exempt layer '6.weight'",
    faulty.LongerThanAsked: "masks 280 of 279 steps",
    faulty.Undocumented: "option 'batches' has no description",
    faulty.BadDefault: "option 'batches' has the default 0",
    faulty.Boundless: "option 'batches' accepts every number",
    faulty.Infinite: "option 'temperature' accepts inf",
    faulty.Untyped: "has an option that no experiment file can hold",
    faulty.Unset: "option 'rounds' = None comes back from TOML as 5",
    faulty.Spaced: "without spaces",
    faulty.Wordless: "has no docstring",
    faulty.Ignores: "ignores unknown options",
}


@pytest.fixture(autouse=True)
def fresh():
    """Faulty plugins that remember have forgotten."""
    faulty.Remembers.seen.clear()
    faulty.Tires.asked.clear()


@pytest.mark.parametrize(("plugin", "what"), FAULTS.items(), ids=lambda v: getattr(v, "name", ""))
def test_the_fault_is_found_and_named_in_one_line(plugin, what):
    with pytest.raises(Fault) as caught:
        check(plugin)
    said = str(caught.value)
    assert what in said
    assert "\n" not in said
    assert said.startswith(f"{noun(plugin)} '{plugin.name}")
    assert isinstance(caught.value, AssertionError)


GOOD = [fixtures.TinyData, fixtures.TinyNoise, fixtures.TinyNetwork, fixtures.TinyPruner,
        fixtures.TinySchedule, faulty.GoodScores]  # fmt: skip


@pytest.mark.parametrize("plugin", GOOD)
def test_a_plugin_without_fault_passes_as_class_and_as_instance(plugin):
    where = {"input_shape": (1, 6, 6)} if plugin is fixtures.TinyNetwork else {}
    check(plugin, **where)
    check(plugin(), **where)


class HalfPrecision(faulty.GoodScores):
    """Scores in half and in double precision, at once."""

    def scores(self, level):
        types = (torch.float16, torch.float64, torch.bfloat16)
        names = level.prunable
        return {n: level.weights[n].abs().to(types[i % 3]) for i, n in enumerate(names)}


def test_scores_may_have_half_or_double_precision():
    check_pruner(HalfPrecision)


def test_the_kit_leaves_global_generators_as_they_were():
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    check_pruner(faulty.GoodScores)
    with pytest.raises(Fault):
        check_pruner(faulty.GlobalDraws)
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())


@pytest.mark.parametrize("thing", [dict, 3, fixtures.TinyNoise])
def test_what_is_no_pruner_is_no_pruner(thing):
    with pytest.raises(Fault, match=r"is not a subclass of sdd_core\.Pruner"):
        check_pruner(thing)


def test_a_class_that_needs_options_asks_for_an_instance():
    class Needy(faulty.GoodScores):
        """Needs to be told something."""

        file: str = faulty.Field(description="a file")

    with pytest.raises(Fault, match=r"give the check an instance, Needy\(file=\.\.\.\)"):
        check_pruner(Needy)
    check_pruner(Needy(file="x"))


def test_observers():
    with pytest.raises(Fault, match=r"sdd_level_end\(\) raised ValueError: level 0 is not to my"):
        check_observer(faulty.Grumbles())
    with pytest.raises(Fault, match="sdd_level_ends"):
        check_observer(faulty.Misspelt())
    with pytest.raises(Fault, match="has no hook of sdd's"):
        check_observer(faulty)

    class Quiet:
        @faulty.hookimpl
        def sdd_run_end(self, result):
            assert len(result.levels) == 3

    check_observer(Quiet())


def test_every_kind_has_its_own_function():
    from sdd_core.plugin.kinds import KINDS

    assert {f"check_{kind.replace('-', '_')}" for kind in KINDS} <= set(testing.__all__)


@pytest.mark.slow
def test_the_kit_needs_no_test_runner():
    code = ("import sys, sdd_core.testing\n"
            "assert not {'pytest', '_pytest', 'hypothesis'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)
