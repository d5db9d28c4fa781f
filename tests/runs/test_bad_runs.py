"""One bad run hides no other: each is listed with its reason, by every command, and none hangs."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner
from support import go, small

import sdd_core
from runs.before_checksums import strip
from sdd_core import SddError, load_plugins
from sdd_core.cli import main
from sdd_core.files.reading import seal
from sdd_core.runs.open_run import open_run
from sdd_core.runs.store import Store

SETTINGS = small(levels=1, train={"epochs": 1}, model={"name": "mlp", "widths": [8]})
DEEP = 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return go(SETTINGS, tmp_path_factory.mktemp("made") / "store")


@pytest.fixture
def store(made, tmp_path):
    """A store with a good run and, to be made bad, a copy of it without checksums, so that it is
    what is in its files that is found wrong."""
    shutil.copytree(made.folder, tmp_path / "store" / "bad")
    strip(tmp_path / "store")
    shutil.copytree(made.folder, tmp_path / "store" / made.run)
    return tmp_path / "store"


def edit(name, change):
    """A harm: a JSON file with something changed."""

    def harm(run):
        file = run / name
        lines = [json.loads(line) for line in file.open()] if name.endswith("l") else [
            json.loads(file.read_text())]
        change(lines[0])
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return harm


def content(name, text):
    """A harm: a file with another content."""

    def harm(run):
        (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return harm


def instead(name, make):
    """A harm: something else where a file belongs."""

    def harm(run):
        (run / name).unlink()
        make(run / name)

    return harm


def sparse(path):
    with path.open("wb") as file:
        file.truncate(2**43)


HARMS = {
    **{f"{field} {value!r}": edit("metrics.jsonl", lambda row, f=field, v=value: row.update({f: v}))
       for field in ("level", "key", "sparsity", "density", "diverged", "metrics")
       for value in ("yes", -1, 1e308, None, [1], 10**400)},
    **{f"accuracy {value!r}": edit("metrics.jsonl",
                                   lambda row, v=value: row["metrics"].update(test_accuracy=v))
       for value in ("0.5", 1e308, -0.1, [0.5], {"a": 1}, True)},
    **{f"without {field}": edit("metrics.jsonl", lambda row, f=field: row.pop(f))
       for field in ("level", "key", "measured_by", "sparsity", "density", "diverged", "metrics")},
    **{f"examples {value!r}": edit("record.json",
                                   lambda one, v=value: one["data"].update(test_examples=v))
       for value in (0, -5, "797", 1e3, None, [], {}, True, 10**400)},
    **{f"{field} {value!r}": edit("record.json", lambda one, f=field, v=value: one.update({f: v}))
       for field in ("format", "device", "versions", "plugins", "data")
       for value in ({}, [], "x", None, 3.5)
       if [field, value] not in (["device", "x"], ["versions", {}], ["plugins", {}])},
    **{f"record {text[:9]}": content("record.json", text)
       for text in ("", "{}", "[]", "3", '"x"', "null", "[" * DEEP, '{"a":' * DEEP, "\0",
                    '{"format": ' + "9" * 5000 + "}")},
    **{f"experiment {text[:9]!r}": content("experiment.toml", text)
       for text in ("", "x", "[", "levels = 1e999", "levels = " + "9" * 5000, "a = " + "[" * DEEP,
                    "a." * 3000 + "b = 1", b"\xff\xfe", "levels = 'x'", "levels = -1",
                    "levels = 1\nmodel = 5", "levels = 1\n[[pruner]]", "levels = 1\ntrain = 5",
                    "levels = 1\nmodel = {name = 'mlp', widths = " + "[" * 300 + "]" * 300 + "}")},
    **{f"rows {text[:9]!r}": content("metrics.jsonl", text + "\n")
       for text in ("{}", "[]", "3", "null", "[" * DEEP, '{"level":' * DEEP, "\0\0")},
    **{f"{name} is {kind}": instead(name, make)
       for name in ("record.json", "experiment.toml", "metrics.jsonl")
       for kind, make in {
           "a pipe": os.mkfifo, "a folder": os.mkdir, "enormous": sparse,
           "a device": lambda path: path.symlink_to("/dev/zero"),
           "a circle": lambda path: path.symlink_to(path.name),
       }.items()},
}  # fmt: skip


def sdd(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


@pytest.mark.parametrize("harm", HARMS)
def test_a_bad_run_is_named_with_its_reason_and_the_others_are_there(store, made, harm):
    HARMS[harm](store / "bad")
    done = sdd("runs", "--store", store, "--json")
    levels = {row["run"]: row["levels"] for row in json.loads(done.stdout)}
    assert levels[made.run] == 2
    assert levels.keys() == {"bad", made.run}
    needs_no_plugin = harm.startswith("experiment 'levels ") and levels["bad"] == 2
    assert levels["bad"] is None or needs_no_plugin
    assert done.exit_code == (0 if needs_no_plugin else 1)
    done = sdd("table", "--store", store)
    assert done.exit_code == 1
    lines = [line for line in done.stderr.splitlines() if "run bad is left out: " in line]
    assert len(lines) == 1
    assert len(lines[0]) < 1000
    assert {row["run"] for row in sdd_core.table(store)} == {made.run}
    done = sdd("report", store / "bad")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(SddError) as refused:
        open_run(store / "bad", load_plugins()).result()
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_entered_is_listed(store, made, monkeypatch):
    works = os.stat

    def denied(path, *arguments, **named):
        if f"{os.sep}bad{os.sep}" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return works(path, *arguments, **named)

    monkeypatch.setattr(os, "stat", denied)
    done = sdd("runs", "--store", store, "--json")
    verdicts = {row["run"]: row["verdict"] for row in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert "Permission denied" in verdicts["bad"]
    assert verdicts.keys() == {"bad", made.run}


def test_a_run_that_lost_its_experiment_is_listed_and_other_folders_are_not(store, made):
    (store / "bad" / "experiment.toml").unlink()
    (store / "notes").mkdir()
    (store / "notes" / "record.json").write_text("{}")
    (store / "file.txt").write_text("")
    os.mkfifo(store / "pipe")
    rows = json.loads(sdd("runs", "--store", store, "--json").stdout)
    assert {row["run"]: row["levels"] for row in rows} == {"bad": None, made.run: 2}


def test_a_store_that_cannot_be_read_is_one_line(store, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", denied)
    for command in ("runs", "table", "plot"):
        done = sdd(command, "--store", store)
        assert done.exit_code == 2
        assert f"cannot read {store}: Permission denied" in done.stderr


def test_when_no_run_can_be_read_that_is_an_error(store, made):
    shutil.rmtree(store / made.run)
    (store / "bad" / "record.json").write_text("")
    for command in ("table", "plot"):
        done = sdd(command, "--store", store)
        assert done.exit_code == 2
        assert "no run can be read" in done.stderr


def test_what_was_set_aside_is_listed(store, made):
    level = next((go(SETTINGS, store).folder.parent / ".shared" / "levels").iterdir())
    (level / "masks.safetensors").write_bytes(b"")
    go(SETTINGS, store)
    done = sdd("runs", "--store", store)
    assert done.exit_code == 0
    aside = store / ".shared" / "damaged" / "levels" / level.name
    assert f"damaged, set aside: {aside}" in done.stdout
    done = sdd("runs", "--store", store, "--json")
    assert len(json.loads(done.stdout)) == 2
    assert str(aside) in done.stderr


@pytest.mark.parametrize("shape", [[10**15], [2**40, 2**40], [-8], [8, 0]])
def test_masks_that_claim_more_than_they_have_are_refused(tmp_path, shape):
    """With checksums that are right, as a stranger can make them."""
    import torch
    from safetensors.torch import save

    from sdd_core.files.entries import SUMS
    from sdd_core.files.reading import sha256

    result = go(SETTINGS, tmp_path)
    folder = Store(tmp_path).level_folder(result.levels[1].key)
    header = {"shapes": json.dumps({"hidden1.weight": shape})}
    bits = {"hidden1.weight": torch.zeros(1, dtype=torch.uint8)}
    (folder / "masks.safetensors").write_bytes(save(bits, header))
    sums = [f"{sha256(file)}  {file.name}\n" for file in folder.iterdir() if file.name != SUMS]
    (folder / SUMS).write_text("".join(sums))
    with pytest.raises(SddError, match=f"{folder} cannot be read") as refused:
        go(SETTINGS, tmp_path)
    assert "\n" not in str(refused.value)
    assert folder.is_dir()


def test_a_record_of_a_later_version_is_named_as_such(store, made):
    (store / "bad" / "record.json").write_text(seal({"format": 7, "new": "things"}, "record.json"))
    rows = json.loads(sdd("runs", "--store", store, "--json").stdout)
    assert "has format 7" in rows[0]["verdict"]
