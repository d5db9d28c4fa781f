"""What was measured on a level is not measured again, whatever else is asked for."""

import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from pydantic import PrivateAttr
from support import contents, end_of, go, plugins_with, small, start_child

from sdd_core import Executor, Metric, hookimpl, sweep
from sdd_core.runs.run_folder import RunFolder


class Counting(Metric):
    """Counts how often each of its instances is asked about each level."""

    name = "counting"
    calls: ClassVar[Counter] = Counter()

    factor: int = 1

    def measure(self, level):
        self.calls[self.factor, level.level] += 1
        kept = sum(int(mask.sum()) for mask in level.masks.values())
        return {f"times_{self.factor}": self.factor * kept / 3, "by_layer": {"a": self.factor}}


@pytest.fixture
def plugins():
    Counting.calls.clear()
    return plugins_with(sdd_metrics=[Counting])


def counting(*factors):
    return [{"name": "counting", "factor": factor} for factor in factors]


def lines(result):
    return (result.folder / "metrics.jsonl").read_text()


def test_overlapping_metrics_are_measured_once_and_make_the_rows_of_all_at_once(tmp_path, plugins):
    for factors in ((1, 2), (2, 3), (3, 1), (1, 2, 3)):
        last = go(small(metrics=counting(*factors)), tmp_path / "store", plugins=plugins)
    assert Counting.calls == {(factor, level): 1 for factor in (1, 2, 3) for level in range(3)}
    whole = go(small(metrics=counting(1, 2, 3)), tmp_path / "whole", plugins=plugins)
    assert lines(last) == lines(whole)
    assert last.levels == whole.levels


def test_a_run_has_only_the_metrics_that_it_was_asked_for(tmp_path, plugins):
    go(small(metrics=counting(1, 2)), tmp_path, plugins=plugins)
    fewer = go(small(metrics=counting(2)), tmp_path, plugins=plugins)
    assert set(fewer.levels[0].metrics) == {"times_2", "by_layer"}
    assert fewer.levels[0].metrics["by_layer"] == {"a": 2}, "the first one's is not in the way"


class Intruder:
    """Starts another process, which carries out the same run with other metrics, after a level of
    the first one. Nobody waits for it here: the next level may already train."""

    def __init__(self, level, intrude):
        self._level, self._intrude = level, intrude
        self.child = None

    @hookimpl
    def sdd_level_end(self, level):
        if level.level == self._level:
            self.child = start_child(self._intrude)


@pytest.mark.parametrize("level", range(3))
def test_two_processes_that_measure_different_things_keep_each_their_own(tmp_path, plugins, level):
    def metrics_of(result):
        return [set(one.metrics) for one in result.levels]

    def intrude():
        result = go(small(metrics=counting(2)), tmp_path / "store", plugins=plugins)
        assert metrics_of(result) == [{"times_2", "by_layer"}] * 3

    intruder = Intruder(level, intrude)
    first = go(small(metrics=counting(1)), tmp_path / "store", plugins=plugins,
               observers=[intruder])
    assert end_of(intruder.child) == 0
    assert metrics_of(first) == [{"times_1", "by_layer"}] * 3
    # In the folder there are the values of the one that ended last, not some of each.
    other = go(small(metrics=counting(2)), tmp_path / "other", plugins=plugins)
    found = RunFolder.of(first.experiment, tmp_path / "store").result().levels
    assert found in (first.levels, other.levels)


class Interrupted(ThreadPoolExecutor):
    """Carries out tasks here, and after each the same run with other metrics."""

    def __init__(self, intrude):
        super().__init__(1)
        self._intrude = intrude

    def submit(self, fn, /, *args, **kwargs):
        return super().submit(lambda: (fn(*args, **kwargs), self._intrude())[0])


class Shared(Executor):
    """Workers whose store another process uses too."""

    name = "shared"
    _intrude: Any = PrivateAttr()

    def open(self, width):
        return Interrupted(self._intrude)


def test_the_results_of_a_sweep_are_what_its_workers_measured(tmp_path):
    settings = small(metrics=["learning_distance"])
    executor = Shared()
    executor._intrude = lambda: go({**settings, "metrics": ["memorisation"]}, tmp_path)
    [result] = sweep(settings, store=tmp_path, executor=executor, device="cpu")
    assert all("learning_distance" in one.metrics for one in result.levels)
    assert [len(one.epochs) for one in result.levels] == [small()["train"]["epochs"]] * 3
    assert result.levels[2].masks.keys() == {"hidden1.weight", "output.weight"}


def test_runs_that_share_a_level_share_what_was_measured_on_it(tmp_path, plugins):
    for pruner in ("imp", "random"):
        go(small(pruner=pruner, metrics=counting(1)), tmp_path, plugins=plugins)
    assert Counting.calls == {(1, 0): 1, (1, 1): 2, (1, 2): 2}


def test_a_dense_network_of_which_other_layers_are_pruned_is_another_to_a_metric(tmp_path):
    usual = go(small(levels=0, metrics=["sparsity"]), tmp_path)
    settings = small(levels=0, metrics=["sparsity"], pruner={"name": "imp", "exempt": ["hidden*"]})
    other = go(settings, tmp_path)
    assert other.levels[0].key == usual.levels[0].key
    assert other.levels == go(settings, tmp_path / "alone").levels


def test_a_level_under_an_ablation_is_measured_itself(tmp_path, plugins):
    for ablation in (None, "reinit"):
        go(small(ablation=ablation, metrics=counting(1)), tmp_path, plugins=plugins)
    assert Counting.calls == {(1, 0): 1, (1, 1): 2, (1, 2): 2}


def test_rows_from_before_it_was_kept_by_metric_are_read(tmp_path, plugins):
    """A store that has no such file: its rows stay, and other metrics are measured."""
    first = go(small(metrics=counting(1)), tmp_path, plugins=plugins)
    shutil.rmtree(tmp_path / ".shared" / "metrics")
    again = go(small(metrics=counting(1)), tmp_path, plugins=plugins)
    assert again.levels == first.levels
    assert set(Counting.calls.values()) == {1}
    go(small(metrics=counting(1, 2)), tmp_path, plugins=plugins)
    assert Counting.calls[2, 0] == 1
    assert Counting.calls[1, 0] == 2


@pytest.mark.parametrize("harm", [b"", b"[]", b'{"key": 3}', b"\xff\xfe", b'{"key": {"a": 1'])
def test_what_is_damaged_is_measured_again(tmp_path, plugins, capsys, harm):
    first = go(small(metrics=counting(1)), tmp_path, plugins=plugins)
    before = contents(tmp_path)
    kept = tmp_path / ".shared" / "metrics" / f"{first.levels[1].key}.json"
    kept.write_bytes(harm)
    (first.folder / "metrics.jsonl").unlink()
    go(small(metrics=counting(1)), tmp_path, plugins=plugins)
    assert Counting.calls == {(1, 0): 1, (1, 1): 2, (1, 2): 1}
    # What was damaged is kept, and is in nobody's way.
    aside = f".shared/damaged/metrics/{kept.name}"
    assert contents(tmp_path) == before | {aside: harm}
    assert f"{kept} is damaged" in capsys.readouterr().err


def test_what_was_measured_survives_a_death_before_the_row_was_written(
    tmp_path, plugins, monkeypatch
):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "keep", die)
        with pytest.raises(KeyboardInterrupt):
            go(small(metrics=counting(1)), tmp_path, plugins=plugins)
    result = go(small(metrics=counting(1)), tmp_path, plugins=plugins)
    assert Counting.calls[1, 0] == 1
    assert [json.loads(line)["level"] for line in lines(result).splitlines()] == [0, 1, 2]
