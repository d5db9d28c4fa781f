"""`sdd export`: what it prints, and what it refuses in one line."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from safetensors.torch import load_file

import sdd_core
from cli.conftest import FAST, LEARNS, refused


@pytest.fixture
def store(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs")


def folder_of(store: Path) -> Path:
    (folder,) = store.glob("digits*")
    return folder


def test_what_it_prints(sdd, store, tmp_path):
    folder = folder_of(store)
    level = sdd_core.load_run(folder).levels[1]
    done = sdd("export", "digits", "--level", "20%", "--output", "out/x.safetensors")
    assert done.exit_code == 0, done.output
    first, second = done.stdout.splitlines()
    size = (tmp_path / "out/x.safetensors").stat().st_size
    assert first == f"wrote out/x.safetensors: {size:,} bytes, level 1, 20.1 % sparse"
    accuracy = level.metrics["test_accuracy"]
    assert second.startswith("test accuracy 0.")
    assert second.endswith(f"(run: {accuracy:.4f}); logits equal bit for bit on 797 test examples")
    assert load_file(tmp_path / "out/x.safetensors").keys() == level.state_dict().keys()
    document = json.loads(sdd("export", folder, "--format=torch-prune", "--json").stdout)
    assert Path(document["path"]).parent == folder / "exports"
    assert document["format"] == "torch-prune"


def test_without_the_data_it_says_so(sdd, store):
    done = sdd("export", "digits", "--no-data")
    assert done.exit_code == 0
    assert "logits equal bit for bit on random inputs only (the data were not asked for); test " \
           "accuracy of the run: 0." in done.stdout


@pytest.mark.parametrize(("words", "message"), [
    (("digits", "--level=9"), "has no level 9; it has levels 0 to 1"),
    (("digits", "--level=99%"), "has no level near 99.0 % sparsity"),
    (("digits", "--level=soon"), "level 'soon' is unknown; expected a level's number"),
    (("digits", "--format=onyx"), "unknown export format 'onyx'"),
    (("digits", "--format.opset=3"), "No such option"),
    (("nobody",), "no run 'nobody' in runs"),
    (("digits", "--output="), "an empty name; expected a file or folder"),
    (("digits", "--output=runs"), "runs already exists; delete it, or choose another --output"),
    (("digits", "--output=file/x"), "file/x"),
])
def test_bad_input_is_one_line_and_nothing_is_written(sdd, store, tmp_path, words, message):
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert message in refused(sdd("export", *words))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_of_several_runs(sdd, store):
    assert sdd("run", *FAST, "--seed", "1", "--quiet").exit_code == 0
    assert "'digits' matches 2 runs in runs; use a longer name" in refused(sdd("export", "digits"))


@pytest.mark.parametrize("harm", ["weights", "record", "row"])
def test_a_damaged_run(sdd, store, harm):
    folder = folder_of(store)
    name = {"weights": "levels/01/weights.safetensors", "record": "record.json",
            "row": "metrics.jsonl"}[harm]
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    line = refused(sdd("export", "digits", "--level=1"))
    assert "damaged" in line
    assert "`sdd resume " in line
    assert not (folder / "exports").exists()


NETS = """
    import os
    from torch import nn
    open(os.environ["SDD_TEST_DIARY"], "a").write("imported ")

    def make(num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, num_classes))
"""


@pytest.fixture
def own(sdd, tmp_path, monkeypatch):
    """A run of a network in a file, and a function that forgets the module."""


    monkeypatch.setenv("SDD_TEST_DIARY", str(tmp_path / "diary"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_to_export.py").write_text(textwrap.dedent(NETS))

    def forget():
        sys.modules.pop("nets_to_export", None)

    done = sdd("run", "--model=nets_to_export:make", "--levels", "1", "--train.epochs", "1",
               "--device", "cpu", "--quiet", *LEARNS)
    assert done.exit_code == 0, done.output
    forget()
    yield forget
    forget()


def imports(tmp_path):
    return (tmp_path / "diary").read_text().count("imported")


def test_a_network_in_a_file_is_imported_when_it_is_made(sdd, own, tmp_path):
    (folder,) = (tmp_path / "runs").glob("digits*")
    result = sdd_core.load_run(folder)
    assert result.levels[1].state_dict()
    assert result.levels[1].masks
    assert imports(tmp_path) == 1
    result.levels[1].network()
    assert imports(tmp_path) == 2
    assert sdd("export", folder).exit_code == 0


def test_a_network_in_a_file_that_has_changed_needs_trust(sdd, own, tmp_path):
    (folder,) = (tmp_path / "runs").glob("digits*")
    file = tmp_path / "nets_to_export.py"
    file.write_text(file.read_text() + "# changed\n")
    line = refused(sdd("export", folder))
    assert "has another source; making the network imports and executes it, so read it" in line
    assert "--trust" in line
    assert imports(tmp_path) == 1
    with pytest.raises(sdd_core.SddError, match="trust=True"):
        sdd_core.load_run(folder).levels[1].network()
    assert imports(tmp_path) == 1
    assert sdd("export", folder, "--trust").exit_code == 0
    assert imports(tmp_path) == 2
    own()
    assert sdd_core.load_run(folder, trust=True).levels[1].network()
    file.write_text(file.read_text().replace("Linear(64, 4)", "Linear(64, 5)").replace(
        "Linear(4,", "Linear(5,"))
    own()
    line = refused(sdd("export", folder, "--trust", "--output=x"))
    assert "Sequential is not the network of " in line
    assert "1.weight is [4, 64] there and [5, 64] in the network" in line
    file.unlink()
    own()
    assert "cannot import 'nets_to_export:make'" in refused(
        sdd("export", folder, "--trust", "--output=x"))
