"""Programs of torch.export run elsewhere, and what cannot become one is refused in one line."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from exported import IMAGES, NETWORKS, batches, exportable
from exports.cases import MODELS, run_of
from torch import nn

import sdd_core
from sdd_core import SddError, load_plugins

ELSEWHERE = """
import sys
import torch

program, inputs, outputs = sys.argv[1:]
network = torch.export.load(program).module()
assert not {"sdd_core", "sdd_plugins", "exported"} & set(sys.modules)
torch.save([network(batch) for batch in torch.load(inputs)], outputs)
"""


def exporter(**options):
    return load_plugins().make("exporter", {"name": "torch-export", **options})


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_it_runs_in_a_process_without_the_source(name, tmp_path):
    torch.manual_seed(0)
    source = exportable(NETWORKS[name]())
    exporter().write(source, tmp_path / "network.pt2")
    torch.save(batches(), tmp_path / "inputs.pt")
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, "network.pt2", "inputs.pt", "outputs.pt"],
        cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for batch, logits in zip(torch.load(tmp_path / "inputs.pt"),
                             torch.load(tmp_path / "outputs.pt"), strict=True):
        expected = source.network(batch)
        assert logits.shape == expected.shape
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_level_of_a_run_scores_what_it_scored_there(name, tmp_path):
    run = run_of(name, tmp_path)
    made = sdd_core.export(run, format="torch-export", level=1, output=tmp_path / "network.pt2")
    assert made.record["checked"]["test_examples"] == len(run.experiment.data.load(None).test)
    assert made.record["checked"]["difference"] <= 1e-6
    network, program = run.levels[1].network(), torch.export.load(made.path).module()
    shape = made.record["description"]["input_shape"]
    for size in (1, 3):
        batch = torch.randn(size, *shape)
        torch.testing.assert_close(program(batch), network(batch), rtol=1e-5, atol=1e-5)


def test_pruned_weights_are_zero_and_ties_stay_ties(tmp_path):
    source = exportable(NETWORKS["tied"]())
    exporter().write(source, tmp_path / "network.pt2")
    state = torch.export.load(tmp_path / "network.pt2").state_dict
    assert state.keys() == source.network.state_dict().keys()
    for name, mask in source.masks.items():
        assert torch.equal(state[name] != 0, mask)
    assert state["inner.weight"].data_ptr() == state["again.weight"].data_ptr()


@pytest.mark.parametrize("name", ["torch-export", "compact"])
def test_it_says_what_it_is_and_nothing_of_the_machine_or_the_data(name, tmp_path):
    source = exportable(NETWORKS["resnet20"]())
    load_plugins().make("exporter", name).write(source, tmp_path / "network.pt2")
    described = {"sdd.json": ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=described)
    assert json.loads(described["sdd.json"]) == source.description
    assert not program.example_inputs[0][0].any()
    with zipfile.ZipFile(tmp_path / "network.pt2") as archive:
        for member in archive.namelist():
            assert b"site-packages" not in archive.read(member), member
            assert b".py\\\"" not in archive.read(member), member


class Failing(nn.Module):
    """A module whose forward pass cannot be traced, for one of several reasons."""

    def __init__(self, reason):
        super().__init__()
        self.reason = reason
        self.layer = nn.Linear(192, 10)

    def forward(self, images):
        numbers = images.flatten(1)
        if self.reason == "branch" and numbers.sum() > 0:
            numbers = numbers * 2
        if self.reason == "size":
            numbers = images.reshape(2, 192)
        if self.reason == "loop":
            return torch.stack([self.layer(numbers[i]) for i in range(len(numbers))])
        if self.reason == "file":
            numbers = numbers * len(Path("/nowhere/there").read_text())
        return self.layer(numbers)


@pytest.mark.parametrize(("reason", "message"), [
    ("branch", r"cannot trace Failing at 'if self.reason == \"branch\" and numbers.sum\(\) > 0:' "
     r"\(test_torch_export.py:\d+\): what it does depends on the values of its inputs; write"),
    ("size", "cannot trace Failing: its code is for one batch size only; write it with"),
    ("loop", "cannot trace Failing: its code is for one batch size only; write it with"),
    ("file", r"Failing at 'numbers = .*/nowhere/there.*: \[Errno 2\] No such file"),
])
def test_what_cannot_be_traced_is_one_line(reason, message, tmp_path, capfd):
    with pytest.raises(SddError, match=message) as refused:
        exporter().write(exportable(Failing(reason)), tmp_path / "network.pt2")
    assert "\n" not in str(refused.value)
    assert "state-dict" in str(refused.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


LOUD = """
import sys
import torch
from exported import exportable
from plugins.exporters.test_torch_export import Failing, exporter
from pathlib import Path
from sdd_core import SddError

try:
    exporter().write(exportable(Failing("branch")), Path(sys.argv[1]))
except SddError:
    print("refused")
"""


@pytest.mark.slow
def test_a_refusal_is_not_preceded_by_torch_s_log(tmp_path):
    """In a process of its own: torch logs to the standard error that was there when it was
    imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOUD, str(tmp_path / "network.pt2")], capture_output=True, text=True,
        cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_the_terminal_is_as_before(tmp_path, capfd, caplog):
    """What torch prints while it exports is dropped; later messages are not."""
    import logging
    import warnings

    exporter().write(exportable(NETWORKS["tied"]()), tmp_path / "network.pt2")
    assert capfd.readouterr() == ("", "")
    logging.getLogger("torch").error("later")
    assert "later" in caplog.text
    with pytest.warns(UserWarning, match="later"):
        warnings.warn("later", UserWarning, stacklevel=1)


def test_the_shape_is_that_of_the_images(tmp_path):
    exporter().write(exportable(NETWORKS["perceptron"]()), tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2")
    (inputs,) = (node.meta["val"].shape for node in program.graph.nodes
                 if node.name in program.graph_signature.user_inputs)
    assert re.fullmatch(r"s\d+", str(inputs[0]))
    assert tuple(inputs[1:]) == IMAGES
