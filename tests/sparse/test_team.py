"""Threads that work on one network together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.meeting import meet, share, share_of_weights
from sdd_core.sparse.team import PERIOD, TRIAL, Crew, Team

from .reference import make_case

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
def relay(turns, log, part, meeting):
    """Writes its number in turn; without the meetings the order would be anything."""
    rounds = 0
    for turn in range(turns):
        if turn % part[1] == part[0]:
            log[turn] = 0 if turn == 0 else log[turn - 1] + part[0] + 1
        rounds = meet(meeting, rounds, part)
    return float(rounds)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_meeting_waits_for_all_and_shows_what_they_wrote(threads):
    turns, log = 2000, np.full(2000, -1)
    total = Team(threads).run(lambda part, meeting: relay(turns, log, part, meeting))
    assert total == threads * turns
    expected = np.cumsum([turn % threads + 1 for turn in range(turns)]) - 1
    assert (log == expected).all()


@pytest.mark.parametrize("failing", [0, 1])
def test_nobody_waits_for_a_thread_that_failed(failing):
    ended = []

    def work(part, meeting):
        if part[0] == failing:
            raise KeyboardInterrupt
        try:
            return relay(10, np.zeros(10, np.int64), part, meeting)
        finally:
            ended.append(part[0])

    with pytest.raises(KeyboardInterrupt):
        Team(2).run(work)
    assert ended == [1 - failing]


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("density", [1.0, 0.6, 0.2, 0.03, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_is_the_same_to_the_bit_with_any_number_of_threads(threads, density, dtype):
    case = make_case(SIZES, density, dtype=dtype)
    order, rates = case.order(0, 9 * 150 - 40), np.full(9, 0.05)
    one, many = case.sparse(), case.sparse(threads=threads)
    losses = [
        network.train_epoch(case.images, case.labels, order, 150, rates) for network in (one, many)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)
    for ours, theirs in zip(one.weights(), many.weights(), strict=True):
        assert (ours == theirs).all()
    for ours, theirs in zip(one.biases(), many.biases(), strict=True):
        assert (ours == theirs).all()
    measured = [network.evaluate(case.images, case.labels) for network in (one, many)]
    assert measured[0].loss == measured[1].loss
    assert measured[0].accuracy == measured[1].accuracy
    assert (measured[0].logits == measured[1].logits).all()


@pytest.mark.parametrize("slow", [1, 2])
@pytest.mark.parametrize("call", [1, 5, 100, 2 * PERIOD])
def test_all_steps_but_the_trials_go_to_who_was_faster(slow, call, monkeypatch):
    crew, sizes, now = Crew(2), [], [0.0]
    monkeypatch.setattr("sdd_core.sparse.team.perf_counter", lambda: now[0])

    def take(team: Team, begin: int, end: int) -> float:
        assert begin == len(sizes) % call
        sizes.extend([team.size] * (end - begin))
        now[0] += (end - begin) * (2 if team.size == slow else 1)
        return end - begin

    while len(sizes) < PERIOD:
        assert crew.run(take, call) == call
    period = [1] * TRIAL + [2] * TRIAL + [3 - slow] * (PERIOD - 2 * TRIAL)
    known = sizes[: PERIOD + 2 * TRIAL]  # then they are compared again
    assert known == (period + period)[: len(known)]


def test_one_thread_is_not_compared_with_itself():
    taken = []
    Crew(1).run(lambda team, begin, end: taken.append((team.size, begin, end)) or 0.0, 1000)
    assert taken == [(1, 0, 1000)]
