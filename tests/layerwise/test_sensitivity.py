"""The accuracy of networks of which one layer is pruned."""

from __future__ import annotations

import csv
import json
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import Net, go, small
from torch import nn

import sdd_core
from sdd_core import SddError, Sensitivity, sensitivity
from sdd_core.cli import main
from sdd_core.layerwise import measure
from sdd_core.layerwise.run import checked_sparsities
from sdd_core.layerwise.sensitivity import TOGETHER
from sdd_core.runs.store import Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of Net, and its folder."""
    return go(small(model=Net, noise="none", train={"epochs": 4}), tmp_path_factory.mktemp("run"))


def by_hand(run, level: int, layers: dict[str, int]) -> tuple[float, float]:
    """Loss and accuracy of a level whose layers lose their smallest weights."""
    found = Store(run.folder.parent).load_level(run.levels[level].key)
    assert found is not None
    network = Net()
    state = {name: tensor.clone() for name, tensor in found.state.items()}
    for name, count in layers.items():
        state[name].flatten()[state[name].abs().flatten().argsort()[:count]] = 0
    network.load_state_dict(state)
    data = sdd_core.Experiment.make({"data": "digits"}).data.load(None)
    images = data.test.images.double() / data.scale
    if data.mean:
        shape = (-1,) + (1,) * (images.dim() - 2)
        images = (images - torch.tensor(data.mean).view(shape)) / torch.tensor(data.std).view(shape)
    with torch.no_grad():
        logits = network.double().eval()(images)
    loss = nn.functional.cross_entropy(logits, data.test.labels).item()
    return loss, (logits.argmax(1) == data.test.labels).double().mean().item()


def test_the_numbers_are_those_of_networks_pruned_by_hand(trained):
    found = sensitivity(trained, sparsities=[0.5, 0.9])
    assert found.layers == ["first.weight", "last.weight"]
    assert dict(found.sizes) == {"first.weight": 1024, "last.weight": 160}
    for row, layer in enumerate(found.layers):
        for column, at in enumerate((0.5, 0.9)):
            loss, accuracy = by_hand(trained, 0, {layer: round(at * found.sizes[layer])})
            assert found.test_loss[row, column] == pytest.approx(loss, rel=1e-4)
            assert found.test_accuracy[row, column] == pytest.approx(accuracy, abs=0.003)
            assert found.cells[layer, at].pruned == pytest.approx(at, abs=1e-3)
    loss, accuracy = by_hand(trained, 0, {})
    assert found.unpruned.test_loss == pytest.approx(loss, rel=1e-4)
    assert found.unpruned.test_accuracy == pytest.approx(accuracy, abs=0.003)
    assert found.unpruned.test_accuracy == pytest.approx(
        trained.levels[0].metrics["test_accuracy"], abs=0.003)


def test_all_layers_together_are_a_one_shot_run(tmp_path, trained):
    """The same numbers as those of a run that prunes once and does not retrain."""
    found = sensitivity(trained, sparsities=[0.4, 0.8], pruner="imp")
    shots = go(small(model=Net, noise="none", train={"epochs": 4},
                     pruner={"name": "imp", "sparsity": [0.4, 0.8], "from_dense": True},
                     retrain={"name": "finetune", "epochs": 0}), trained.folder.parent)
    assert found.together == pytest.approx(shots.curve("test_accuracy")[1:])
    assert found.unpruned.test_accuracy == pytest.approx(shots.curve("test_accuracy")[0])


def test_a_level_of_a_run_keeps_its_masks(trained):
    found = sensitivity(trained, level=2, sparsities=[0.1, 0.9])
    assert found.unpruned.pruned == pytest.approx(trained.sparsity[2])
    assert found.unpruned.test_accuracy == pytest.approx(
        trained.levels[2].metrics["test_accuracy"], abs=0.003)
    level = Store(trained.folder.parent).load_level(trained.levels[2].key)
    assert level is not None
    kept = float(level.masks["first.weight"].float().mean())
    assert found.cells["first.weight", 0.1].pruned == pytest.approx(1 - kept)  # nothing to prune
    loss, _ = by_hand(trained, 2, {"first.weight": 922})
    assert found.test_loss[0, 1] == pytest.approx(loss, rel=1e-4)


def test_a_given_network_is_not_trained_and_not_changed(tmp_path, capsys):
    torch.manual_seed(0)
    network = Net()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = sensitivity(model=network, data="digits", noise="none", store=tmp_path,
                        sparsities=[0.5])
    assert isinstance(found, Sensitivity)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not list((tmp_path / ".shared" / "levels").iterdir())
    assert "near chance" in capsys.readouterr().err


def test_pretrained_weights(tmp_path, trained, capsys):
    level = Store(trained.folder.parent).load_level(trained.levels[0].key)
    assert level is not None
    torch.save(dict(level.state), tmp_path / "net.pt")
    found = sensitivity(model=Net, noise="none", train={"pretrained": tmp_path / "net.pt"},
                        store=tmp_path, sparsities=[0.5, 0.9])
    other = sensitivity(trained, sparsities=[0.5, 0.9])
    np.testing.assert_array_equal(found.test_accuracy, other.test_accuracy)
    assert "near chance" not in capsys.readouterr().err


def test_another_pruner_and_recalibration_are_another_measurement(trained):
    usual = sensitivity(trained, sparsities=[0.8])
    random = sensitivity(trained, sparsities=[0.8], pruner="random")
    again = sensitivity(trained, sparsities=[0.8], retrain={"name": "rewind", "recalibrate": 5})
    assert random.pruner == "random"
    assert not np.array_equal(usual.test_loss, random.test_loss)
    assert usual.unpruned.test_loss != again.unpruned.test_loss
    assert not np.array_equal(usual.test_loss, again.test_loss)


# Interruptions


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 4, 8])
def test_an_interrupted_measurement_goes_on(tmp_path, monkeypatch, after):
    torch.manual_seed(0)
    network, asked = Net(), {"data": "digits", "noise": "none", "sparsities": (0.3, 0.6, 0.9)}
    whole = sensitivity(model=network, store=tmp_path / "whole", **asked)
    true, calls = measure.evaluate, []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == after + 1:
            raise Killed
        return true(*arguments)

    monkeypatch.setattr(measure, "evaluate", evaluate)
    with pytest.raises(Killed):
        sensitivity(model=network, store=tmp_path / "parts", **asked)
    found = sensitivity(model=network, store=tmp_path / "parts", **asked)
    assert found == whole
    assert len(calls) == 10 + 1  # nothing is measured twice, apart from what was interrupted
    sensitivity(model=network, store=tmp_path / "parts", **asked)
    assert len(calls) == 11
    sensitivity(model=network, store=tmp_path / "parts", **{**asked, "sparsities": (0.6, 0.8, 0.9)})
    assert len(calls) == 11 + 3


def test_damaged_cells_are_measured_again(tmp_path):
    torch.manual_seed(0)
    network, asked = Net(), {"data": "digits", "noise": "none", "sparsities": (0.3, 0.9)}
    whole = sensitivity(model=network, store=tmp_path, **asked)
    [file] = (tmp_path / ".shared" / "sensitivity").iterdir()
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace('"test_accuracy": 0.', '"test_accuracy": 0.9')
    lines[3] = lines[3].partition(', "checksum"')[0].replace('acy": 0.', 'acy": 0.9') + "}"
    file.write_text("\n".join(lines)[:-20])
    assert sensitivity(model=network, store=tmp_path, **asked) == whole


# What is shown


def test_the_csv_the_figure_and_the_notebook(tmp_path, trained):
    found = sensitivity(trained, sparsities=[0.5, 0.9])
    found.plot(tmp_path / "a.svg")
    first = (tmp_path / "a.svg").read_bytes()
    found.plot(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == first
    assert b"all layers" in first
    rows = list(csv.DictReader(StringIO((tmp_path / "a.csv").read_text())))
    assert [(row["layer"], row["sparsity"]) for row in rows] == [
        (TOGETHER, "0.0"), (TOGETHER, "0.5"), (TOGETHER, "0.9"), ("first.weight", "0.5"),
        ("first.weight", "0.9"), ("last.weight", "0.5"), ("last.weight", "0.9")]
    assert float(rows[-1]["test_accuracy"]) == found.test_accuracy[1, 1]
    html = found._repr_html_()
    assert html.count("<tr>") == 4
    assert f"{found.test_accuracy[0, 1]:.3f}" in html
    assert "2 layers at 2 sparsities by imp" in repr(found)


def sdd(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.output
    return lines[0].removeprefix("Error: ")


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """A store with a run of an mlp."""
    monkeypatch.chdir(tmp_path)
    go(small(noise="none", levels=1), Path("runs"))
    return tmp_path


def test_the_command(store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = sdd("sensitivity", "digits", "--level", 1, "--sparsities", "50,99.5%", "--quiet")
    lines = printed.splitlines()
    assert lines[0].split() == ["layer", "weights", "50", "%", "99.5", "%"]
    assert [line.split()[0] for line in lines[1:3]] == ["all", "hidden1"]
    assert "wrote sensitivity.png" in printed
    assert Path("sensitivity.csv").read_text().count("\n") == 1 + 5
    document = json.loads(sdd("sensitivity", "digits", "--level", 1, "--sparsities", "50,99.5",
                              "--json", "-q"))
    assert document["sparsities"] == [0.5, 0.995]
    assert [cell["sparsity"] for cell in document["cells"]] == [0.0, 0.5, 0.995, 0.5, 0.995]


def test_the_command_for_a_network_without_a_run(store):
    run = next(Path("runs").glob("digits*"))
    words = ("--model.widths", "16", "--noise", "none", "--train.pretrained", run)
    printed = sdd("sensitivity", *words, "--sparsities", "50", "-q")
    other = sdd("sensitivity", "digits", "--sparsities", "50", "-q")
    assert printed.splitlines()[:3] == other.splitlines()[:3]
    Path("e.toml").write_text("[model]\nname = 'mlp'\nwidths = [4, 4]\n")
    printed = sdd("sensitivity", "e.toml", "--pruner", "random", "--sparsities", "50", "-q")
    assert [line.split()[0] for line in printed.splitlines()[1:4]] == ["all", "hidden1", "hidden2"]


def test_progress_in_a_pipe(store):
    done = CliRunner().invoke(main, ["sensitivity", "digits", "--sparsities", "50"])
    assert "layer 0/1  all layers" in done.stderr
    assert "layer 1/1  hidden1.weight" in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (["--level", "1"], "--level needs the RUN that has this level"),
    (["digits", "--level", "7"], "has no level 7; it has 0 to 1"),
    (["nothing"], "no run 'nothing' in runs"),
    (["digits", "--sparsities", "0,50"], "--sparsities '0,50' is not a list of percentages"),
    (["digits", "--sparsities", "a"], "is not a list of percentages"),
    (["digits", "--sparsities", ""], "is not a list of percentages"),
    (["digits", "--sparsities", "100"], "is not a list of percentages"),
    (["digits", "--sparsities", "nan"], "is not a list of percentages"),
    (["digits", "--output", "a.txt"], "cannot write a figure to a.txt"),
    (["digits", "--seed", "3"], "seed cannot be changed in a run; only pruner"),
    (["digits", "--train.lr", "0.3"], "train.lr cannot be changed in a run"),
    (["digits", "--pruner", "imq"], "pruner"),
    (["--train.pretrained", "none.pt"], "there is no file none.pt"),
    (["none.toml"], "none.toml"),
])  # fmt: skip
def test_bad_input_is_one_line(store, words, said):
    assert said in refused("sensitivity", *words)


def test_a_run_whose_level_is_damaged(store):
    run = next(Path("runs").glob("digits*"))
    (run / "levels/01/weights.safetensors").write_bytes(b"")
    assert "level 1 of run" in refused("sensitivity", "digits", "--level", 1)


def test_a_changed_module_is_not_imported_without_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = ("from torch import nn\ndef net():\n"
              "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    Path("mine_sensitive.py").write_text(source)
    go(small(model="mine_sensitive:net", levels=0, noise="none"), Path("runs"))
    sys.modules.pop("mine_sensitive", None)
    sdd("sensitivity", "digits", "--sparsities", "50", "-q")
    Path("mine_sensitive.py").write_text(f"open('mark', 'w')\n{source}")
    sys.modules.pop("mine_sensitive", None)
    assert "sdd sensitivity --trust" in refused("sensitivity", "digits")
    assert not Path("mark").exists()


def test_sparsities_are_checked():
    assert checked_sparsities([0.9, 0.5, 0.9]) == (0.5, 0.9)
    for given in ([], [0.0], [1.0], [-0.1], [float("nan")]):
        with pytest.raises(SddError, match="expected one or more numbers between 0 and 1"):
            checked_sparsities(given)
    with pytest.raises(SddError, match="train: got tuple without test="):
        sensitivity(train=(1, 2))


def test_of_a_run_only_the_pruning_can_be_changed(trained):
    with pytest.raises(SddError, match="seed: a run has its own; only pruner and retrain"):
        sensitivity(trained, seed=3)
