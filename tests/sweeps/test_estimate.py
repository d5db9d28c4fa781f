"""How long a sweep says that it will take, held against simulated sweeps."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.plugin.discovery import load_plugins
from sdd_core.sweeps import expand
from sdd_core.sweeps.estimate import LEAST, Estimate
from sdd_core.sweeps.plan import Plan

LOOK = 0.5


def planned(*sweeps):
    return Plan.of(expand(sweeps, load_plugins()))


def arrivals(plan, workers, cost, start_up=0.0, jitter=0.1, seed=0):
    """When each level comes. Workers take the tasks in order, each when its parent is done; the
    first task of a worker waits for imports and compilation."""
    draw = random.Random(seed)
    free = [(start_up, number) for number in range(workers)]
    heapq.heapify(free)
    came, done = {}, []
    for task in plan.tasks:
        at, worker = heapq.heappop(free)
        depth = 0
        if task.parent is not None:
            at = max(at, done[task.parent][0])
            depth = done[task.parent][1]
        keys = task.keys
        levels = plan.experiments[task.run].levels
        if len(keys) > levels + 1:  # an ablation's level comes right behind its own
            own, ablated = keys[:levels + 1], keys[levels + 1:]
            keys = [own[0], *(key for pair in zip(own[1:], ablated, strict=True) for key in pair)]
        for number, key in enumerate(keys):
            level = depth + number if len(keys) == len(task.keys) else 0
            at += cost(level if keys is task.keys else (number + 1) // 2) * draw.uniform(
                1 - jitter, 1 + jitter)
            came[key] = at
        done.append((at, depth + len(keys)))
        heapq.heappush(free, (at, worker))
    return came


def said(plan, came):
    """What is said at each look: when, how long it will take, and how long it takes."""
    estimate, missing, end = Estimate(plan), set(plan.keys), max(came.values())
    found, now = [], 0.0
    while now < end:
        now += LOOK
        new = {key for key in missing if came[key] <= now}
        missing -= new
        if new:
            estimate.came(new, missing, now)
        if missing:
            found.append((now, estimate.left(missing), end - now))
    return found


def off(plan, came, of_the_whole=0.1):
    """How often too long or too short the worst of what was said is, while a tenth of the whole
    time, or more, is left; and when something was first said, as a share of the whole."""
    end = max(came.values())
    rated = [(now / end, max(left / true, true / left)) for now, left, true in said(plan, came)
             if left is not None and true > of_the_whole * end]
    return max(ratio for _, ratio in rated), rated[0][0]


def sparse(dense, least):
    """Levels whose time falls with the weights that are left."""
    return lambda level: least + (dense - least) * 0.8**level


SWEEPS = {
    "five seeds": (planned({"seed": list(range(5)), "levels": 25}), 2, sparse(4.5, 0.5)),
    "one core": (planned({"seed": list(range(4)), "levels": 32}), 1, sparse(6, 0.5)),
    "dense kernels": (planned({"seed": list(range(5)), "levels": 25}), 2, lambda level: 3.0),
    "a convolutional network": (planned({"seed": list(range(12)), "levels": 20}), 4,
                                sparse(90, 30)),
    "levels in common": (planned({"seed": list(range(3)), "levels": 20,
                                  "pruner": ["imp", "random", "gradient"]}), 3, sparse(9, 2)),
    "an ablation": (planned({"seed": list(range(4)), "levels": 15, "ablation": "reinit"}), 2,
                    sparse(9, 3)),
    "a few levels": (planned({"seed": list(range(30)), "levels": 3}), 2, sparse(9, 3)),
    "sparsities": (planned({"seed": list(range(6)), "pruner": {
        "name": "imp", "sparsity": [0.2, 0.4, 0.6, 0.7, 0.8, 0.9]}}), 2, sparse(20, 15)),
    "dense networks alone": (planned({"seed": list(range(50)), "levels": 0}), 4, lambda level: 30),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_what_is_said_is_worth_something(name):
    plan, workers, cost = SWEEPS[name]
    # The start-up takes as long as several levels; that must not be taken for their speed.
    worst, first = off(plan, arrivals(plan, workers, cost, start_up=4 * cost(0)))
    assert worst < 2
    assert first < 0.5


def test_the_first_levels_alone_say_nothing():
    plan, workers, cost = SWEEPS["five seeds"]
    found = said(plan, arrivals(plan, workers, cost, start_up=20))
    silent = [now for now, left, _ in found if left is None]
    # Imports, two dense levels and the four after them.
    assert silent[-1] > 20 + 5 * cost(4)
    assert all(left is not None for now, left, _ in found if now > silent[-1])


@pytest.mark.slow
@given(st.integers(1, 4), st.integers(2, 8), st.floats(2, 40), st.floats(0.1, 1), st.floats(0, 60),
       st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_of_any_such_sweep_it_is_right_within_a_factor(workers, seeds, dense, least, start, draw):
    plan = planned({"seed": list(range(seeds * workers)), "levels": 25})
    came = arrivals(plan, workers, sparse(dense, least * dense), start, seed=draw)
    worst, _ = off(plan, came)
    assert worst < 2.5


def test_networks_that_take_longer_are_not_judged_by_those_that_do_not():
    plan = planned({"seed": [0, 1], "levels": 8, "train": {"epochs": 5}},
                   {"seed": [0, 1], "levels": 8, "train": {"epochs": 500}})
    short = set(plan.tasks[0].keys) | set(plan.tasks[1].keys)
    estimate, missing = Estimate(plan), set(plan.keys)
    for now, keys in enumerate(zip(plan.tasks[0].keys, plan.tasks[1].keys, strict=True)):
        missing -= set(keys)
        estimate.came(set(keys), missing, float(now))
    assert short.isdisjoint(missing)
    assert estimate.left(missing) is None


def test_levels_that_retrain_for_other_epochs_are_not_judged_by_the_dense_one():
    """Level 1 takes a tenth of the dense level: that is not what sparsity saves."""
    plan = planned({"seed": list(range(6)), "levels": 20, "train": {"epochs": 40},
                    "retrain": {"name": "rewind", "epochs": 4}})
    worst, _ = off(plan, arrivals(plan, 2, lambda level: 4.0 if level else 40.0))
    assert worst < 1.6


def test_a_sweep_that_goes_on_does_not_count_what_was_there():
    plan = planned({"seed": [0, 1], "levels": 20})
    first, second = plan.tasks
    estimate, missing = Estimate(plan), {*first.keys[10:], *second.keys}
    estimate.came({first.keys[10]}, missing - {first.keys[10]}, 500.0)  # since when, nobody knows
    assert estimate.left(missing) is None
    for number, key in enumerate(first.keys[11:16], start=1):
        missing = {one for one in missing if one not in first.keys[10:11 + number]}
        estimate.came({key}, missing, 500.0 + 7 * number)
    assert estimate.left(missing) == pytest.approx(7 * len(missing))


def test_the_longest_chain_counts_where_others_are_idle():
    plan = planned({"seed": [0, 1], "levels": 20})
    first, second = plan.tasks
    estimate, missing = Estimate(plan), set(plan.keys)
    for number in range(10):
        keys = {first.keys[number], second.keys[number]}
        missing -= keys
        estimate.came(keys, missing, 10.0 * number)
    assert estimate.workers == 2
    assert estimate.left(missing) == pytest.approx(110)
    assert estimate.left(missing - set(second.keys)) == pytest.approx(110)


def test_levels_sparser_than_any_that_is_known_cost_no_less_than_a_share():
    plan = planned({"seed": [0, 1], "levels": 30})
    first = plan.tasks[0]
    estimate, missing, now = Estimate(plan), set(plan.keys), 0.0
    for number, key in enumerate(first.keys[:6]):
        now += 100 * 0.5**number
        missing.discard(key)
        estimate.came({key}, missing, now)
    last = 100 * 0.5**5
    assert estimate.left(missing) >= LEAST * last * len(missing) / estimate.workers
