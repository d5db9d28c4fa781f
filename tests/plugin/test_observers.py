"""Observers hear what happens, in order; one that fails is named and stops nobody."""

import pytest
from support import go, module, plugins_with, small

import sdd_core
from sdd_core import Metric, SddError, hookimpl


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


class Nested:
    """Runs an experiment in the middle of another one's run, at the first call of a hook."""

    def __init__(self, hook, settings, store):
        self.results = []

        def call():
            if not self.results:
                self.results.append(None)
                self.results.append(go(settings, store))

        setattr(self, hook, hookimpl(call))


MAKES_A_LEVEL = ["sdd_level_start", "sdd_epoch_start", "sdd_epoch_end", "sdd_level_end"]


@pytest.mark.parametrize("hook", MAKES_A_LEVEL)
@pytest.mark.parametrize("changes", [{}, {"levels": 3}, {"metrics": []}],
                         ids=["same", "deeper", "other metrics"])
def test_a_run_that_would_wait_for_itself_is_refused(tmp_path, capsys, hook, changes):
    """It is refused at once, however the system's locks treat a thread that waits for itself."""
    observer = Nested(hook, small(train={"epochs": 1}, **changes), tmp_path)
    result = go(small(train={"epochs": 1}), tmp_path, observers=[observer])
    assert observer.results == [None]
    assert len(result.levels) == 3
    said = capsys.readouterr().err
    assert f"observer Nested failed in {hook}: level " in said
    assert ("is being made by the run that called this code, so the same experiment cannot run "
            "here in the same store; use another store, or run it after that run") in said
    assert "waiting for" not in said


@pytest.mark.parametrize(("hook", "changes", "store"), [
    *((hook, {}, "other") for hook in MAKES_A_LEVEL),
    *((hook, {"seed": 1}, ".") for hook in MAKES_A_LEVEL),  # shares no level
    ("sdd_run_start", {}, "."),
    ("sdd_run_end", {}, "."),
])  # fmt: skip
def test_other_runs_within_a_run_are_carried_out(tmp_path, capsys, hook, changes, store):
    settings = small(train={"epochs": 1})
    observer = Nested(hook, settings | changes, tmp_path / store)
    result = go(settings, tmp_path, observers=[observer])
    assert "failed in" not in capsys.readouterr().err
    assert [len(one.levels) for one in (result, observer.results[1])] == [3, 3]


def test_a_metric_that_runs_its_own_experiment_is_refused(tmp_path, capsys):
    class Itself(Metric):
        name = "itself"

        def measure(self, level):
            sdd_core.run(settings, store=tmp_path, device="cpu", plugins=plugins)
            return {"itself": 1.0}

    plugins = plugins_with(sdd_metrics=[Itself])
    settings = small(levels=0, train={"epochs": 1}, metrics=["itself"])
    result = sdd_core.run(settings, store=tmp_path, device="cpu", plugins=plugins)
    assert result.levels[0].metrics.get("itself") is None
    assert "is being made by the run that called this code" in capsys.readouterr().err
