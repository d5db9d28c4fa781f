"""What the real Weights & Biases keeps of a run without a network."""

import json
import struct

import pytest
import wandb
from support import go, small
from waiting import wait_until
from wandb.proto import wandb_internal_pb2

import sdd_core
from sdd_core import load_plugins
from sdd_core.testing import check_tracker

BLOCK, FULL, LAST = 32768, 1, 4


def test_settings_curves_and_the_figure(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    result = sdd_core.run(small(), store="store", trackers="wandb:my-project", device="cpu")
    (file,) = tmp_path.glob("store/wandb/offline-run-*/*.wandb")
    config, rows, project = {}, [], set()
    for record in _finished(file):
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        project |= {record.run.project} - {""}
        rows.append({
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        })
    assert project == {"my-project"}
    assert config["train.epochs"] == 3
    assert {row["level"]: row["level/test_accuracy"] for row in rows if "level" in row} == (
        pytest.approx(dict(enumerate(result.curve("test_accuracy"))))
    )
    last = [row for row in rows if "level 01/test_loss" in row]
    assert {row["epoch"]: row["level 01/test_loss"] for row in last} == {
        epoch["number"]: pytest.approx(epoch["test_loss"]) for epoch in result.levels[1].epochs
    }
    assert any(name.startswith("figure") for row in rows for name in row)


@pytest.mark.parametrize("fails", ["start", "log"])
def test_after_a_failure_the_same_run_can_start_again(tmp_path, monkeypatch, capfd, fails):
    monkeypatch.setenv("WANDB_MODE", "offline")
    started = wandb.init

    def broken(*words, **options):
        run = started(*words, **options)
        if fails == "start":
            raise RuntimeError("no route")
        run.define_metric = None
        return run

    with monkeypatch.context() as patch:
        patch.setattr(wandb, "init", broken)
        go(small(levels=0), tmp_path, trackers="wandb")
    assert "tracker 'wandb:sdd' failed" in capfd.readouterr().err
    go(small(levels=1), tmp_path, trackers="wandb")
    assert "warning" not in capfd.readouterr().err


def test_it_keeps_the_contract(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_tracker(load_plugins().get("tracker", "wandb"))


def _finished(file):
    """All records, as soon as W&B's own process has written the last one."""
    wait_until(lambda: any(record.HasField("exit") for record in _records(file)))
    return list(_records(file))


def _records(file):
    """The records in W&B's file: LevelDB's log format after seven bytes of its own."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # no room for a header: the block's end is padding
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + length > len(data):  # still being written
            return
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {FULL, LAST}:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record
