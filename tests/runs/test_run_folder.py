"""A run's folder: what is written, that it is enough to go on, and what is refused."""

import json
import math
import shutil

import pytest
from safetensors import safe_open
from support import Log, contents, go, small

import sdd_core
from sdd_core import Experiment, SddError, load_plugins
from sdd_core.experiment.settings import read_toml
from sdd_core.files.reading import seal
from sdd_core.installation import DISTRIBUTION
from sdd_core.runs.level_files import LEVEL_FILES
from sdd_core.runs.open_run import open_run
from sdd_core.runs.run_folder import RunFolder
from sdd_core.runs.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one run, to be copied."""
    store = tmp_path_factory.mktemp("made") / "store"
    return go(small(), store)


@pytest.fixture
def result(made, tmp_path):
    """A run in a store of its own."""
    shutil.copytree(made.folder.parent, tmp_path / "store")
    return go(small(), tmp_path / "store")


def test_what_is_in_it(result):
    files = (*LEVEL_FILES, "SHA256SUMS")
    names = {f"levels/0{level}/{name}" for level in range(3) for name in files}
    assert set(contents(result.folder)) == names | {
        "experiment.toml", "record.json", "metrics.jsonl"
    }
    record = json.loads((result.folder / "record.json").read_text())
    assert record["data"] == {
        "train_examples": 1000, "test_examples": 797, "classes": 10, "changed_labels": 353,
        "guessing": 92 / 797,
    }
    assert record["noise"] == {"name": "symmetric", "rate": 0.4, "among": "all"}
    assert record["device"] == "cpu"
    assert {DISTRIBUTION, "torch", "numpy", "safetensors"} <= record["versions"].keys()
    assert record["versions"][DISTRIBUTION] == sdd_core.__version__
    assert record["plugins"].keys() == {
        "data", "noise", "model", "pruner", "retrain", "metrics",
        "train.optimizer", "train.decay", "pruner.scope",
    }
    assert record["plugins"]["metrics"]["accuracy"] == {
        "distribution": DISTRIBUTION, "version": sdd_core.__version__
    }
    assert record["plugins"]["pruner"] == {
        "distribution": DISTRIBUTION, "version": sdd_core.__version__
    }
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").open()]
    assert [row["level"] for row in rows] == [0, 1, 2]
    assert [row["metrics"] for row in rows] == [dict(level.metrics) for level in result.levels]


def test_levels_are_the_stores_own_files(result):
    for level in result.levels:
        folder = Store(result.folder.parent).level_folder(level.key)
        for name in LEVEL_FILES:
            assert (result.folder / "levels" / f"{level.level:02d}" / name).samefile(folder / name)


def test_weights_and_masks_can_be_read_by_anybody(result):
    folder = result.folder / "levels" / "02"
    with safe_open(folder / "weights.safetensors", "np") as weights:
        kept = weights.get_tensor("hidden1.weight")
    with safe_open(folder / "masks.safetensors", "np") as masks:
        assert json.loads(masks.metadata()["shapes"])["hidden1.weight"] == [16, 64]
        bits = masks.get_tensor("hidden1.weight")
    assert kept.size == round(result.levels[2].density * 16 * 64)
    assert sum(int(byte).bit_count() for byte in bits) == kept.size


def test_the_experiment_in_it_repeats_the_run(result, tmp_path):
    settings = read_toml(result.folder / "experiment.toml")
    assert Experiment.make(settings) == result.experiment
    again = go(settings, tmp_path / "other")
    assert again.run == result.run
    assert contents(again.folder) == contents(result.folder)


def test_a_run_can_be_opened_again(result):
    run = open_run(result.folder, load_plugins())
    assert run.experiment == result.experiment
    assert run.result().levels == result.levels


def test_a_record_with_the_distributions_earlier_name_is_of_the_same_plugins(tmp_path, capsys):
    file = go(small(), tmp_path).folder / "record.json"
    text = file.read_text()
    assert f'"distribution": "{DISTRIBUTION}"' in text
    earlier = json.loads(text.replace(f'"{DISTRIBUTION}"', '"sdd"'))
    del earlier["checksum"]
    file.write_text(seal(earlier, file.name))
    capsys.readouterr()
    go(small(), tmp_path)
    assert capsys.readouterr().err == ""


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(SddError, match="is not a run folder"):
        open_run(tmp_path, load_plugins())


@pytest.mark.parametrize(
    "record", ['{"format": 999}', {"format": 999, "anything": ["else"]}], ids=["bare", "sealed"]
)
def test_a_folder_of_another_version_is_refused_and_left_alone(result, record):
    message = "has format 999, but this version of sdd reads 2; use another --store"
    file = result.folder / "record.json"
    file.write_text(record if isinstance(record, str) else seal(record, file.name))
    before = contents(result.folder.parent)
    for attempt in (
        lambda: go(small(), result.folder.parent),
        lambda: open_run(result.folder, load_plugins()),
    ):
        with pytest.raises(SddError, match=message) as refused:
            attempt()
        assert "\n" not in str(refused.value)
    assert contents(result.folder.parent) == before


@pytest.mark.parametrize("harm", ["cut", "noise", "missing field", "text", "remove"])
def test_damaged_rows_are_measured_again_and_nothing_is_trained(result, capsys, harm):
    before = contents(result.folder)
    file = result.folder / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    if harm == "cut":
        file.write_text(lines[0] + lines[1] + lines[2][:40])
    elif harm == "noise":
        file.write_bytes(b"\xff\0\xff\n" + "".join(lines[1:]).encode())
    elif harm == "missing field":
        file.write_text(lines[0] + json.dumps({"level": 1}) + "\n" + lines[2])
    elif harm == "text":
        row = json.loads(lines[1])
        texts = row["metrics"] | {"test_accuracy": "bad"}
        harmed = [row | {"metrics": texts}, row | {"sparsity": "half"}, row | {"metrics": []}]
        file.write_text("".join(json.dumps(row) + "\n" for row in harmed))
    else:
        file.unlink()
    log = Log()
    again = go(small(), result.folder.parent, observers=[log])
    assert log.levels == []
    assert again.levels == result.levels
    assert contents(again.folder) == before
    # A line without an end is what a process leaves that is killed while it writes it.
    said = "metrics.jsonl is damaged" in capsys.readouterr().err
    assert said == (harm not in {"remove", "cut"})


@pytest.mark.parametrize("content", [b"seed = ", b"\xff", b'levels = "many"'])
def test_a_damaged_experiment_file_is_written_anew(result, content):
    before = contents(result.folder)
    (result.folder / "experiment.toml").write_bytes(content)
    with pytest.raises(SddError) as refused:
        open_run(result.folder, load_plugins())
    assert "\n" not in str(refused.value)
    go(small(), result.folder.parent)
    assert contents(result.folder) == before


def test_a_level_that_was_deleted_from_the_folder_comes_back(result):
    before = contents(result.folder)
    shutil.rmtree(result.folder / "levels" / "01")
    with pytest.raises(SddError, match=r"levels/01/SHA256SUMS is missing or damaged"):
        RunFolder(result.run, result.folder, result.experiment).result()
    log = Log()
    go(small(), result.folder.parent, observers=[log])
    assert log.levels == []
    assert contents(result.folder) == before


def test_the_shared_levels_may_be_deleted(result):
    """The run's folder has all that it needs to be read."""
    shutil.rmtree(result.folder.parent / ".shared")
    assert open_run(result.folder, load_plugins()).result().levels == result.levels


def test_the_epochs_of_every_level_are_in_the_result(result):
    for level in result.levels:
        assert [epoch["number"] for epoch in level.epochs] == [1, 2, 3]
        assert [epoch["step"] for epoch in level.epochs] == [8, 16, 24]
        assert level.epochs[-1]["test_accuracy"] == level.metrics["test_accuracy"]


def test_curves(result):
    assert result.sparsity == [level.sparsity for level in result.levels]
    curve = result.curve("test_accuracy")
    assert curve == [level.metrics["test_accuracy"] for level in result.levels]
    assert all(map(math.isnan, result.curve("no such metric")))
