"""What the real huggingface_hub reads out of the folders of the format hub."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import exports.cases
import pytest
import torch
from exported import IMAGES, NETWORKS, TiedParts, batches, exportable, result
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors.torch import load_file, load_model
from torch import nn

import sdd_core
from sdd_core import Experiment, load_plugins
from sdd_core.testing import check_exporter

PERCEPTRON = {"name": "mlp", "widths": [16]}

OWN = """
from torch import nn


class Net(nn.Module):
    def __init__(self, input_shape, channels=4, dropout=0.5):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(input_shape[0], channels, 3), nn.ReLU(), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(36 * channels, 10),
        )

    def forward(self, images):
        return self.layers(images)


def make(channels=6):
    return Net((3, 8, 8), channels)
"""


def exporter(**options):
    return load_plugins().make("exporter", {"name": "hub", **options})


def of_model(model):
    """The run of another model."""
    return replace(result(), experiment=Experiment.make({"model": model}))


def written(network, path, model, **options):
    """The network as a folder, and what it was exported from."""
    source = exportable(network, of_model(model))
    exporter(**options).write(source, path / "folder")
    return source, path / "folder"


def code(folder):
    """The Python on a model card."""
    card = (folder / "README.md").read_text("utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", card, re.M | re.S))


def loaded_elsewhere(folder, *modules):
    """The logits of `batches` by the code on the card, in another process and folder."""
    if not (folder.parent / "inputs.pt").exists():
        torch.save(batches(), folder.parent / "inputs.pt")
    script = (f"import torch\n{code(folder)}\n"
              "torch.save([network(batch) for batch in torch.load('../inputs.pt')], '../out.pt')\n")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False,
        env={"OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(map(str, modules))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return zip(*(torch.load(folder.parent / name) for name in ("inputs.pt", "out.pt")), strict=True)


@pytest.mark.parametrize("name", exports.cases.MODELS)
def test_the_level_of_a_run_scores_what_it_scored_there(name, tmp_path):
    run = exports.cases.run_of(name, tmp_path)
    made = sdd_core.export(run, format="hub", level=1, output=tmp_path / "folder")
    assert made.record["checked"]["test_examples"] == len(run.experiment.data.load(None).test)
    assert made.record["checked"]["difference"] == 0
    assert {file.name for file in made.path.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "curve.png", "curve.csv", "export.json"}
    assert json.loads((made.path / "export.json").read_text()) == json.loads(
        json.dumps(dict(made.record)))
    if name != "own module":  # its class is that of a module of the tests
        network = run.levels[1].network()
        torch.save([torch.randn(2, *made.record["description"]["input_shape"])],
                   tmp_path / "inputs.pt")
        for batch, logits in loaded_elsewhere(made.path):
            assert torch.equal(logits, network(batch))


@pytest.mark.parametrize("path", ["own_net:Net", "own_net:make"])
def test_an_own_module_by_its_class_or_by_the_function_that_makes_it(path, tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    model = Experiment.make({"model": {"name": path, "channels": 5}}).model
    source, folder = written(model.build(IMAGES, 10), tmp_path, {"name": path, "channels": 5})
    for batch, logits in loaded_elsewhere(folder, tmp_path):
        assert torch.equal(logits, source.network(batch))
    settings = json.loads((folder / "config.json").read_text())
    if path.endswith("Net"):
        assert settings == {"input_shape": list(IMAGES), "channels": 5}
        assert "sdd_core" not in code(folder)
    else:
        assert settings == {"model": {"name": path, "channels": 5}, "num_classes": 10,
                            "input_shape": list(IMAGES)}
    sys.modules.pop("own_net")


def test_a_class_with_frozen_and_tied_parts_that_was_passed_in_python(tmp_path):
    source, folder = written(TiedParts(), tmp_path, TiedParts)

    class Network(TiedParts, PyTorchModelHubMixin):
        pass

    network = Network.from_pretrained(folder, strict=True)
    assert network.inner.weight is network.again.weight
    for batch in batches():
        assert torch.equal(network(batch), source.network(batch))
    assert "from exported import TiedParts" in code(folder)
    stored = load_file(folder / "model.safetensors")
    assert len({"inner.weight", "again.weight"} & stored.keys()) == 1


def test_a_module_that_no_code_can_build_is_loaded_into_one(tmp_path):
    make = NETWORKS["perceptron"]
    source, folder = written(make(), tmp_path, make())
    assert not code(folder)
    card = (folder / "README.md").read_text()
    assert '`safetensors.torch.load_model(network, "model.safetensors")`' in card
    network = make().eval()
    load_model(network, folder / "model.safetensors")
    for batch in batches():
        assert torch.equal(network(batch), source.network(batch))


def test_what_the_card_says(tmp_path):
    source, folder = written(NETWORKS["perceptron"](), tmp_path, PERCEPTRON, license="mit")
    card = ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("mit", "pytorch")
    assert {"pruning", "pytorch_model_hub_mixin"} <= set(card.data.tags)
    (measured,) = card.data.eval_results
    assert (card.data.model_name, measured.metric_type) == (source.result.run, "accuracy")
    assert measured.metric_value == source.result.levels[1].metrics["test_accuracy"]
    for part in ("## Levels", "symmetric 0.4", "![test accuracy and learning distance over "
                 "sparsity](curve.png)", 'name = "mlp"', "(images / 255 - mean) / std",
                 "[0.5, 0.5, 0.5]"):
        assert part in card.text
    rows = [line for line in card.text.splitlines() if re.match(r"\| \**\d", line)]
    assert len(rows) == len(source.result.levels)
    assert [line.startswith("| **1** | **") for line in rows] == [False, True, False]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_user_s_text_is_text_on_the_card(tmp_path):
    """Names stand in the front matter, in sentences and in the settings."""
    name = "a|b*c*\n---\n<b>[x](y)</b>```\n# Heading"
    base = of_model(PERCEPTRON)
    source = exportable(NETWORKS["perceptron"](), replace(base, run=name), sdd=name)
    exporter().write(source, tmp_path / "folder")
    card = ModelCard.load(tmp_path / "folder/README.md")
    assert card.data.model_name == name
    assert "# Heading" not in card.text.splitlines()
    assert "<b>" not in card.text
    assert "[x](y)" not in card.text


def test_settings_with_a_fence_stay_in_their_block(tmp_path):
    experiment = Experiment.make({"model": {"name": "mlp"}, "train": {"pretrained": "a```\nb"}})
    source = exportable(NETWORKS["perceptron"](), replace(result(), experiment=experiment))
    exporter().write(source, tmp_path / "folder")
    assert "\n````toml\n" in (tmp_path / "folder/README.md").read_text()


def test_a_run_without_a_test_accuracy(tmp_path):
    levels = tuple(replace(level, metrics={}) for level in result().levels)
    source = exportable(NETWORKS["perceptron"](), replace(result(), levels=levels))
    exporter().write(source, tmp_path / "folder")
    card = ModelCard.load(tmp_path / "folder/README.md")
    assert card.data.eval_results is None
    assert "curve.png" not in card.text
    assert not (tmp_path / "folder/curve.png").exists()


def test_other_weights_are_not_taken_for_these(tmp_path):
    """`load` reads the folder: it is no copy of the network."""
    source, folder = written(NETWORKS["perceptron"](), tmp_path, PERCEPTRON)
    other = exportable(NETWORKS["perceptron"]())
    batch = batches()[0]
    assert torch.equal(exporter().load(folder, other)(batch), source.network(batch))
    with pytest.raises(RuntimeError, match="Missing"):
        exporter().load(folder, exportable(nn.Sequential(nn.Flatten(), nn.Linear(192, 10))))


def test_nothing_is_printed(tmp_path, capfd):
    source, folder = written(NETWORKS["tied"](), tmp_path, TiedParts)
    exporter().load(folder, source)
    assert capfd.readouterr() == ("", "")


def test_it_keeps_the_contract():
    check_exporter(load_plugins().get("exporter", "hub"))
