"""`sdd check`: a line for each check, and exit code 1 for a fault."""

import sys

import pytest
from support import plugins_with

from cli.conftest import refused
from sdd_core import LabelNoise, hookimpl
from sdd_core.cli import check as command
from sdd_core.testing import checks


class Careless(LabelNoise):
    """Writes into the labels that it is given, at rate 0 too."""

    name = "careless"

    def corrupt(self, labels, data, generator):
        labels[0] = (labels[0] + 1) % data.num_classes
        return labels


@hookimpl
def sdd_run_end(result):
    raise ValueError("not to my liking")


@pytest.fixture
def stranger(monkeypatch):
    """A stranger's plugins are installed too: one with faults, and an observer with one."""
    plugins = plugins_with(sdd_label_noise=[Careless])
    plugins.register(sys.modules[__name__], "stranger", "1.0", "watcher")
    monkeypatch.setattr(command, "load_plugins", lambda blocked: plugins)


def test_a_line_for_each_check(sdd):
    done = sdd("check", "noise:symmetric", "--set", "rate=0.3")
    assert done.exit_code == 0
    from sdd_plugins.noise.symmetric import Symmetric

    assert done.stdout.splitlines() == [f"ok     {one.says}" for one in checks(Symmetric)]


def test_faults_and_exit_code_one(sdd, stranger):
    done = sdd("check", "careless")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert len(lines) == len(checks(Careless))
    faults = [line for line in lines if line.startswith("FAULT  ")]
    assert len(faults) == 2
    assert "noise 'careless': corrupt() changes the true labels" in faults[0]
    assert "changes labels at rate 0" in faults[1]


def test_an_observer(sdd, stranger):
    done = sdd("check", "watcher")
    assert done.exit_code == 1
    assert "sdd_run_end() raised ValueError: not to my liking" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simmetric"], "no plugin is called 'simmetric'; did you mean symmetric or"),
        (["image-folder"], "data 'image-folder' has no default for path; add --set path=..."),
        (["symmetric", "--set", "rate=2"], "--set rate: input should be less than or equal to 1"),
        (["symmetric", "--set", "rate"], "--set 'rate' is not a setting; expected OPTION=VALUE"),
        (["symmetric", "--set", "rat=1"], "--set rat: there is no such setting"),
    ],
)
def test_what_cannot_be_checked_is_one_line(sdd, words, said):
    assert said in refused(sdd("check", *words))
