"""Which levels are trained by whom, and after what."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.experiment.keys import ablated_key, level_keys
from sdd_core.files.entries import level_folder
from sdd_core.plugin.discovery import load_plugins
from sdd_core.sweeps import expand
from sdd_core.sweeps.plan import Plan, Task

PLUGINS = load_plugins()


def plan(*files: dict[str, Any]) -> Plan:
    return Plan.of(expand(files, PLUGINS))


def shape(made: Plan) -> list[tuple[int, int | None, int, int | None]]:
    """The tasks with the number of their keys."""
    return [(task.run, task.levels, len(task.keys), task.parent) for task in made.tasks]


@given(
    seeds=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    pruners=st.lists(
        st.sampled_from([
            "imp",
            "random",
            {"name": "imp", "from_dense": True},
            {"name": "imp", "sparsity": [0.3, 0.5]},
            {"name": "imp", "sparsity": [0.3, 0.6]},
            {"name": "random", "sparsity": [0.3, 0.6], "from_dense": True},
        ]),
        min_size=1, max_size=4,
    ),
    retrain=st.lists(st.sampled_from(["rewind", "scratch"]), min_size=1, max_size=2),
    levels=st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=60)
def test_each_level_is_made_once_and_after_those_it_needs(
    seeds: list[int], pruners: list[Any], retrain: list[str], levels: int
) -> None:
    # A list of sparsities has a level for each.
    lists = [one for one in pruners if isinstance(one, dict) and "sparsity" in one]
    others = [one for one in pruners if one not in lists]
    made = plan(*({"seed": seeds, "pruner": some, "retrain": retrain, "levels": number}
                  for some, number in ((others, levels), (lists, 2)) if some))

    wanted = {key for one in made.experiments for key in level_keys(one)}
    assert len(made.keys) == len(set(made.keys))
    assert set(made.keys) == wanted
    assert all(task.parent is None or task.parent < n for n, task in enumerate(made.tasks))
    runs = [task for task in made.tasks if task.levels is None]
    assert [task.run for task in runs] == list(range(len(made.experiments)))
    for task in made.tasks:
        path = list(task.keys)
        before = task.parent
        while before is not None:
            path = [*made.tasks[before].keys, *path]
            before = made.tasks[before].parent
        keys = level_keys(made.experiments[task.run])
        # What a task and those before it make is what its run begins with, in order.
        assert path == keys[: len(keys) if task.levels is None else task.levels + 1]
    for position, task in enumerate(made.tasks):
        users = made.runs_after(position)
        if task.levels is not None:
            assert len(users) > 1
            # Without a branch inside, and as long as that goes.
            assert all(
                [run for run, one in enumerate(made.experiments) if key in level_keys(one)] == users
                for key in task.keys
            )
        else:
            assert users == [task.run]


def test_pruners_share_the_dense_network_of_their_seed() -> None:
    made = plan({"seed": [0, 1], "pruner": ["imp", "random"], "levels": 3})
    assert shape(made) == [
        (0, 0, 1, None), (0, None, 3, 0), (1, None, 3, 0),
        (2, 0, 1, None), (2, None, 3, 3), (3, None, 3, 3),
    ]  # fmt: skip
    assert len(made.keys) == 14
    assert made.shared == [*made.tasks[0].keys, *made.tasks[3].keys]
    assert made.runs_after(3) == [2, 3]


def test_a_single_run_is_one_task() -> None:
    made = plan({"levels": 3})
    assert made.tasks == (Task(0, None, tuple(level_keys(made.experiments[0])), None),)
    assert made.shared == []


def test_a_branch_further_down() -> None:
    made = plan({"pruner": {"sparsity": [[0.3, 0.5], [0.3, 0.6], [0.3, 0.6, 0.9]]}})
    # Levels 0 and 1 are common to all three, level 2 to the last two, one of which ends there.
    assert shape(made) == [
        (0, 1, 2, None), (0, None, 1, 0),
        (1, 2, 1, 0), (1, None, 0, 2), (2, None, 1, 2),
    ]  # fmt: skip
    assert made.runs_after(0) == [0, 1, 2]
    assert made.runs_after(2) == [1, 2]


def test_an_ablation_shares_all_levels_and_adds_its_own() -> None:
    ablation = PLUGINS.names("ablation")[0]
    made = plan({"levels": 2}, {"levels": 2, "ablation": ablation})
    assert shape(made) == [(0, 2, 3, None), (0, None, 0, 0), (1, None, 2, 0)]
    changed = made.experiments[1]
    assert changed.ablation is not None
    assert list(made.tasks[2].keys) == [
        ablated_key(key, changed.ablation) for key in level_keys(changed)[1:]
    ]


def test_looking_for_levels_makes_no_store(tmp_path: Path) -> None:
    made = plan({"seed": [0, 1], "levels": 1})
    assert made.whole(tmp_path / "none") == made.there(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
    # A folder that is there is not yet a level that is whole.
    level_folder(tmp_path, made.keys[1]).mkdir(parents=True)
    assert made.there(tmp_path) == [made.keys[1]]
    assert made.whole(tmp_path) == []
