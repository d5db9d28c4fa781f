"""The writer: what is given is carried out in order, and told of in order."""

import threading
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core import SddError
from sdd_core.runs.writer import Writer

STEPS = st.lists(
    st.sampled_from(["write", "fail", "then", "look", "release", "finish"]), max_size=25
)


class Model:
    """A writer, and what must be true of it. Each task waits until it is released."""

    def __init__(self):
        self.writer = Writer()
        self.gates = []
        self.fails = []
        self.done = []
        self.called = []
        self.expected = []  # the calls, each with the number of tasks before it
        self.freed = []

    def write(self, fails):
        number, gate, held = len(self.gates), threading.Event(), ExitStack()
        held.callback(self.freed.append, number)
        self.gates.append(gate)
        self.fails.append(fails)

        def task():
            assert gate.wait(60)
            assert number not in self.freed
            if fails:
                raise SddError(f"task {number}")
            self.done.append(number)

        self.writer.write(task, held)

    @property
    def first_failure(self):
        return self.fails.index(True) if True in self.fails else len(self.fails)

    def then(self):
        call, before = len(self.expected), len(self.gates)
        self.expected.append(before)

        def told():
            # Everything before is on the disk, nothing is missing.
            assert self.done[:before] == list(range(before))
            self.called.append(call)

        self.writer.then(told)

    def release(self):
        for gate in self.gates:
            if not gate.is_set():
                gate.set()
                return

    def finish(self):
        for gate in self.gates:
            gate.set()
        self.writer.finish()

    def check(self):
        done, called = list(self.done), list(self.called)
        assert done == list(range(len(done)))
        assert len(done) <= self.first_failure
        assert called == list(range(len(called)))


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_everything_is_done_and_told_in_order_and_nothing_after_a_failure(steps):
    model, error = Model(), None
    for step in [*steps, "finish"]:
        try:
            if step in {"write", "fail"}:
                model.write(step == "fail")
            elif step == "look":
                model.writer.look()
            else:
                getattr(model, step)()
        except SddError as found:
            error = found
        model.check()
    first = model.first_failure
    assert model.done == list(range(first))
    assert model.freed == list(range(len(model.gates)))  # failed ones too
    assert model.called == [n for n, before in enumerate(model.expected) if before <= first]
    assert str(error) == (f"task {first}" if True in model.fails else "None")


def test_calls_are_made_in_the_thread_that_gives_them():
    writer, threads, allowed = Writer(), [], threading.Event()
    writer.write(lambda: allowed.wait(60))
    writer.then(lambda: threads.append(threading.current_thread()))
    assert threads == []
    allowed.set()
    writer.finish()
    assert threads == [threading.current_thread()]


def write_that_fails_in_a_block(then):
    writer = Writer()

    def fails():
        raise SddError("cannot write it")

    with writer.finished():
        writer.write(fails)
        then(writer)


def test_what_ends_a_block_is_raised_and_a_write_that_failed_is_told(capsys):
    def interrupt(writer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_that_fails_in_a_block(interrupt)
    assert "cannot write it" in capsys.readouterr().err


def test_an_error_that_is_raised_in_the_block_is_told_once(capsys):
    with pytest.raises(SddError, match=r"^cannot write it$"):
        write_that_fails_in_a_block(Writer.finish)
    assert capsys.readouterr().err == ""
