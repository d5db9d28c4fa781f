"""An experiment is the same value however it is written, and says what is wrong with it."""

import math
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sdd_core import Experiment, SddError
from sdd_core.experiment.settings import override, parse_value, read_toml

FILE = """
seed = 3
levels = 7
[noise]
name = "pair-flip"
rate = 0.25
[train]
epochs = 30
decay.milestones = [0.5]
[pruner]
name = "gradient"
batches = 4
exempt = ["output", "hidden1"]
[retrain]
name = "rewind"
to = 2
unit = "epoch"
"""
COMMAND_LINE = [
    "pruner.batches=4",
    "seed=3",
    "levels=7",
    "noise.rate=0.25",
    "noise.name=pair-flip",
    "train.epochs=30",
    "train.decay.milestones=[0.5]",
    "pruner.name=gradient",
    'pruner.exempt=["output", "hidden1"]',
    "retrain.to=2",
    "retrain.unit=epoch",
]
IN_PYTHON = Experiment(
    seed=3,
    levels=7,
    noise={"name": "pair-flip", "rate": 0.25},
    train={"epochs": 30, "decay": {"milestones": (0.5,)}},
    pruner={"name": "gradient", "batches": 4, "exempt": ("output", "hidden1")},
    retrain={"to": 2, "unit": "epoch"},
)


def from_command_line(words, settings=()):
    changes = [(field, parse_value(value)) for field, _, value in (w.partition("=") for w in words)]
    return Experiment.make(override(dict(settings), changes))


def test_file_command_line_and_python_give_the_same_value(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text(FILE)
    assert Experiment.make(read_toml(file)) == IN_PYTHON
    assert from_command_line(COMMAND_LINE) == IN_PYTHON
    assert Experiment.make(tomllib.loads(IN_PYTHON.to_toml())) == IN_PYTHON
    assert Experiment.make(IN_PYTHON.to_dict()) == IN_PYTHON


def test_the_command_line_overrides_the_file():
    changed = from_command_line(["train.lr=0.5", "noise.rate=0.1"], tomllib.loads(FILE))
    assert changed.train.lr == 0.5
    assert changed.train.epochs == 30
    assert (changed.noise.name, changed.noise.rate) == ("pair-flip", 0.1)


def test_another_plugin_drops_the_options_of_the_one_before():
    changed = from_command_line(["pruner.name=imp"], tomllib.loads(FILE))
    assert changed.pruner == Experiment().pruner
    kept = from_command_line(["pruner.name=gradient"], tomllib.loads(FILE))
    assert kept.pruner == IN_PYTHON.pruner


def test_overriding_leaves_the_settings_as_they_are():
    settings = tomllib.loads(FILE)
    override(settings, [("train.lr", 1.0), ("pruner.name", "imp")])
    assert settings == tomllib.loads(FILE)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("[1, 2]", [1, 2]), ("imp", "imp"), ('"3"', "3"),
     ("a.b:c", "a.b:c"), ("", "")],
)
def test_a_value_is_toml_where_it_is_and_text_elsewhere(text, value):
    assert parse_value(text) == value


def test_the_default_experiment_is_the_one_of_the_readme():
    experiment = Experiment()
    assert experiment.data.name == "digits"
    assert (experiment.noise.name, experiment.noise.rate) == ("symmetric", 0.4)
    assert experiment.model.widths == (300, 100)
    assert (experiment.pruner.name, experiment.pruner.fraction) == ("imp", 0.2)
    assert (experiment.retrain.name, experiment.retrain.to) == ("rewind", 0)
    train = experiment.train
    assert (train.epochs, train.batch_size, train.lr) == (60, 128, 0.1)
    assert (train.optimizer.name, train.optimizer.momentum) == ("sgd", 0.9)
    assert (train.decay.name, train.decay.milestones) == ("steps", (0.5, 0.75))
    assert (train.decay.gamma, experiment.levels) == (0.1, 25)


def test_an_experiment_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Experiment().seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        Experiment().train.lr = 1.0


NAN, INF = math.nan, math.inf

BAD = [
    ({"pruner": {"fraction": NAN}}, r"pruner\.fraction: .*finite.*nan"),
    ({"pruner": {"fraction": 0}}, r"pruner\.fraction: .*greater than 0 \(got 0\)"),
    ({"pruner": {"fraction": 1.0}}, r"pruner\.fraction: .*less than 1"),
    ({"pruner": {"fraction": "much"}}, r"pruner\.fraction: .*number.*'much'"),
    ({"pruner": "inp"}, r"pruner: unknown pruner 'inp'; did you mean .*imp"),
    ({"pruner": {"name": "gradients"}}, r"unknown pruner 'gradients'; did you mean gradient"),
    ({"retrain": "zzz"}, r"retrain: unknown retraining schedule 'zzz'; available: .*rewind"),
    ({"pruner": {"name": "imp", "batches": 3}}, r"pruner\.batches: there is no such setting"),
    ({"pruner": {"scope": "globally"}}, r"pruner\.scope: .*'globally'"),
    ({"pruner": 3}, r"pruner: expected a pruner's name, or a table"),
    ({"pruner": None}, r"pruner: expected a pruner's name"),
    ({"pruner": {"sparsity": 0.9}, "levels": 3}, r"pruner\.sparsity .*levels is 3"),
    ({"train": {"decay": {"milestones": [0.75, 0.5]}}},
     r"train\.decay\.milestones: milestones \[0\.75, 0\.5\] must be increasing"),
    ({"train": {"decay": {"milestones": [0.5, 0.5]}}}, r"milestones .* must be increasing"),
    ({"train": {"decay": {"milestones": [0.5, 1.5]}}}, r"decay\.milestones\.1: .*less than 1"),
    ({"train": {"optimizer": "AdamW", "momentum": 0.9}}, r"train\.momentum: there is no such"),
    ({"train": {"optimizer": {"name": "AdamW", "momentum": 0.9}}},
     r"train\.optimizer\.momentum: there is no such setting"),
    ({"train": {"epochs": -1}}, r"train\.epochs: .*greater than or equal to 0"),
    ({"train": {"epochs": 2.5}}, r"train\.epochs: .*integer"),
    ({"train": {"epochs": 10**15}}, r"train\.epochs: .*less than or equal"),
    ({"train": {"lr": INF}}, r"train\.lr: .*finite"),
    ({"train": {"lr": 1e39}}, r"train\.lr: .*less than or equal"),
    ({"train": {"lr": -0.1}}, r"train\.lr: .*greater than 0"),
    ({"train": {"optimizer": {"momentum": 1}}}, r"train\.optimizer\.momentum: .*less than 1"),
    ({"train": {"momentun": 0.5}}, r"train\.momentun: there is no such setting"),
    ({"train": "long"}, r"train: .*dictionary"),
    ({"noise": {"rate": 1.1}}, r"noise\.rate: .*less than or equal to 1"),
    ({"noise": {"name": "none", "rate": 0.2}}, r"noise\.rate"),
    ({"levels": -1}, r"levels: .*greater than or equal to 0"),
    ({"levels": "many"}, r"levels: .*integer.*'many'"),
    ({"seed": -1}, r"seed: .*greater than or equal to 0"),
    ({"seed": 2**63}, r"seed: .*less than"),
    ({"sede": 1}, r"sede: there is no such setting"),
    ({"metrics": ["acuracy"]}, r"metrics\.0: unknown metric 'acuracy'; did you mean accuracy"),
    ({"metrics": "accuracy"}, r"metrics: .*'accuracy'"),
    ({"kernels": "fast"}, r"kernels: .*'auto' or 'none'"),
    ({"model": {"widths": [0]}}, r"model\.widths\.0: .*greater than or equal to 1"),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=lambda value: str(value)[:60])
def test_what_is_impossible_is_refused_with_the_fields_name(settings, message):
    with pytest.raises(SddError, match=message) as refused:
        Experiment.make(settings)
    said = str(refused.value)
    assert "\n" not in said
    assert "more)" not in said, "one mistake is counted as one"


def test_the_number_of_further_mistakes_is_said():
    with pytest.raises(SddError, match=r"train\.epochs: .*\(and 1 more\)"):
        Experiment.make({"train": {"epochs": -1, "lr": 0}})


def test_a_plugin_of_the_wrong_kind_is_refused():
    with pytest.raises(SddError, match=r"pruner: .*Pruner"):
        Experiment.make({"pruner": Experiment().retrain})


def test_one_shot_pruning_takes_one_level_by_itself():
    assert Experiment.make({"pruner": {"sparsity": 0.9}}).levels == 1
    assert Experiment.make({"pruner": {"sparsity": 0.9}, "levels": 0}).levels == 0


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2"])
def test_a_file_that_is_no_toml_is_refused(tmp_path, content):
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(SddError, match=r"experiment file .*broken\.toml"):
        read_toml(file)
    with pytest.raises(SddError, match=r"cannot read experiment file .*nowhere\.toml"):
        read_toml(tmp_path / "nowhere.toml")


@given(
    st.dictionaries(
        st.sampled_from(["seed", "levels", "data", "noise", "model", "train", "pruner", "retrain",
                         "metrics", "kernels"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["name", "rate", "epochs", "x"]), inner, max_size=2),
            max_leaves=4,
        ),
        max_size=3,
    )
)
@settings(max_examples=80)
def test_whatever_is_written_is_an_experiment_or_one_line(chosen):
    experiment, said = None, ""
    try:
        experiment = Experiment.make(chosen)
    except SddError as refused:
        said = str(refused)
    assert "\n" not in said
    assert said or Experiment.make(tomllib.loads(experiment.to_toml())) == experiment
