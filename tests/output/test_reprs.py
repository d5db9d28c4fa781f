"""What Python shows of values: a few lines, however much is in them; and what names there are."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from results import made
from torch import nn

import sdd_core
from sdd_core import SddError, load_plugins
from sdd_core.analysis.groups import Statistics
from sdd_core.analysis.prediction import DistanceCheck, Prediction
from sdd_core.data.dataset import Augmentation, Dataset
from sdd_core.data.split import Split
from sdd_core.layerwise.sensitivity import Cell
from sdd_core.level.level import Level
from sdd_core.output.brief import brief
from sdd_core.reproduce.recipes import read_recipes
from sdd_core.runs.run_folder import RunFolder
from sdd_core.sweeps import SweepError, expand
from sdd_core.sweeps.plan import Plan

LINES, CHARACTERS = 4, 800
"""The most that is shown of a value."""

MANY = 200
CURVE = [0.7 + 0.1 * np.sin(level / 9) for level in range(MANY)]
RESULTS = [
    made(CURVE, settings={"seed": seed, "noise": {"rate": rate}}, epochs=60,
         train_accuracy=CURVE, learning_distance=CURVE,
         sparsity=[1 - 0.97**level for level in range(MANY)])
    for rate in (0.2, 0.4) for seed in range(5)
]
GROUPS = sdd_core.group(RESULTS)
SPLIT = Split(torch.zeros(5000, 3, 8, 8), torch.zeros(5000).long(), torch.arange(5000))
DATA = Dataset("x" * 500, SPLIT, SPLIT, num_classes=5000, confusions={n: n for n in range(5000)},
               superclasses=tuple(range(5000)), mean=(0.5,) * 3, std=(0.5,) * 3)
WEIGHTS = {f"layer{n}.weight": torch.zeros(50, 50) for n in range(99)}
LEVEL = Level(3, {name: weight > 0 for name, weight in WEIGHTS.items()}, WEIGHTS,
              tuple(sdd_core.Epoch(n, n, 0.1, 1.0, 0.5) for n in range(999)), kernels=("x",) * 999)
VIEW = sdd_core.LevelView(LEVEL, initial=WEIGHTS, build=torch.nn.Identity, trainable=[*WEIGHTS],
                          data=DATA, exempt=frozenset(WEIGHTS), seed=0,
                          device=torch.device("cpu"))
MASK_VIEW = sdd_core.MaskView(
    level=3, step=9_999, steps=99_999, steps_per_epoch=999, weights=WEIGHTS, masks=LEVEL.masks,
    before=LEVEL.masks, gradients=WEIGHTS, momenta=dict, exempt=(), seed=0, state=WEIGHTS,
    prune=dict)
SETTINGS = {
    "train": {"decay": {"milestones": [n / 1000 for n in range(1, 999)]}, "epochs": 5, "lr": 0.01},
    "pruner": {"name": "gradient", "sparsity": [n / 1000 for n in range(1, 999)], "batches": 7,
               "exempt": ["layer"] * 999},
    "model": {"name": "mlp", "widths": [9] * 999}, "retrain": {"to": 3, "pruned": "initial"},
    "noise": {"name": "asymmetric", "pairs": {n: n + 1 for n in range(999)}},
}
EXPERIMENT = sdd_core.Experiment.make(SETTINGS)
RATES = np.linspace(0.1, 0.0, 999)


def large(kind):
    """A plugin of a kind whose options are long."""
    fields = {"name": "large", "__annotations__": {"texts": list[str], "text": str},
              "texts": Field(default=["text" * 99] * 999), "text": "word " * 999,
              "__module__": __name__}
    return type("Large", (kind,), fields)()


VALUES = {
    "Augmentation": Augmentation(4, True),
    "Dataset": DATA,
    "Dense": sdd_core.Dense(RATES, 10),
    "Epoch": LEVEL.epochs[0],
    "Experiment": EXPERIMENT,
    "Exportable": sdd_core.Exportable(nn.Linear(3, 3), {}, torch.zeros(2, 3), {
        "level": 3, "run": "a-run"}, RESULTS[0]),
    "Exported": sdd_core.Exported(Path("x.safetensors"), {
        "format": "state-dict", "bytes": 12, "description": {"level": 3}}),
    "Findings": sdd_core.Findings(GROUPS[0]),
    "Group": GROUPS[0],
    "Layer": sdd_core.Layer(3, (4, 5)),
    "LevelResult": RESULTS[0].levels[0],
    "LevelView": VIEW,
    "MaskView": MASK_VIEW,
    "Phases": RESULTS[0].phases,
    "Plugins": load_plugins(),
    "Result": RESULTS[0],
    "Retraining": sdd_core.Retraining("previous", RATES),
    "Run": RunFolder("a-run", Path("a-run"), EXPERIMENT),
    "SddError": SddError("one line"),
    "Sensitivity": sdd_core.Sensitivity(
        "a network", "imp", {f"layer {i}": 3 for i in range(999)}, (0.5, 0.9),
        Cell("all layers", 0.0, 0.0, 1.0, 0.5), {}),
    "Split": SPLIT,
    "StepView": sdd_core.StepView(3, 99, 1, 0.1, WEIGHTS, WEIGHTS, LEVEL.masks),
    "SweepError": SweepError(dict.fromkeys(map(str, range(999)), "reason"), RESULTS),
    "PluginRef": sdd_core.PluginRef("scope"),
    "Train": EXPERIMENT.train,
}
OTHERS = {
    "comparison": sdd_core.compare(*GROUPS),
    "statistics": GROUPS[0].statistics("test_accuracy"),
    "one statistic": Statistics((0.5,), (0.1,), (1,), (0,)),
    "advice": sdd_core.by_test_accuracy(GROUPS[0]),
    "check": DistanceCheck((Prediction("run", 1, 2, 3, True, 0.1),) * 999, 0.5, 3, 999,
                           {"always to 99.5 %": 0.1}),
    "level": LEVEL,
    "plan": Plan.of(expand([{"seed": list(range(20))}], load_plugins())),
    "given data": sdd_core.Experiment.make({"data": DATA}),
    "diverged": made([float("nan")] * MANY),
    "no level": made([]),
    "a list of groups": GROUPS,
    "learning rates of any form": sdd_core.Retraining("previous", [[0.1] * 999] * 9),
    **{f"installed {row.kind} {row.name}": row.plugin() for row in load_plugins().rows
       if row.plugin and not any(f.is_required() for f in row.plugin.model_fields.values())},
    **{f"recipe {one.name}": one.figures["small"][0] for one in
       read_recipes(load_plugins().recipe_files)},
}


@pytest.mark.parametrize("name", sorted(name for name in sdd_core.__all__
                                        if inspect.isclass(getattr(sdd_core, name))))
def test_every_public_class_has_a_short_repr(name):
    kind = getattr(sdd_core, name)
    value = VALUES[name] if name in VALUES else large(kind)
    assert isinstance(value, kind)
    check(value)


@pytest.mark.parametrize("name", OTHERS)
def test_so_have_others_that_users_meet(name):
    check(OTHERS[name])


def check(value):
    for text in (repr(value), str(value)):
        assert 0 < len(text) <= CHARACTERS, text[:2000]
        assert len(text.splitlines()) <= LINES
        assert " at 0x" not in text, "it says something about the value"


def test_a_result_names_the_run_the_noise_and_what_was_found():
    text = repr(RESULTS[0])
    assert all(words in text for words in ("by-hand", "200 levels", "symmetric 0.2",
                                           RESULTS[0].phases.verdict))


def test_an_experiment_shows_what_is_not_as_by_default():
    plain = repr(sdd_core.Experiment())
    assert plain == ("<Experiment digits, noise symmetric 0.4, mlp, imp, rewind: 25 levels, "
                     "seed 0>")
    changed = sdd_core.Experiment(train={"epochs": 3}, pruner={"scope": "erk"}, seed=2,
                                  loss="generalised-cross-entropy")
    text = repr(changed)
    assert text.endswith("seed 2, train.epochs=3, pruner.scope='erk'>")
    assert "generalised-cross-entropy" in text


@given(st.recursive(st.text() | st.integers() | st.floats() | st.binary(),
                    lambda one: st.lists(one) | st.dictionaries(st.text(), one) | st.tuples(one)))
def test_whatever_it_is_in_brief_it_is_one_line(value):
    assert len(brief(value)) <= 200
    assert "\n" not in brief(value)


def test_dir_lists_the_public_names_and_nothing_of_the_machinery():
    assert {*sdd_core.__all__, "__version__"} <= {*dir(sdd_core)}
    assert not {"Any", "TYPE_CHECKING", "import_module", "pluggy"} & {*dir(sdd_core)}
    assert all(hasattr(sdd_core, name) for name in dir(sdd_core))
    for lazy in (module for name, module in sys.modules.items() if name.startswith("sdd_core")):
        if "__getattr__" in vars(lazy):
            assert {*getattr(lazy, "__all__", ())} <= {*dir(lazy)}


def test_dir_waits_for_nothing():
    script = "import sdd_core, sys; print('Result' in dir(sdd_core), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["schema", "--help"]])
def test_python_m_is_the_command(words):
    done = subprocess.run([sys.executable, "-m", "sdd_core", *words], capture_output=True,
                          text=True, check=True)
    assert done.stdout.startswith("sdd, version" if words == ["--version"] else
                                  "Usage: python -m sdd_core ")


def test_python_m_says_what_is_wrong_in_one_line():
    done = subprocess.run([sys.executable, "-m", "sdd_core", "rum"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: no command 'rum'; did you mean run")
    assert len(done.stderr.splitlines()) == 1
