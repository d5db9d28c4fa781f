"""Plugins are taken in one by one; what is wrong with one is said by name and stops no other."""

import sys
from importlib.metadata import EntryPoint, distributions, entry_points

import pytest
from support import add_distribution, go, module, plugins_with, small

from sdd_core import Experiment, Pruner, Schedule, SddError, hookimpl, load_plugins
from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.discovery import Plugins, warn_of_problems

GOOD = """
    from sdd_core import Pruner, hookimpl

    class {cls}(Pruner):
        '''Prunes by {name}.

        More about it.
        '''
        name = "{name}"
        def scores(self, level):
            return {{n: level.weights[n].abs() for n in level.prunable}}

    @hookimpl
    def sdd_pruners():
        return [{cls}]
"""


def good(name="good"):
    return GOOD.format(name=name, cls=name.title().replace("-", ""))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution of one module as pip would, and returns its entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(dist, source, entry="entry", target=None, version="2.5"):
        name = f"{dist.replace('-', '_')}_module"
        made.append(name)
        line = f"{entry} = {target or name}"
        add_distribution(tmp_path, dist, version, source, line, module=name)
        (found,) = distributions(name=dist, path=[str(tmp_path)])
        return list(found.entry_points)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def load(*groups, blocked=()):
    """The built-in plugins and those of the given entry points."""
    plugins = Plugins(blocked)
    built_in = [e for e in entry_points(group="sdd") if e.dist and e.dist.name == DISTRIBUTION]
    plugins.load([*(e for group in groups for e in group), *built_in])
    return plugins


def reasons(plugins):
    return {(row.distribution, row.name): row.reason for row in plugins.rows if row.reason}


def refusal(plugins, kind, name):
    with pytest.raises(SddError) as refused:
        plugins.get(kind, name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Those that work


def test_the_built_in_plugins_come_in_through_entry_points():
    plugins = load()
    assert plugins.problems == []
    assert {row.distribution for row in plugins.rows} == {DISTRIBUTION}
    assert set(plugins.names("pruner")) >= {"imp", "gradient", "random"}
    for kind, name in [("pruner", "imp"), ("retrain", "rewind"), ("metric", "accuracy"),
                       ("noise", "symmetric"), ("data", "digits"), ("model", "mlp")]:
        assert plugins.get(kind, name).name == name
    assert all(row.description and row.version for row in plugins.rows)


def test_a_strangers_plugin_is_one_file_and_an_entry_point(install, tmp_path):
    plugins = load(install("sdd-good", good()))
    (row,) = [row for row in plugins.rows if row.distribution == "sdd-good"]
    assert (row.kind, row.name, row.version, row.entry_point) == ("pruner", "good", "2.5", "entry")
    assert (row.status, row.description) == ("ok", "Prunes by good")
    for name in ("good", "sdd-good:good", "pruner:good"):
        assert plugins.get("pruner", name).name == "good"
    result = go(small(pruner="good", levels=1), tmp_path / "store", plugins=plugins)
    assert result.levels[1].density < 1
    assert plugins.origin(plugins.get("pruner", "good")) == {
        "distribution": "sdd-good", "version": "2.5"
    }


def test_nothing_depends_on_the_order_of_installation(install):
    one, other = install("sdd-b", good("alpha")), install("sdd-a", good("beta"))
    forth, back = load(one, other), load(other, one)
    assert [row.name for row in forth.rows] == [row.name for row in back.rows]
    assert [row.distribution for row in forth.rows][-2:] == ["sdd-a", "sdd-b"]


def test_an_observer_is_listed(install):
    source = """
        "Tells a tracker."
        from sdd_core import hookimpl
        @hookimpl
        def sdd_run_end(result): ...
    """
    (row,) = [r for r in load(install("sdd-track", source)).rows if r.distribution == "sdd-track"]
    assert (row.kind, row.name, row.description) == ("observer", "entry", "Tells a tracker")


# Those that fail

FAULTS = {
    "raises at import": ("1 / 0", "import failed: ZeroDivisionError: division by zero"),
    "exits at import": ("import sys; sys.exit(3)", "import failed: SystemExit: 3"),
    "broken import": ("import no_such_module", "import failed: ModuleNotFoundError: No module"),
    "no python": ("def", "import failed: SyntaxError"),
    "several lines": ("raise ValueError('one\\ntwo')", "import failed: ValueError: one two"),
    "unknown hook": (
        "from sdd_core import hookimpl\n@hookimpl\ndef sdd_prunners(): return []",
        "unknown hook 'sdd_prunners'",
    ),
    "wrong arguments": (
        "from sdd_core import hookimpl\n@hookimpl\ndef sdd_run_end(results): ...",
        "Argument(s) {'results'}",
    ),
    "wraps others": (
        "from sdd_core import hookimpl\n@hookimpl(wrapper=True)\n"
        "def sdd_pruners():\n yield\n return []",
        "sdd_pruners wraps the hooks of other plugins",
    ),
    "wraps others in the old way": (
        "from sdd_core import hookimpl\n@hookimpl(hookwrapper=True)\n"
        "def sdd_run_end(result):\n yield",
        "sdd_run_end wraps the hooks of other plugins",
    ),
    "no hooks": ("def sdd_pruners(): return []", "has no hook of sdd's; mark its functions"),
    "hook raises": (
        "from sdd_core import hookimpl\n@hookimpl\ndef sdd_pruners(): return [1 / 0]",
        "sdd_pruners failed: ZeroDivisionError",
    ),
    "hook gives nothing": (
        "from sdd_core import hookimpl\n@hookimpl\ndef sdd_pruners(): ...",
        "sdd_pruners failed: TypeError",
    ),
    "no plugin": (
        "from sdd_core import hookimpl\n@hookimpl\ndef sdd_pruners(): return [int]",
        "returned <class 'int'>; expected subclasses of sdd_core.Pruner",
    ),
    "another kind": (
        "from sdd_core import hookimpl, Schedule\nclass S(Schedule): name = 's'\n"
        "@hookimpl\ndef sdd_pruners(): return [S]",
        "expected subclasses of sdd_core.Pruner",
    ),
    "an instance": (
        "from sdd_core import hookimpl, Pruner\nclass P(Pruner): name = 'p'\n"
        "@hookimpl\ndef sdd_pruners(): return [P()]",
        "expected subclasses of sdd_core.Pruner",
    ),
    "no name": (
        "from sdd_core import hookimpl, Pruner\nclass P(Pruner): ...\n"
        "@hookimpl\ndef sdd_pruners(): return [P]",
        "P needs a class attribute `name`",
    ),
    "a bad name": (
        "from sdd_core import hookimpl, Pruner\nclass P(Pruner): name = 'a:b'\n"
        "@hookimpl\ndef sdd_pruners(): return [P]",
        "without spaces, commas or colons",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_that_fails_is_reported_and_stops_no_other(install, capsys, fault):
    source, reason = FAULTS[fault]
    plugins = load(install("sdd-bad", source), install("sdd-good", good()))
    failed = [row for row in plugins.rows if row.status == "failed"]
    assert [row.distribution for row in failed] == ["sdd-bad"]
    assert reason in failed[0].reason
    assert plugins.get("pruner", "good").name == "good"
    assert plugins.get("pruner", "imp").name == "imp"
    warn_of_problems(plugins)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("sdd: warning: plugin ")
    assert "sdd-bad 2.5" in said
    # Asked for what it might have had, one hears of it.
    assert reason in refusal(plugins, "pruner", failed[0].name) or (
        "not loaded: sdd-bad:entry (failed)" in refusal(plugins, "pruner", "entri")
    )


def test_the_hooks_of_a_failed_plugin_are_gone(install):
    source = """
        from sdd_core import hookimpl
        @hookimpl
        def sdd_run_start(run): raise SystemExit
        @hookimpl
        def sdd_no_such_hook(): ...
    """
    plugins = load(install("sdd-bad", source))
    assert plugins.hooks.hook.sdd_run_start.get_hookimpls() == []


def test_a_module_that_is_announced_twice_is_taken_once(install):
    install("sdd-twice", good(), entry="one")
    plugins = load(install("sdd-twice", good(), entry="two"))
    rows = [row for row in plugins.rows if row.distribution == "sdd-twice"]
    assert [(row.entry_point, row.status) for row in rows] == [("one", "ok"), ("two", "failed")]
    assert plugins.get("pruner", "good").name == "good"


def test_an_entry_point_that_is_announced_twice_keeps_the_first(install):
    install("sdd-twice", good())
    plugins = load(install("sdd-twice", good()))
    rows = [row for row in plugins.rows if row.distribution == "sdd-twice"]
    assert [row.status for row in rows] == ["ok", "failed"]
    assert "has two entry points 'entry'" in rows[1].reason
    assert plugins.hooks.has_plugin("sdd-twice:entry")


# Names


def test_unknown_names_come_with_the_nearest():
    said = refusal(load(), "pruner", "gradiant")
    assert said.startswith("unknown pruner 'gradiant'; did you mean gradient")
    assert "available: " in refusal(load(), "pruner", "zzzzz")
    assert "imp" in refusal(load(), "pruner", "zzzzz")


def test_a_stranger_cannot_take_a_built_in_name(install):
    plugins = load(install("aaa", good("imp")))
    assert plugins.get("pruner", "imp").__module__.startswith("sdd_plugins.")
    assert plugins.get("pruner", "aaa:imp").__module__ == "aaa_module"
    assert reasons(plugins)["aaa", "imp"] == (
        f"the name 'imp' is taken by {DISTRIBUTION}; use aaa:imp for this one"
    )


def test_two_strangers_with_one_name_are_an_error_where_it_is_used(install):
    plugins = load(install("sdd-b", good("namesake")), install("sdd-a", good("namesake")))
    assert refusal(plugins, "pruner", "namesake") == (
        "pruner 'namesake' comes from 2 packages; use sdd-a:namesake or sdd-b:namesake"
    )
    assert plugins.get("pruner", "sdd-a:namesake").__module__ == "sdd_a_module"
    assert plugins.get("pruner", "sdd-b:namesake").__module__ == "sdd_b_module"
    assert plugins.get("pruner", "imp").name == "imp"
    assert ("sdd-b", "namesake") in reasons(plugins)


def test_two_strangers_metrics_with_one_name_do_not_stop_a_run(install, tmp_path):
    source = """
        from sdd_core import Metric, hookimpl
        class M(Metric):
            name = "m"
            def measure(self, level): return {{"m": "{}"}}
        @hookimpl
        def sdd_metrics(): return [M]
    """
    plugins = load(install("sdd-a", source.format("a")), install("sdd-b", source.format("b")))
    result = go(small(levels=0), tmp_path / "store", plugins=plugins)
    assert result.levels[0].metrics["m"] == "a"


def test_one_name_in_two_kinds_is_no_clash():
    class Twin(Schedule):
        """A schedule."""

        name = "imp"

    plugins = plugins_with(sdd_schedules=[Twin])
    assert plugins.problems == []
    assert plugins.get("retrain", "imp") is Twin
    assert plugins.get("pruner", "imp").name == "imp"
    assert [row.kind for row in plugins.named("retrain:imp")] == ["retrain"]


# Blocking


@pytest.mark.parametrize("spelling", ["entry", "good", "pruner:good", "sdd-good:good",
                                      "sdd-good:entry"])
def test_a_plugin_can_be_blocked(install, spelling):
    plugins = load(install("sdd-good", good()), blocked=[spelling])
    (row,) = [row for row in plugins.rows if row.distribution == "sdd-good"]
    assert (row.status, row.reason) == ("blocked", "blocked by the user")
    assert plugins.problems == [], "it was meant to be"
    assert "good" not in plugins.names("pruner")
    assert "blocked" in refusal(plugins, "pruner", "good")
    assert plugins.get("pruner", "imp").name == "imp"


def test_a_blocked_entry_point_is_not_imported(install):
    load(install("sdd-bad", "raise SystemExit"), blocked=["entry"])
    assert "sdd_bad_module" not in sys.modules


def test_a_block_that_names_nothing_is_said(capsys):
    plugins = load(blocked=["no-such", "random"])
    assert plugins.problems == ["no plugin is called 'no-such', so none was blocked"]
    assert "random" not in plugins.names("pruner")


def test_the_environment_blocks_too(monkeypatch):
    assert "random" in load_plugins().names("pruner")
    monkeypatch.setenv("SDD_NO_PLUGIN", "random, pruner:gradient,,")
    names = load_plugins().names("pruner")
    assert "imp" in names
    assert not {"random", "gradient"} & set(names)
    assert "imp" not in load_plugins(("imp",)).names("pruner")
    monkeypatch.delenv("SDD_NO_PLUGIN")
    assert "random" in load_plugins().names("pruner")


def test_plugins_are_loaded_once():
    assert load_plugins() is load_plugins(())
    assert load_plugins(("imp", "random")) is load_plugins(("random", "imp"))


# A feature that is gone


def without(*entries):
    found = [e for e in entry_points(group="sdd") if e.dist and e.dist.name == DISTRIBUTION]
    assert set(entries) <= {e.name for e in found}
    plugins = Plugins()
    plugins.load(e for e in found if e.name not in entries)
    return plugins


GONE = {
    "pruners": "pruner: unknown pruner 'imp'; none is installed",
    "schedules": "retrain: unknown retraining schedule 'rewind'; none is installed",
    "noise": "noise: unknown noise 'symmetric'; none is installed",
    "data": "data: unknown data 'digits'; none is installed",
    "models": "model: unknown model 'mlp'; none is installed",
}


@pytest.mark.parametrize("entry", GONE)
def test_a_removed_feature_is_said(entry):
    plugins = without(entry)
    assert plugins.problems == []
    with pytest.raises(SddError) as refused:
        Experiment.make(small(), plugins)
    assert str(refused.value) == GONE[entry]


def test_a_strangers_pruner_works_without_the_built_in_ones(tmp_path):
    class Own(Pruner):
        """By magnitude."""

        name = "own"

        def scores(self, level):
            return {n: level.weights[n].abs() for n in level.prunable}

    plugins = without("pruners")
    plugins.register(module(sdd_pruners=[Own]), "stranger", "1.0", "entry")
    result = go(small(pruner="own", levels=1), tmp_path, plugins=plugins)
    assert result.levels[1].density < 1
    with pytest.raises(SddError, match="unknown pruner 'imp'; available: own"):
        Experiment.make(small(), plugins)


def test_without_metrics_a_run_has_none(tmp_path):
    result = go(small(levels=1), tmp_path, plugins=without("metrics"))
    assert [level.metrics for level in result.levels] == [{}, {}]
    result.to_json()


def test_a_strange_object_is_no_plugin():
    class Strange:
        @property
        def attribute(self):
            raise RuntimeError("do not touch")

        @hookimpl
        def sdd_pruners(self):
            return []

    plugins = Plugins()
    plugins.register(Strange(), "sdd-strange", "1", "entry")
    assert [row.status for row in plugins.rows] in ([], ["failed"])
    plugins.load([EntryPoint("nowhere", "no_module:thing", "sdd")])
    assert plugins.rows[-1].status == "failed"
    assert plugins.rows[-1].distribution == "?"


def test_a_run_of_a_plugin_whose_name_is_taken_is_of_that_plugin_when_it_goes_on(install, tmp_path):
    plugins = load(install("sdd-other", good("imp")))
    settings = small(pruner={"name": "sdd-other:imp", "fraction": 0.4}, levels=1)
    made = Experiment.make(settings, plugins)
    assert made.to_dict()["pruner"]["name"] == "sdd-other:imp"
    again = Experiment.make(made.to_dict(), plugins)
    assert again == made
    assert type(again.pruner) is plugins.get("pruner", "sdd-other:imp")
    usual = Experiment.make(small(levels=1), plugins)
    assert usual.to_dict()["pruner"]["name"] == "imp"
    pruner = {"name": f"{DISTRIBUTION}:imp", "fraction": 0.4}
    assert usual == Experiment.make(small(pruner=pruner, levels=1))
    result = go(settings, tmp_path / "store", plugins=plugins)
    assert 'name = "sdd-other:imp"' in (result.folder / "experiment.toml").read_text()
