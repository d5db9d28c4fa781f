"""Equal experiments, equal keys; what a level does not depend on, its key does not either."""

import json
import tomllib
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import plugins_with

from sdd_core import AddedLater, Experiment, Scope
from sdd_core.experiment.keys import dense_key, digest, identity, level_keys, run_name
from sdd_core.testing.fixtures import TinyNetwork, TinyPruner, TinySchedule

numbers = st.one_of(st.integers(-(2**31), 2**31), st.floats(allow_nan=False, allow_infinity=False))
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.text(max_size=5), numbers),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
some_settings = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**63 - 1),
        "levels": st.integers(0, 40),
        "noise": st.fixed_dictionaries(
            {"name": st.sampled_from(["symmetric", "pair-flip"]), "rate": st.floats(0, 1)}
        ),
        "train": st.fixed_dictionaries(
            {
                "lr": st.floats(1e-6, 10),
                "weight_decay": st.sampled_from([0, 0.0, -0.0, 1e-4, 1]),
                "decay": st.sampled_from(["steps", {"milestones": []}, {"milestones": [0.25]}]),
            }
        ),
        "pruner": st.sampled_from(["imp", {"name": "gradient", "batches": 3}, "random"]),
        "retrain": st.sampled_from(["scratch", {"name": "rewind", "to": 2}, "finetune"]),
    }
)


@given(documents)
@settings(max_examples=60)
def test_a_digest_depends_on_content_alone(document):
    shuffled = json.loads(json.dumps(document))
    if isinstance(shuffled, dict):
        shuffled = dict(reversed(shuffled.items()))
    assert digest(shuffled) == digest(document)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), ([2, 1.5], (2.0, 1.5))])
def test_equal_numbers_have_equal_digests(one, other):
    assert digest({"x": one}) == digest({"x": other})


@pytest.mark.parametrize("other", [True, "1", 1.5, None, [1]])
def test_unequal_values_have_unequal_digests(other):
    assert digest({"x": 1}) != digest({"x": other})


def test_a_digest_of_no_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        digest({"x": float("nan")})


@given(some_settings)
@settings(max_examples=40)
def test_a_toml_file_of_an_experiment_has_its_keys(chosen):
    experiment = Experiment.make(chosen)
    again = Experiment.make(tomllib.loads(experiment.to_toml()))
    assert again == experiment
    assert level_keys(again) == level_keys(experiment)
    assert run_name(again) == run_name(experiment)


def test_whole_numbers_may_be_written_either_way():
    one = Experiment.make({"train": {"lr": 1, "epochs": 3.0}, "noise": {"rate": 0}})
    other = Experiment.make({"train": {"lr": 1.0, "epochs": 3}, "noise": {"rate": -0.0}})
    assert one == other
    assert level_keys(one) == level_keys(other)
    assert run_name(one) == run_name(other)


BASE = Experiment.make({"levels": 3})

EVERY_LEVEL = [
    {"seed": 1},
    {"data": "cifar10"},
    {"noise": {"rate": 0.3}},
    {"noise": "pair-flip"},
    {"noise": {"among": "others"}},
    {"model": {"widths": [300]}},
    {"model": "resnet18"},
    {"train": {"epochs": 59}},
    {"train": {"batch_size": 64}},
    {"train": {"lr": 0.2}},
    {"train": {"optimizer": {"momentum": 0.8}}},
    {"train": {"weight_decay": 1e-4}},
    {"train": {"decay": {"milestones": [0.5]}}},
    {"train": {"decay": {"gamma": 0.2}}},
    {"train": {"augment": False}},
    {"kernels": "none"},
]
PRUNED_LEVELS = [
    {"pruner": "random"},
    {"pruner": {"fraction": 0.3}},
    {"pruner": {"scope": "layer"}},
    {"pruner": {"exempt": []}},
    {"pruner": {"include": ["hidden1"]}},
    {"pruner": {"keep_at_least": 1}},
    {"retrain": "scratch"},
    {"retrain": {"to": 4}},
    {"retrain": {"to": 4, "unit": "epoch"}},
]


@pytest.mark.parametrize("change", EVERY_LEVEL, ids=str)
def test_what_the_dense_network_depends_on_changes_every_key(change):
    changed = Experiment.make({"levels": 3, **change})
    assert not set(level_keys(changed)) & set(level_keys(BASE))
    assert run_name(changed) != run_name(BASE)


@pytest.mark.parametrize("change", PRUNED_LEVELS, ids=str)
def test_pruner_and_schedule_leave_the_dense_key(change):
    changed = Experiment.make({"levels": 3, **change})
    assert dense_key(changed) == dense_key(BASE) == level_keys(changed)[0]
    assert not set(level_keys(changed)[1:]) & set(level_keys(BASE)[1:])
    assert run_name(changed) != run_name(BASE)


def test_more_levels_and_other_metrics_are_the_same_run():
    more = Experiment.make({"levels": 5, "metrics": ["sparsity"]})
    assert level_keys(more)[:4] == level_keys(BASE)
    assert run_name(more) == run_name(BASE)


def test_every_level_has_a_key_of_its_own():
    assert len(set(level_keys(Experiment.make({"levels": 100})))) == 101


def test_a_raised_revision_is_another_method(monkeypatch):
    before = level_keys(BASE)
    monkeypatch.setattr(type(BASE.pruner), "revision", 2)
    after = level_keys(BASE)
    assert after[0] == before[0]
    assert not set(after[1:]) & set(before[1:])


def test_a_run_folder_has_a_name_that_every_file_system_takes():
    experiment = Experiment.make({"model": "os.path:join", "seed": 7})
    name = run_name(experiment)
    assert name.startswith("digits-os_path_join-imp-rewind-seed7-")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


class Everywhere(Scope):
    """All layers compete, as with the built-in one."""

    name = "everywhere"

    def shares(self, layers, count):
        return [(list(layers), count(sum(layer.kept for layer in layers.values()), 1))]


class Later(Everywhere):
    """Another revision of it."""

    revision = 2


def test_a_plugin_that_is_an_option_is_in_the_keys_with_its_class_and_revision():
    keys = [level_keys(BASE)]
    for scope in (Everywhere, Later):
        plugins = plugins_with(sdd_scopes=[scope])
        chosen = {"levels": 3, "pruner": {"scope": "everywhere"}}
        keys.append(level_keys(Experiment.make(chosen, plugins)))
    assert len({one[0] for one in keys}) == 1  # the dense network knows no scope
    assert len({key for one in keys for key in one[1:]}) == 9


def test_a_name_and_a_table_of_what_is_so_by_default_have_one_key():
    for name, table in (
        ({"optimizer": "AdamW"}, {"optimizer": {"name": "AdamW", "eps": 1e-8}}),
        ({"decay": "cosine"}, {"decay": {"name": "cosine"}}),
    ):
        keys = [dense_key(Experiment.make({"train": train})) for train in (name, table)]
        assert keys[0] == keys[1] != dense_key(BASE)
    other = {"train": {"optimizer": {"name": "AdamW", "eps": 1e-6}}}
    assert dense_key(Experiment.make(other)) != dense_key(
        Experiment.make({"train": {"optimizer": "AdamW"}})
    )


def with_an_option(base, **annotations):
    """A class with the name of `base` and one option more."""
    return type(base.__name__, (base,), {
        "__module__": base.__module__, "__qualname__": base.__qualname__,
        "__annotations__": annotations, "later": None,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("hook", "base", "chosen"),
    [
        ("sdd_pruners", TinyPruner, {"pruner": {"name": "kit"}}),
        ("sdd_schedules", TinySchedule, {"retrain": {"name": "kit"}}),
        ("sdd_models", TinyNetwork, {"model": {"name": "kit"}}),
        ("sdd_scopes", Everywhere, {"pruner": {"scope": {"name": "everywhere"}}}),
    ],
)
def test_an_option_that_is_added_later_is_in_no_key_at_its_default(hook, base, chosen):
    """Neither in those of levels nor in a run's name, whatever the plugin's kind."""

    def keys(plugin, **options):
        table = json.loads(json.dumps(chosen))
        section = table[next(iter(table))]
        section.get("scope", section).update(options)
        experiment = Experiment.make({"levels": 2, **table}, plugins_with(**{hook: [plugin]}))
        return level_keys(experiment), run_name(experiment)

    marked = with_an_option(base, later=Annotated[int | None, AddedLater()])
    plain = with_an_option(base, later=int | None)
    before = keys(base)
    assert keys(marked) == before
    assert keys(marked, later=3)[0][-1] != before[0][-1]
    assert keys(marked, later=3)[1] != before[1]
    assert keys(plain)[0][-1] != before[0][-1]


def test_what_is_added_later_is_written_down_all_the_same():
    experiment = Experiment.make({"pruner": {"include": ["a"], "keep_at_least": 0.1}})
    again = Experiment.make(tomllib.loads(experiment.to_toml()))
    assert (again.pruner.include, again.pruner.keep_at_least) == (("a",), 0.1)
    assert "pruner.include" in Experiment.make().settings()


@pytest.mark.parametrize("name", ["imp", "random", "wanda", "slimming"])
def test_pruners_have_the_keys_that_they_had_without_the_new_options(name):
    options = identity(Experiment.make({"pruner": name}).pruner)["options"]
    own = {"batches", "batch_size"} if name == "wanda" else set()
    assert options.keys() == {
        "name", "fraction", "sparsity", "from_dense", "scope", "exempt", *own,
    }


# Of format 2. A key that changes makes every user's levels of that experiment worthless: raise a
# plugin's `revision` where its results have changed, and FORMAT where all of them have.
PINNED = {
    "default": ({}, "6695e5deacb2", "cc491d07e7b3"),
    "another network": ({"model": {"name": "resnet20", "width": 8}, "data": "cifar10"},
                        "be1bcf452058", "53c69fe4a307"),
    "another optimizer": (
        {"train": {"optimizer": {"name": "AdamW", "eps": 1e-6}, "decay": "cosine"}},
        "cc32c81940b8", "a32cbe68f29b"),
    "pruned at once": (
        {"pruner": {"name": "snip", "sparsity": 0.9, "scope": "erk"}, "retrain": "scratch"},
        "6695e5deacb2", "8b44d4256e14"),
    "everything else": (
        {"seed": 7, "noise": {"name": "pair-flip", "rate": 0.25}, "loss": "distillation",
         "pruner": {"name": "gradient", "batches": 4, "exempt": ["output"]}, "ablation": "reinit",
         "train": {"optimizer": {"momentum": 0.5}, "decay": {"milestones": [0.25], "gamma": 0.2}},
         "kernels": "none"}, "d587ae81e0bb", "7672057b13b0"),
}  # fmt: skip


@pytest.mark.parametrize("name", PINNED)
def test_keys_are_what_they_were(name):
    fields, dense, last = PINNED[name]
    experiment = Experiment.make({"levels": 1, **fields})
    keys = level_keys(experiment)
    assert (keys[0][:12], keys[1][:12]) == (dense, last)


def test_a_class_that_moves_within_its_package_keeps_its_keys():
    moved = type("Renamed", (TinyPruner,), {"__module__": "sdd_core.somewhere.else"})
    stranger = type("Kit", (TinyPruner,), {"__module__": "another_package.pruners"})
    assert identity(moved()) == identity(TinyPruner())
    assert identity(stranger()) != identity(TinyPruner())
