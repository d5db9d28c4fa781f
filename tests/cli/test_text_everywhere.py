"""Every view of a store and of plugins whose every name is an instruction to somebody."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from support import add_distribution

from sdd_core.cli import main
from sdd_core.output.text import one_line, visible
from sdd_core.plugin import discovery as plugin_manager

NAME = "-1+1[/a][red]\x1b[31m$x_1$<b>|"
VALUE = "=HYPERLINK(\"x\")\n\x1b]0;title\x07<script>alert(1)</script>$y$[bold]"
LAYER = "@layer\n[/b]\x1b[2J<i>$z$"

SOURCE = f'''
    from torch import nn
    from sdd_core import Metric, Model, Pruner, hookimpl

    NAME, VALUE, LAYER = {NAME!r}, {VALUE!r}, {LAYER!r}

    class Net(Model):
        __doc__ = NAME + "\\n\\n" + VALUE
        name = NAME

        def build(self, input_shape, num_classes):
            network = nn.Sequential(nn.Flatten())
            network.add_module(LAYER, nn.Linear(64, 8))
            network.add_module("relu", nn.ReLU())
            network.add_module("output", nn.Linear(8, num_classes))
            return network

    class Large(Pruner):
        __doc__ = NAME
        name, source = NAME, VALUE
        option: str = VALUE

        def scores(self, level):
            return {{name: level.weights[name].abs() for name in level.prunable}}

    class Odd(Metric):
        name = NAME

        def measure(self, level):
            return {{VALUE: 0.5, "-minus": -0.5, "by_layer": {{LAYER: 1.0}}}}

    class Failing(Metric):
        name = "failing" + NAME

        def measure(self, level):
            raise RuntimeError(VALUE)

    @hookimpl
    def sdd_models(): return [Net]
    @hookimpl
    def sdd_pruners(): return [Large, 3]
    @hookimpl
    def sdd_metrics(): return [Odd, Failing]
'''


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Runs `sdd` where such plugins are installed, in a folder with such a store."""
    folder = tmp_path_factory.mktemp("site")
    add_distribution(folder, "stranger", "1.0", SOURCE, "entry = nasty_plugins",
                     module="nasty_plugins")
    store = tmp_path_factory.mktemp("place") / "=st[red]\x1b[31m\n<i>$"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(store.parent)
        plugin_manager._loaded.cache_clear()

        def sdd(*words, ok=True):
            done = CliRunner().invoke(main, [str(word) for word in words])
            assert not ok or done.exit_code == 0, done.output
            for text in (done.stdout, done.stderr):
                assert all(c.isprintable() or c == "\n" for c in text), text
            return done

        sdd.store = store
        yield sdd
    plugin_manager._loaded.cache_clear()


@pytest.fixture(scope="module")
def settings(nasty):
    file = nasty.store.parent / "x.toml"
    file.write_text(f"levels = 2\npruner.name = {json.dumps(NAME)}\nmodel.name = "
                    f"{json.dumps(NAME)}\ntrain.epochs = 1\n")
    return file


@pytest.fixture(scope="module")
def run(nasty, settings):
    done = nasty("run", settings, "--store", nasty.store, "--device", "cpu", "--json")
    assert done.stderr.count("\n") == len(done.stderr.splitlines())
    assert one_line(f"metric 'failing{NAME}' failed: RuntimeError: ") in done.stderr
    assert "\\x1b]0;title" in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("words", [
    ("list-plugins",), ("show", f"pruner:{NAME}"), ("check", f"metric:{NAME}"),
    ("run", "--pruner", NAME, "--help"), ("--help",),
])  # fmt: skip
def test_plugins(nasty, words):
    done = nasty(*words, ok=words[0] != "check")
    if words[0] in {"list-plugins", "show"}:
        assert one_line(NAME) in done.stdout
    if words[0] == "show":
        assert one_line(VALUE) in done.stdout.replace("\n", "")


def test_a_network(nasty, settings):
    done = nasty("inspect", settings)
    assert one_line(LAYER) in done.stdout
    assert one_line(NAME) in done.stdout


def test_runs_and_the_report_on_a_terminal_and_in_its_files(nasty, run):
    listed = nasty("runs", "--store", nasty.store)
    assert run["run"] in listed.stdout
    done = nasty("report", run["run"], "--store", nasty.store)
    assert one_line(nasty.store) in done.stdout
    report = nasty.store / run["run"] / "report"
    page = (report / "report.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert json.dumps(visible(VALUE)).replace("<", "\\u003c") in page
    cells(report / "levels.csv")


def cells(file):
    """The rows of a CSV, in which nothing is a formula."""
    text = file if isinstance(file, str) else file.read_text()
    assert all(c.isprintable() or c == "\n" for c in text)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3
    assert text.count("\n") == 4
    for row in rows:
        assert row["'-minus"] == "-0.5"
        assert row["'" + one_line(VALUE)] == "0.5"
        for name, cell in row.items():
            assert cell == "-0.5" or not {name[0], *cell[:1]} & set("=+-@")
    return rows


def test_the_table(nasty, run):
    rows = cells(nasty("table", "--store", nasty.store).stdout)
    assert rows[0]["pruner.name"] == "'" + one_line(NAME)


def test_figures_show_names_and_no_formulas(nasty, run):
    nasty("plot", "--store", nasty.store, "--metric", VALUE, "--output", "plot.svg")
    nasty("plot", "--store", nasty.store, "--metric", VALUE, "--output", "plot.png")
    drawn = ElementTree.parse(nasty.store.parent / "plot.svg")
    shown = [part.text for part in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert one_line(VALUE).replace("_", " ") in shown
    text = (nasty.store.parent / "plot.csv").read_text()
    assert all(cell[:1] not in set("=+-@") for cell in next(csv.reader(io.StringIO(text))))


def test_what_is_refused(nasty, run):
    for words in (("run", "--pruner", VALUE), ("report", VALUE), ("show", VALUE), (VALUE,),
                  ("run", "--no-plugin", VALUE), ("run", "--a" + VALUE[1:]),
                  ("plot", "--store", nasty.store, "--metric", VALUE + "?"),
                  ("table", "--output", VALUE)):  # fmt: skip
        done = nasty(*words, ok=False)
        assert done.exit_code == 2
        *warnings, line = done.stderr.splitlines()
        assert all(one.startswith("sdd: warning: plugin '3'") for one in warnings)
        assert line.startswith("Error: ")
        assert "\\x1b]0;title\\x07<script>" in line


@pytest.mark.slow
def test_a_sweep_with_a_run_that_fails(nasty, settings):
    settings = settings.with_name("sweep.toml")
    settings.write_text("seed = [0, 1]\nlevels = 0\n[data]\nname = \"image-folder\"\npath = "
                        + json.dumps(VALUE) + "\n")
    done = nasty("sweep", settings, "--store", nasty.store, "--workers", "1", ok=False)
    assert done.exit_code != 0
    assert one_line(VALUE)[:20] in done.stderr
