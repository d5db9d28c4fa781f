"""Which experiments a file with lists stands for."""

import itertools
import math
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.plugin.discovery import load_plugins
from sdd_core.sweeps import expand
from sdd_core.sweeps.settings import list_depth, nesting

PLUGINS = load_plugins()

# Some fields, values for each, and how to see the value in an experiment.
FIELDS: dict[str, tuple[list[Any], Any]] = {
    "seed": ([0, 1, 2, 7], lambda one: one.seed),
    "noise.rate": ([0.0, 0.2, 0.4], lambda one: one.noise.rate),
    "pruner.name": (["imp", "random", "gradient"], lambda one: one.pruner.name),
    "train.decay.gamma": ([0.1, 0.5], lambda one: one.train.decay.gamma),
    "train.lr": ([0.1, 0.05], lambda one: one.train.lr),
    "model.widths": ([[8], [8, 4]], lambda one: list(one.model.widths)),
}


def some(**fields: Any) -> list[Experiment]:
    return expand([fields], PLUGINS)


def refusal(**fields: Any) -> str:
    with pytest.raises(SddError) as told:
        some(**fields)
    assert "\n" not in str(told.value)
    return str(told.value)


@st.composite
def lists(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Values, perhaps twice, for some of the fields, those of one section side by side."""
    names = draw(st.lists(st.sampled_from(list(FIELDS)), unique=True, min_size=1, max_size=4))
    order = [name.partition(".")[0] for name in names]
    names = sorted(names, key=lambda name: order.index(name.partition(".")[0]))
    return {
        name: draw(st.lists(st.sampled_from(FIELDS[name][0]), min_size=1, max_size=3))
        for name in names
    }


@given(lists())
@settings(max_examples=40)
def test_the_product_of_all_lists_in_order_and_none_twice(lists: dict[str, list[Any]]) -> None:
    nested: dict[str, Any] = {}
    for name, values in lists.items():
        *sections, option = name.split(".")
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
        table[option] = values
    # Without repetitions: of equal experiments the first stays.
    once = [[v for n, v in enumerate(vs) if v not in vs[:n]] for vs in lists.values()]

    found = expand([nested], PLUGINS)

    assert len(found) == math.prod(map(len, once))
    seen = [[FIELDS[name][1](one) for name in lists] for one in found]
    assert seen == [list(values) for values in itertools.product(*once)]
    assert [one.to_dict() for one in found] == [one.to_dict() for one in expand([nested], PLUGINS)]


def test_a_file_without_lists_is_one_experiment() -> None:
    fields = {"seed": 3, "noise": {"rate": 0.2}, "pruner": "random"}
    assert expand([fields], PLUGINS) == [Experiment.make(fields)]
    assert expand([{}], PLUGINS) == [Experiment.make()]


def test_a_field_that_is_a_list_takes_a_list_of_lists() -> None:
    [one] = some(model={"widths": [30, 10]}, train={"decay": {"milestones": [0.25, 0.5]}},
                 pruner={"exempt": ["fc1*"], "sparsity": [0.5, 0.75]}, metrics=["accuracy"])
    assert one.model.widths == (30, 10)
    assert one.train.decay.milestones == (0.25, 0.5)
    assert one.pruner.exempt == ("fc1*",)
    assert one.pruner.sparsity == (0.5, 0.75)
    found = some(model={"widths": [[30, 10], [20]]}, train={"decay": {"milestones": [[0.25], []]}})
    assert [(one.model.widths, one.train.decay.milestones) for one in found] == [
        ((30, 10), (0.25,)), ((30, 10), ()), ((20,), (0.25,)), ((20,), ()),
    ]  # fmt: skip
    # One number is a short way to write a list of one.
    found = some(pruner={"sparsity": [0.5, [0.5, 0.75]]})
    assert [one.pruner.sparsity for one in found] == [(0.5,), (0.5, 0.75)]
    assert [one.levels for one in found] == [1, 2]


def test_tables_with_their_own_options() -> None:
    tables = [{"name": "imp", "fraction": [0.2, 0.4]}, {"name": "gradient", "batches": 3}]
    found = some(pruner=[*tables, "random"], seed=[0, 1])
    seen = [(one.pruner.name, one.pruner.fraction, getattr(one.pruner, "batches", None), one.seed)
            for one in found]
    plugins = [("imp", 0.2, None), ("imp", 0.4, None), ("gradient", 0.2, 3), ("random", 0.2, None)]
    assert seen == [(*plugin, seed) for plugin in plugins for seed in (0, 1)]


def test_names_that_share_their_options() -> None:
    found = some(retrain={"name": ["rewind", "scratch"], "pruned": ["zero", "initial"]})
    assert [(one.retrain.name, one.retrain.pruned) for one in found] == [
        ("rewind", "zero"), ("rewind", "initial"), ("scratch", "zero"), ("scratch", "initial"),
    ]  # fmt: skip
    assert "pruner.batches" in refusal(pruner={"name": ["gradient", "imp"], "batches": 3})


def test_several_tables_of_training() -> None:
    found = some(train=[{"epochs": 3, "lr": [0.1, 0.2]}, {"epochs": 4}])
    assert [(one.train.epochs, one.train.lr) for one in found] == [(3, 0.1), (3, 0.2), (4, 0.1)]


def test_options_of_a_network_of_ones_own(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def net(width: int, sizes=(1, 2), other=None, *, shape: 'list[int]' = None): ...\n"
    (tmp_path / "own_network_of_the_sweep.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = {"name": "own_network_of_the_sweep:net", "width": [4, 8], "sizes": [3, 4],
             "other": [1, 2], "shape": [5, 6]}
    found = some(model=model)
    seen = [one.model.model_dump() for one in found]
    assert [(one["width"], one["other"]) for one in seen] == [(4, 1), (4, 2), (8, 1), (8, 2)]
    assert all(one["sizes"] == [3, 4] and one["shape"] == [5, 6] for one in seen)
    assert len(some(model={**model, "sizes": [[3], [4]], "other": 1, "width": 4})) == 2
    sys.modules.pop("own_network_of_the_sweep")


def test_several_files_and_nothing_twice() -> None:
    found = expand([{"seed": [0, 1]}, {"seed": [1, 2], "noise": {"rate": [0.4, 0]}}], PLUGINS)
    assert [(one.seed, one.noise.rate) for one in found] == [
        (0, 0.4), (1, 0.4), (1, 0.0), (2, 0.4), (2, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seed": []}, ["seed", "list is empty"]),
        ({"pruner": []}, ["pruner", "list is empty"]),
        ({"pruner": {"name": []}}, ["pruner.name", "list is empty"]),
        ({"noise": {"rate": [0.2, 1.5]}}, ["noise.rate", "1.5"]),
        ({"seed": [0, [1, 2]]}, ["seed", "[1, 2]"]),
        ({"seed": [0, "many"]}, ["seed", "'many'"]),
        ({"sead": [0, 1]}, ["sead", "no such setting"]),
        ({"pruner": ["imp", "rendom"]}, ["pruner", "'rendom'", "random"]),
        ({"pruner": ["imp", 3]}, ["pruner", "name"]),
        ({"pruner": [["imp"], ["random"]]}, ["pruner", "name"]),
        ({"pruner": [{"name": "imp"}, {"name": "imp", "batches": [1, 2]}]}, ["pruner.batches"]),
        ({"train": {"epochs": [3, -1]}}, ["train.epochs", "-1"]),
        ({"train": {"decay": {"milestones": [[0.5], [0.7, 0.3]]}}}, ["train", "[0.7, 0.3]"]),
        ({"levels": [2, 3]}, ["levels", "one run"]),
        ({"metrics": [["accuracy"], ["sparsity"]]}, ["metrics", "one run"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(fields: dict[str, Any], said: list[str]) -> None:
    message = refusal(**fields)
    assert message.startswith(said[0])
    assert all(word in message for word in said)


def test_depths() -> None:
    assert list_depth(int) == list_depth(str | None) == list_depth(dict[str, int]) == 0
    assert list_depth(tuple[int, ...]) == list_depth(list) == list_depth(set[str] | None) == 1
    assert list_depth(tuple[tuple[int, ...], ...] | int) == 2
    assert [nesting(value) for value in (3, "ab", {"a": [1]}, [], range(2), [0, [1]])] == [
        0, 0, 0, 1, 1, 2,
    ]  # fmt: skip
