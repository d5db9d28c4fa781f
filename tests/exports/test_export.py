"""An artefact appears when it is complete and right, and else nothing does."""

from __future__ import annotations

import copy
import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import go, plugins_with, small

import sdd_core
from exports.cases import DIGITS, own, run_of
from sdd_core import Exporter, SddError
from sdd_core.plugin.kinds.exporter import Exportable
from sdd_core.runs.record import read_record, write_record


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> sdd_core.Result:
    return run_of("perceptron", tmp_path_factory.mktemp("store"))


class Planted(Exporter):
    """A format with a fault."""

    name = "planted"
    suffix = ".bin"
    fault: str = ""

    def write(self, source: Exportable, path: Path):
        state = {name: tensor.clone() for name, tensor in source.network.state_dict().items()}
        if self.fault == "weight":
            state["output.bias"][3] += 0.01
        if self.fault == "in place":
            source.network.output.bias.add_(1.0)
            state = dict(source.network.state_dict())
        save_file(state, path)
        if self.fault == "nothing":
            path.unlink()
        if self.fault == "half":
            path.write_bytes(path.read_bytes()[:-10])
        if self.fault == "raises":
            raise RuntimeError("no\nspace")
        return {"tensors": torch.ones(2) if self.fault == "facts" else len(state)}

    def load(self, path: Path, source: Exportable):
        network = copy.deepcopy(source.network)
        network.load_state_dict(load_file(path))
        if self.fault == "one batch size":
            return lambda inputs: network(inputs)[:2]
        if self.fault == "nan":
            return lambda inputs: network(inputs) * torch.tensor([1.0] * 9 + [torch.nan])
        if self.fault == "test set":  # right on random inputs, of which there are few
            return lambda inputs: network(inputs) + (len(inputs) > 100)
        return network


PLUGINS = plugins_with(sdd_exporters=[Planted])


def export(result, **changes):
    return sdd_core.export(result, plugins=PLUGINS, **changes)


@pytest.mark.parametrize(("fault", "message"), [
    ("weight", "does not compute what the network computes (its logits differ from the network's"),
    ("in place", "does not compute what the network computes"),
    ("nothing", "export format 'planted' wrote no file"),
    ("half", "export format 'planted' failed: SafetensorError"),
    ("raises", "export format 'planted' failed: RuntimeError: no space"),
    ("one batch size", "it returns [2, 10] instead of logits [7, 10]"),
    ("facts", "export format 'planted' failed: TypeError: Object of type Tensor is not JSON"),
    ("nan", "its logits are not finite where the network's are"),
    ("test set", "does not compute what the network computes"),
])
def test_a_fault_is_refused_in_one_line_and_leaves_nothing(result, tmp_path, fault, message):
    with pytest.raises(SddError) as told:
        export(result, format={"name": "planted", "fault": fault}, output=tmp_path / "a" / "b.bin")
    assert message in str(told.value)
    assert str(told.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_a_small_difference_is_rounding_and_is_recorded(result, tmp_path):
    class Rounded(Planted):
        """Rounds."""

        name = "rounded"

        def load(self, path, source):
            network = super().load(path, source)
            return lambda inputs: network(inputs) * (1 + 3e-6)

    plugins = plugins_with(sdd_exporters=[Rounded])
    made = sdd_core.export(result, format="rounded", output=tmp_path / "x", plugins=plugins)
    assert 1e-7 < made.record["checked"]["difference"] < 1e-5
    assert made.record["facts"] == {"tensors": 4}


def test_the_record_says_what_was_written_and_how_it_was_checked(result, tmp_path):
    made = export(result, format=Planted(), level="75%", output=tmp_path / "network.bin")
    assert {file.name for file in tmp_path.iterdir()} == {"network.bin", "network.bin.json"}
    record = json.loads((tmp_path / "network.bin.json").read_text())
    assert record == made.record
    data = result.experiment.data.load(None)
    assert record["bytes"] == made.path.stat().st_size
    assert record["checked"]["test_examples"] == len(data.test)
    assert record["checked"]["test_accuracy"] == pytest.approx(record["run_test_accuracy"],
                                                               abs=0.01)
    assert record["run_test_accuracy"] == result.levels[2].metrics["test_accuracy"]
    assert record["description"]["level"] == 2
    assert len(repr(made)) < 300


def test_files_can_be_read_by_whom_the_system_lets(result, tmp_path):
    before = os.umask(0o022)
    try:
        made = sdd_core.export(result, output=tmp_path / "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o644


def test_the_usual_place_is_in_the_runs_folder_and_takes_a_format_once(tmp_path):
    result = run_of("perceptron", tmp_path)
    for format in ("state-dict", "torch-prune"):
        made = sdd_core.export(result.folder, format=format, level=1)
        assert made.path == result.folder / "exports" / f"level-01-{format}.safetensors"
        with pytest.raises(SddError, match="already exists; delete it, or choose another --output"):
            sdd_core.export(result.folder, format=format, level=1)
    assert sdd_core.load_run(result.folder) == result  # it is still a run


@pytest.mark.parametrize("taken", ["x", "x.json"])
@pytest.mark.parametrize("what", ["file", "folder", "broken link"])
def test_what_is_there_is_not_replaced(result, tmp_path, taken, what):
    {"file": lambda path: path.write_text("mine"), "folder": Path.mkdir,
     "broken link": lambda path: path.symlink_to("nowhere")}[what](tmp_path / taken)
    with pytest.raises(SddError, match=f"{taken} already exists"):
        export(result, output=tmp_path / "x")
    assert [file.name for file in tmp_path.iterdir()] == [taken]


@pytest.mark.parametrize("error", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_where_nothing_can_be_written_a_line_says_so(result, tmp_path, monkeypatch, error):
    def refuse(path, *_, **__):
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SddError) as told:
        export(result, output=tmp_path / "a" / "x")
    assert f"cannot write {tmp_path / 'a' / 'x'}: {os.strerror(error)}" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_below_a_file_nothing_can_be_written(result, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SddError) as told:
        export(result, output=tmp_path / "file" / "x")
    assert str(told.value).isprintable()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_format_for_folders(result, tmp_path):
    class Folder(Planted):
        """A folder."""

        name = "folder"
        suffix = ""

        def write(self, source, path):
            path.mkdir()
            return super().write(source, path / "weights")

        def load(self, path, source):
            return super().load(path / "weights", source)

    plugins = plugins_with(sdd_exporters=[Folder])
    made = sdd_core.export(result, format="folder", output=tmp_path / "x", plugins=plugins)
    assert {file.name for file in made.path.iterdir()} == {"weights", "export.json"}
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert made.record["bytes"] == (made.path / "weights").stat().st_size
    with pytest.raises(SddError, match="wrote no folder"):
        sdd_core.export(result, format=_AsFile(), output=tmp_path / "y")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


class _AsFile(Planted):
    """Says that it writes a folder."""

    name = "as-file"
    suffix = ""


def test_a_missing_library_is_named_before_anything_is_read(tmp_path):
    class Needy(Planted):
        """Needs something."""

        name = "needy"
        package = "no_such_package"

    plugins = plugins_with(sdd_exporters=[Needy])
    with pytest.raises(SddError, match="export format 'needy' needs no_such_package, which is not "
                       "installed; install it"):
        sdd_core.export(tmp_path, format="needy", plugins=plugins)
    with pytest.raises(SddError, match="unknown export format 'onyx'; "):
        sdd_core.export(tmp_path, format="onyx")
    with pytest.raises(SddError, match="export format 'planted': fault: "):
        export(tmp_path, format={"name": "planted", "fault": 3})


def test_a_level_that_diverged_is_refused(tmp_path):
    result = go(small(train={"epochs": 1, "lr": 1e25}, levels=0), tmp_path)
    with pytest.raises(SddError, match="level 0 diverged, so it has no trained network"):
        sdd_core.export(result, level=0)
    assert not (result.folder / "exports").exists()


def test_without_the_data_random_inputs_are_compared(tmp_path):
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(40, 1, 8, 8, generator=draw)
    data = ((images, torch.arange(40) % 10), (images, torch.arange(40) % 10))
    result = run_of("perceptron", tmp_path, data=data)
    here = sdd_core.export(result, level=1, output=tmp_path / "here")
    assert here.record["checked"]["test_examples"] == 40
    gone = sdd_core.export(result.folder, level=1, output=tmp_path / "gone")
    assert gone.record["checked"]["test_examples"] == 0
    assert gone.record["checked"]["test_accuracy"] is None
    assert "was passed in Python" in gone.record["checked"]["not_tested"]
    unasked = sdd_core.export(result, level=1, output=tmp_path / "unasked", data=False)
    assert unasked.record["checked"]["not_tested"] == "the data were not asked for"
    assert here.path.read_bytes() == gone.path.read_bytes() == unasked.path.read_bytes()


class Words(torch.nn.Module):
    """Looks up the words whose numbers are its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(20, 8)
        self.last = torch.nn.Linear(8, 2)

    def forward(self, numbers):
        return self.last(self.words(numbers.long()).mean(1))


def test_a_network_that_accepts_no_random_inputs_is_compared_on_the_data(tmp_path):
    numbers = torch.arange(120.0).view(30, 4) % 20
    data = ((numbers, torch.arange(30) % 2), (numbers, torch.arange(30) % 2))
    result = go({"data": data, "model": Words(), "train": {"epochs": 1}, "levels": 1}, tmp_path)
    made = sdd_core.export(result, level=1, output=tmp_path / "x")
    assert made.record["checked"]["test_examples"] == 30
    with pytest.raises(SddError, match="accepts no random inputs and the test set is not here"):
        sdd_core.export(result, level=1, output=tmp_path / "y", data=False)


def test_other_data_than_those_of_the_run_are_not_used(tmp_path):
    result = run_of("perceptron", tmp_path)
    found = read_record(result.folder)
    sizes = found.data.model_copy(update={"test_examples": 5})
    write_record(result.folder, found.model_copy(update={"data": sizes}))
    made = sdd_core.export(result.folder, level=1, output=tmp_path / "x")
    assert "are not those of the run" in made.record["checked"]["not_tested"]


OTHER_PROCESS = """
import socket, sys, torch
def refuse(*_): raise OSError("no network here")
socket.socket.connect = refuse
import sdd_core
from sdd_core.plugin.discovery import load_plugins
for source in load_plugins().rows:
    if source.kind == "data":
        source.plugin.load = lambda *_: (_ for _ in ()).throw(FileNotFoundError("no data here"))
result = sdd_core.load_run(sys.argv[1])
torch.save({"state": result.recommended.state_dict(), "at": result.at(sparsity=0.75).level},
           sys.argv[2])
made = sdd_core.export(result, output=sys.argv[3])
assert "no data here" in made.record["checked"]["not_tested"]
assert "torchvision" not in sys.modules
"""


@pytest.mark.slow
def test_in_another_process_without_the_data_it_is_the_same(result, tmp_path):
    state, path = tmp_path / "state", tmp_path / "x.safetensors"
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, result.folder, state, path], check=True)
    found = torch.load(state, weights_only=True)
    assert found["at"] == 2
    expected = result.recommended.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found["state"].items())
    assert load_file(path).keys() == expected.keys()


def test_a_network_that_was_passed_in_python_is_passed_again(tmp_path):
    result = go({"data": DIGITS, "train": {"epochs": 1}, "levels": 1, "model": own()}, tmp_path)
    later = sdd_core.load_run(result.folder)
    assert later == result
    assert later.levels[1].state_dict().keys() == own().state_dict().keys()
    with pytest.raises(SddError, match=r"was passed in Python; pass it again, "
                       r"sdd_core\.load_run\(folder, model=\.\.\.\)"):
        later.levels[1].network()
    module = own()
    for model in (module, own):
        network = sdd_core.load_run(result.folder, model=model).levels[1].network()
        assert torch.equal(network.last.weight, result.levels[1].network().last.weight)
    assert torch.equal(module.last.weight, own().last.weight)  # it is copied
    made = sdd_core.export(result.folder, level=1, model=own, output=tmp_path / "x")
    assert made.record["checked"]["test_examples"] == 797


def test_another_network_is_refused_at_once(tmp_path):
    result = go({"data": DIGITS, "train": {"epochs": 1}, "levels": 1, "model": own()}, tmp_path)
    module = own()
    module.last = torch.nn.Linear(8, 11)
    del module.norm
    with pytest.raises(SddError) as told:
        sdd_core.load_run(result.folder, model=module)
    message = str(told.value)
    assert "Own is not the network of " in message
    assert "last.weight is [10, 8] there and [11, 8] in the network" in message
    assert "norm" in message or "more)" in message
    with pytest.raises(SddError, match="model: expected a name, a table, a"):
        sdd_core.load_run(result.folder, model=3)
