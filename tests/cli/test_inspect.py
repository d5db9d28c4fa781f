"""`sdd inspect`: what would be pruned, without training anything."""

import json

from cli.conftest import refused


def test_names_shapes_and_counts(sdd, tmp_path):
    done = sdd("inspect", "--model.widths", "8,4")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["hidden1.weight", "8x64", "512", "prunable"] in rows
    assert ["hidden2.bias", "4", "4", "left", "alone", "bias"] in rows
    assert ["output.weight", "10x4", "40", "exempt"] in rows
    assert done.stdout.endswith(
        "mlp for digits: 606 parameters, 544 prunable, 40 exempt, 22 left alone\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_patterns_change_it(sdd, tmp_path):
    text = '[model]\nwidths = [8, 4]\n[pruner]\nexempt = ["hidden*"]\n'
    (tmp_path / "mine.toml").write_text(text)
    states = {
        row["name"]: row["state"]
        for row in json.loads(sdd("inspect", "mine.toml", "--json").stdout)["parameters"]
    }
    assert [states[f"{name}.weight"] for name in ("hidden1", "hidden2", "output")] == [
        "exempt", "exempt", "prunable",
    ]
    found = json.loads(sdd("inspect", "mine.toml", "--pruner.exempt", "output", "--json").stdout)
    assert found["totals"] == {"prunable": 544, "exempt": 40, "left alone": 22}
    assert found["model"] == "mlp"


def test_the_number_of_a_layer_is_a_pattern(sdd, tmp_path):
    text = "from torch import nn\ndef two(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))"
    (tmp_path / "a_network_of_numbers.py").write_text(text)
    words = ("inspect", "--model", "a_network_of_numbers:two", "--json", "--pruner.exempt")
    assert "leaves no layer to prune" in refused(sdd(*words, "1"))
    assert "'0' matches no layer" in refused(sdd(*words, "1, 0"))


def test_what_is_left_out_is_said_and_can_be_included(sdd, tmp_path):
    text = """
import torch
from torch import nn
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 20))
    def forward(self, numbers):
        return numbers @ self.weight
def odd(): return nn.Sequential(nn.Flatten(), Own(), nn.Linear(20, 10))
"""
    (tmp_path / "an_odd_network.py").write_text(text)
    words = ("inspect", "--model", "an_odd_network:odd")
    done = sdd(*words)
    assert done.stdout.splitlines()[-1] == (
        "only 13.5 % of this network's 1,480 weights can be pruned; left out are 1 (Own's own); "
        "pruner.include takes patterns of layers to prune too, pruner.exempt of those that stay "
        "whole"
    )
    assert "can be pruned" not in sdd(*words, "--pruner.include", "1").stdout
    exempt = sdd(*words, "--pruner.include", "1", "--pruner.exempt", "1").stdout
    assert "left out are 1 (exempt);" in exempt
    found = json.loads(sdd(*words, "--pruner.include", "1", "--json").stdout)
    assert found["totals"] == {"prunable": 1480, "exempt": 0, "left alone": 10}
    assert "'nobody' matches no parameter" in refused(sdd(*words, "--pruner.include", "nobody"))
    assert "'2.bias' matches nothing that can be pruned" in refused(
        sdd(*words, "--pruner.include", "2.bias")
    )


def test_options_of_a_name_with_a_colon_are_typed(sdd):
    assert "data.pad: input should be a valid integer" in refused(
        sdd("inspect", "--data", "hf:folder", "--data.pad", "wide")
    )


def test_mistakes_are_one_line(sdd):
    assert "'nothing' matches no layer" in refused(sdd("inspect", "--pruner.exempt", "nothing"))
    assert "cannot import 'own_data:make'" in refused(sdd("inspect", "--data", "own_data:make"))
    assert "did you mean mlp" in refused(sdd("inspect", "--model", "mlpp"))
