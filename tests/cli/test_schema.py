"""`sdd schema` prints one JSON document; what was left out is not in it."""

import json

from sdd_core.experiment.schema import experiment_schema
from sdd_core.plugin.discovery import load_plugins


def test_it_prints_the_schema(sdd):
    done = sdd("schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == experiment_schema(load_plugins())
    assert "pruner.gradient" in json.loads(done.stdout)["$defs"]


def test_a_plugin_that_was_left_out_is_not_in_it(sdd):
    done = sdd("schema", "--no-plugin", "gradient")
    assert "pruner.gradient" not in json.loads(done.stdout)["$defs"]
