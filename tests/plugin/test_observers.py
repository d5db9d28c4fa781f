"""Observers hear what happens, in order; one that fails is named and stops nobody."""

import pytest
from support import go, module, plugins_with, small

from sdd_core import SddError, hookimpl


class Everything:
    """Notes every call."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def sdd_run_start(self, run):
        self.calls.append(("run start", run.name))

    @hookimpl
    def sdd_level_start(self, run, level, epochs):
        self.calls.append(("level start", level, epochs))

    @hookimpl
    def sdd_epoch_start(self, level, epoch):
        self.calls.append(("epoch start", level, epoch))

    @hookimpl
    def sdd_epoch_end(self, run, level, epoch):
        self.calls.append(("epoch end", level, epoch.number))

    @hookimpl
    def sdd_level_end(self, run, level):
        self.calls.append(("level end", level.level, level.density))

    @hookimpl
    def sdd_run_end(self, run, result):
        self.calls.append(("run end", len(result.levels)))


class Failing:
    @hookimpl
    def sdd_epoch_end(self, epoch):
        raise RuntimeError("no\nnetwork")


def test_what_is_heard_and_in_which_order(tmp_path):
    observer = Everything()
    settings = small(levels=1, train={"epochs": 2})
    result = go(settings, tmp_path, observers=[observer])
    densities = [level.density for level in result.levels]
    trained = [
        [("level start", k, 2), ("epoch start", k, 1), ("epoch end", k, 1),
         ("epoch start", k, 2), ("epoch end", k, 2), ("level end", k, densities[k])]
        for k in (0, 1)
    ]
    start, end = ("run start", result.run), ("run end", 2)
    assert observer.calls == [start, *trained[0], *trained[1], end]
    again = Everything()
    go(settings, tmp_path, observers=[again])
    assert again.calls == [start, trained[0][-1], trained[1][-1], end]


def test_one_that_fails_is_named_and_the_others_go_on(tmp_path, capsys):
    def failing(epoch):
        raise KeyError("gone")

    plugins = plugins_with(sdd_epoch_end=failing)
    first, last = Everything(), Everything()
    observers = [first, Failing(), last]
    result = go(small(levels=0), tmp_path, plugins=plugins, observers=observers)
    said = capsys.readouterr().err.splitlines()
    given = "sdd: warning: observer Failing failed in sdd_epoch_end: RuntimeError: no network"
    installed = "sdd: warning: observer stranger:entry failed in sdd_epoch_end: KeyError: 'gone'"
    assert sorted(said) == sorted([given, installed] * 3)
    assert first.calls == last.calls
    assert len(first.calls) == 10
    assert len(result.levels) == 1


def test_an_interruption_is_not_swallowed(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(small(levels=0), tmp_path, observers=[module(sdd_epoch_end=stop)])


class WrongArguments:
    @hookimpl
    def sdd_epoch_end(self, epochs): ...


class UnknownHook:
    @hookimpl
    def sdd_epoch_ended(self, epoch): ...


class Unmarked:
    def sdd_epoch_end(self, epoch): ...


@pytest.mark.parametrize(
    ("observer", "reason"),
    [
        (WrongArguments(), "observer WrongArguments: .*'epochs'"),
        (UnknownHook(), "observer UnknownHook: .*sdd_epoch_ended"),
        (Unmarked(), "observer Unmarked has no hook of sdd's; mark its methods with"),
    ],
)
def test_an_observer_that_would_never_be_called_is_refused(tmp_path, observer, reason):
    with pytest.raises(SddError, match=reason) as refused:
        go(small(levels=0), tmp_path, observers=[observer])
    assert "\n" not in str(refused.value)
