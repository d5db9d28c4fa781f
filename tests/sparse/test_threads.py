"""Threads that work on one network together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdd_core.sparse.barrier import share, share_of_weights, wait
from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.threads import PERIOD, TRIAL, AdaptiveTeam, ThreadTeam

from .reference import bits, make_case

SIZES = (200, 130, 90, 7)


@given(st.integers(0, 500), st.integers(1, 8))
def test_shares_cover_everything_once(size, threads):
    shares = [share(size, (number, threads)) for number in range(threads)]
    assert [k for begin, end in shares for k in range(begin, end)] == list(range(size))
    assert all(begin % 2 == 0 for begin, end in shares if begin < end)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 8))
def test_shares_of_weights_cover_everything_once_and_are_as_large(weights, threads):
    starts = np.append(0, np.cumsum(weights)).astype(np.int32)
    shares = [share_of_weights(starts, len(weights), (n, threads)) for n in range(threads)]
    assert [k for begin, end in shares for k in range(begin, end)] == list(range(len(weights)))
    work = [sum(weights[begin:end]) + 2 * (end - begin) for begin, end in shares]
    # No share exceeds the mean by more than its last line.
    assert max(work) <= sum(work) / threads + max(weights, default=0) + 2


@compiled
def relay(turns, log, thread):
    """Writes its number in turn; without the barrier the order would be anything."""
    number, count = thread.part
    for turn in range(turns):
        if turn % count == number:
            log[turn] = 0 if turn == 0 else log[turn - 1] + number + 1
        wait(thread)
    return float(turns)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_barrier_waits_for_all_and_shows_what_they_wrote(threads):
    turns, log = 2000, np.full(2000, -1)
    total = ThreadTeam(threads).run(lambda thread: relay(turns, log, thread))
    assert total == threads * turns
    expected = np.cumsum([turn % threads + 1 for turn in range(turns)]) - 1
    assert (log == expected).all()


@pytest.mark.parametrize("failing", [0, 1])
def test_nobody_waits_for_a_thread_that_failed(failing):
    ended = []

    def work(thread):
        if thread.part[0] == failing:
            raise KeyboardInterrupt
        try:
            return relay(10, np.zeros(10, np.int64), thread)
        finally:
            ended.append(thread.part[0])

    with pytest.raises(KeyboardInterrupt):
        ThreadTeam(2).run(work)
    assert ended == [1 - failing]


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("density", [1.0, 0.6, 0.2, 0.03, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dense", [0, 1, 3])
def test_a_network_is_the_same_to_the_bit_with_any_number_of_threads(
    threads, density, dtype, dense
):
    kernels = ["dense"] * dense + ["sparse"] * (3 - dense)
    case = make_case(SIZES, density, dtype=dtype)
    order, rates = case.order(0, 9 * 150 - 40), np.full(9, 0.05)
    one, many = case.sparse(kernels=kernels), case.sparse(kernels=kernels, threads=threads)
    losses = [
        network.train_epoch(case.images, case.labels, order, 150, rates) for network in (one, many)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)
    assert bits(one) == bits(many)
    measured = [network.evaluate(case.images, case.labels) for network in (one, many)]
    assert measured[0].loss == measured[1].loss
    assert measured[0].accuracy == measured[1].accuracy
    assert (measured[0].logits == measured[1].logits).all()


@pytest.mark.parametrize("slow", [1, 2])
@pytest.mark.parametrize("call", [1, 5, 100, 2 * PERIOD])
def test_all_steps_but_the_trials_go_to_who_was_faster(slow, call, monkeypatch):
    team, sizes, now = AdaptiveTeam(2), [], [0.0]
    monkeypatch.setattr("sdd_core.sparse.threads.perf_counter", lambda: now[0])

    def take(team: ThreadTeam, begin: int, end: int) -> float:
        assert begin == len(sizes) % call
        sizes.extend([team.size] * (end - begin))
        now[0] += (end - begin) * (2 if team.size == slow else 1)
        return end - begin

    while len(sizes) < PERIOD:
        assert team.run(take, call) == call
    period = [1] * TRIAL + [2] * TRIAL + [3 - slow] * (PERIOD - 2 * TRIAL)
    known = sizes[: PERIOD + 2 * TRIAL]  # then they are compared again
    assert known == (period + period)[: len(known)]


def test_one_thread_is_not_compared_with_itself():
    taken = []
    AdaptiveTeam(1).run(lambda team, begin, end: taken.append((team.size, begin, end)) or 0.0, 1000)
    assert taken == [(1, 0, 1000)]
