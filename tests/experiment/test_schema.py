"""The schema accepts what `Experiment.make` accepts, and refuses what it refuses."""

from __future__ import annotations

import json
import tomllib

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field
from support import plugins_with

from sdd_core import Experiment, LevelView, Pruner, SddError
from sdd_core.experiment.experiment import sections
from sdd_core.experiment.schema import experiment_schema
from sdd_core.installation import DISTRIBUTION


class Stranger(Pruner):
    """A pruner whose name is taken."""

    name = "imp"
    rounds: int = Field(3, ge=1, description="rounds")

    def scores(self, level: LevelView):
        return {name: level.weights[name].abs() for name in level.prunable}


PLUGINS = plugins_with(sdd_pruners=[Stranger])
SCHEMA = experiment_schema(PLUGINS)
VALIDATOR = Draft202012Validator(SCHEMA)


def test_it_is_a_schema_and_json():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


ACCEPTED = [
    {},
    {"seed": 3, "levels": 2, "kernels": "none"},
    {"pruner": "random", "retrain": "scratch"},
    {"pruner": {"fraction": 0.5}},  # of the default pruner
    {"pruner": {"name": "gradient", "batches": 4, "exempt": ["head"]}},
    {"pruner": {"name": f"{DISTRIBUTION}:imp", "scope": "layer"}},
    {"pruner": {"name": "stranger:imp", "rounds": 4}},
    {"pruner": "stranger:imp"},
    {"pruner": {"sparsity": 0.9}, "levels": 1},
    {"pruner": {"sparsity": [0.5, 0.9]}},
    {"noise": {"name": "asymmetric", "pairs": {"1": 2}}},
    {"train": {"epochs": 3, "optimizer": {"momentum": 0.5}, "decay": "cosine"}},
    {"train": {"optimizer": "AdamW", "decay": {"name": "cosine"}}},
    {"train": {"optimizer": {"name": "AdamW", "betas": [0.5, 0.9]}}},
    {"pruner": {"scope": {"name": "erk"}, "sparsity": {"name": "linear", "over": 4}}},
    {"pruner": {"name": "gradient", "sparsity": "cubic"}},
    {"metrics": ["accuracy", {"name": "learning_distance"}]},
    {"loss": {"name": "distillation", "temperature": 4}},
    {"ablation": "shuffle"},
    {"data": {"name": "image-folder", "path": "photos"}},
    {"model": {"name": "mlp", "widths": [30, 10]}},
    {"model": "torch.nn:Flatten"},
    {"model": {"name": "torch.nn:Flatten", "start_dim": 1}},
    {"model": "torchvision:resnet18"},
]
REFUSED = [
    {"sed": 3},
    {"seed": -1},
    {"seed": "three"},
    {"levels": -1},
    {"pruner": "ipm"},
    {"pruner": 3},
    {"pruner": {"fraction": 1.5}},
    {"pruner": {"name": "imp", "batches": 4}},  # an option of another pruner
    {"pruner": {"batches": 4}},
    {"pruner": {"name": "stranger:imp", "rounds": 0}},
    {"pruner": {"name": "imp", "rounds": 4}},
    {"noise": {"name": "none", "rate": 0.4}},
    {"retrain": {"name": "rewind", "unit": "year"}},
    {"train": {"epochs": -1}},
    {"train": {"epoch": 3}},
    {"train": {"optimizer": "adamw"}},
    {"train": {"optimizer": {"name": "AdamW", "rho": 0.5}}},
    {"train": {"optimizer": {"eps": 1e-6}}},
    {"train": {"decay": "sine"}},
    {"pruner": {"scope": "all"}},
    {"pruner": {"scope": 3}},
    {"pruner": {"sparsity": "erk"}},
    {"pruner": {"sparsity": {"name": "linear", "over": 0}}},
    {"pruner": {"sparsity": [0.5, 1.5]}},
    {"metrics": "accuracy"},
    {"metrics": ["acuracy"]},
    {"loss": {}},  # it has no default
    {"data": "image-folder"},  # it has no default folder
    {"model": {"name": "mlp", "depth": 3}},
]


@pytest.mark.parametrize("settings", ACCEPTED, ids=str)
def test_what_is_accepted(settings):
    made = Experiment.make(settings, PLUGINS)
    assert not list(VALIDATOR.iter_errors(settings))
    written = tomllib.loads(made.to_toml())
    assert not list(VALIDATOR.iter_errors(written))


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_what_is_refused(settings):
    with pytest.raises(SddError):
        Experiment.make(settings, PLUGINS)
    assert list(VALIDATOR.iter_errors(settings))


def test_every_option_of_every_plugin_is_there_with_its_description():
    for kind in sections().values():
        for row in PLUGINS.rows:
            if row.kind == kind.kind and row.status == "ok":
                assert row.plugin is not None
                table = SCHEMA["$defs"][f"{row.kind}.{row.name}"]
                assert table["properties"].keys() - {"name"} == set(row.plugin.model_fields)
                assert all(option["description"] for option in table["properties"].values())

