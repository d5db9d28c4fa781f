"""Looking at runs imports nothing but installed plugins; going on with a run imports what it names,
and asks where that is not what it has imported before."""

import csv
import importlib
import io
import json
import os
import shutil
import sys
import textwrap

import pytest
from click.testing import CliRunner

import sdd_core
from sdd_core import Experiment, SddError, load_plugins
from sdd_core.cli import main
from sdd_core.runs.open_run import open_run, strange_modules

NETS = """
    import math, os
    from torch import nn
    open(os.environ["SDD_TEST_DIARY"], "a").write("imported ")

    def make(input_shape, num_classes, widths: list[int] = [4], scale=1.0):
        sizes = [math.prod(input_shape), *widths]
        layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], num_classes))
"""
FILE = """
levels = 1
train.epochs = 1
data = {name = "digits", examples = 100}
metrics = ["accuracy", "landscape"]
model = {name = "package.nets:make", widths = [6, 5], scale = [1.0, 2.0]}
"""


class Place:
    """A folder with a package of the user's, and a diary of its imports."""

    def __init__(self, folder):
        self.folder = folder
        self.nets = folder / "package" / "nets.py"
        self.nets.parent.mkdir()
        (folder / "package" / "__init__.py").write_text("")
        self.nets.write_text(textwrap.dedent(NETS))
        self.file = folder / "sweep.toml"
        self.file.write_text(FILE)

    def forget(self):
        """As in a new process."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def imports(self):
        diary = self.folder / "diary"
        return diary.read_text().count("imported") if diary.exists() else 0

    def sdd(self, *words):
        self.forget()
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    def run(self):
        (folder,) = (path for path in (self.folder / "runs").iterdir() if path.is_dir()
                     and not path.name.startswith("."))
        return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SDD_TEST_DIARY", str(tmp_path / "diary"))
    yield (made := Place(tmp_path))
    made.forget()


@pytest.fixture
def ran(place):
    """With a run of the user's own network."""
    one = place.folder / "one.toml"
    one.write_text(FILE.replace("[1.0, 2.0]", "1.0"))
    done = place.sdd("run", one, "--device", "cpu", "--quiet")
    assert done.exit_code == 0, done.output
    assert place.imports() == 1
    return place


def looks(place):
    """All ways to look at the runs in a store, and at the one of a user's own network."""
    run = place.run()
    return [("runs",), ("runs", "--json"), ("report", run), ("table",), ("table", run),
            ("table", "d*"), ("plot",), ("plot", run),
            ("landscape", run), ("table", "sweep.toml"), ("plot", "sweep.toml"),
            ("table", run / "experiment.toml")]


def test_no_command_that_looks_imports_the_users_module(ran):
    for words in looks(ran):
        done = ran.sdd(*words)
        assert done.exit_code == 0, (words, done.output)
        assert ran.imports() == 1, words
        assert not [name for name in sys.modules if name.startswith("package")]


def test_neither_does_python(ran):
    ran.forget()
    found = open_run(ran.run(), load_plugins())
    assert len(found.result().levels) == 2
    assert len(sdd_core.table(ran.folder / "runs")) == 2
    sdd_core.plot(found.result())
    assert strange_modules(found) == []
    assert ran.imports() == 1


def test_a_file_finds_its_runs_by_what_they_have_recorded(ran):
    """Also a list that is one value of an option, by the values that runs have."""
    done = ran.sdd("table", "sweep.toml")
    (run,) = {row["run"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert run == ran.run().name
    assert "1 of the 2 runs of sweep.toml have not begun" in done.stderr
    # Runs of another source are other runs of the same file.
    ran.nets.write_text(textwrap.dedent(NETS) + "# changed\n")
    ran.forget()
    assert ran.sdd("run", "one.toml", "--device", "cpu", "--quiet").exit_code == 0
    rows = list(csv.DictReader(io.StringIO(ran.sdd("table", "sweep.toml").stdout)))
    assert len({row["run"] for row in rows}) == 2
    assert ran.imports() == 2
    shutil.rmtree(ran.folder / "runs")
    (ran.folder / "runs").mkdir()
    done = ran.sdd("table", "sweep.toml")
    assert (done.exit_code, ran.imports()) == (2, 2)


def test_what_a_stranger_wrote_by_hand_is_not_imported_either(ran):
    """Without the hash of a source nothing is known of it."""
    file = ran.run() / "experiment.toml"
    file.write_text("\n".join(line for line in file.read_text().splitlines()
                              if not line.startswith("source_hash")))
    record = json.loads((ran.run() / "record.json").read_text())
    for name in ("experiment", "name", "levels", "modules", "checksum"):
        del record[name]
    (ran.run() / "record.json").write_text(json.dumps(record))
    for words in (*looks(ran)[2:9], ("resume", ran.run()), ("resume", "--trust", ran.run())):
        done = ran.sdd(*words)
        assert done.exit_code != 0, words
        assert ran.imports() == 1, words
    with pytest.raises(SddError, match=r"model: 'package\.nets:make' has no source_hash"):
        open_run(ran.run(), load_plugins())
    assert ran.imports() == 1
    Experiment.make({"model": "package.nets:make"})  # of one's own, that is
    assert ran.imports() == 2


def test_resume_imports_what_it_has_imported_before(ran):
    done = ran.sdd("resume", ran.run(), "--device", "cpu", "--quiet")
    assert done.exit_code == 0, done.output
    assert ran.imports() == 2


def changed_source(place):
    place.nets.write_text(textwrap.dedent(NETS) + "\n# another\n")
    return "package.nets"


def changed_package(place):
    (place.nets.parent / "__init__.py").write_text(
        "import os; open(os.environ['SDD_TEST_DIARY'], 'a').write('package ')\n")
    return "package"


def moved(place):
    """The same source, found in another folder."""
    (place.folder / "elsewhere").mkdir()
    shutil.move(place.folder / "package", place.folder / "elsewhere" / "package")
    sys.path.insert(0, str(place.folder / "elsewhere"))
    return "package"


def gone(place):
    shutil.rmtree(place.folder / "package")
    return "package"


def no_record(place):
    (place.run() / "record.json").unlink()
    return "package"


@pytest.mark.parametrize("harm", [changed_source, changed_package, moved, gone, no_record])
def test_resume_asks_before_it_imports_another_module(ran, harm):
    module = harm(ran)
    done = ran.sdd("resume", ran.run(), "--device", "cpu", "--quiet")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: module {module} ")
    assert "--trust" in done.stderr
    assert (ran.folder / "diary").read_text() == "imported "
    # With that word it is imported, and refused if the network may be another one.
    done = ran.sdd("resume", "--trust", ran.run(), "--device", "cpu", "--quiet")
    assert ran.imports() == (1 if harm is gone else 2)
    assert done.exit_code == (2 if harm in {changed_source, gone} else 0), done.output
    if done.exit_code == 0:  # from now on it is the one that it knows
        assert ran.sdd("resume", ran.run(), "--device", "cpu", "--quiet").exit_code == 0


def test_a_module_that_defines_what_another_one_names_counts_too(place):
    (place.folder / "package" / "facade.py").write_text("from package.nets import make\n")
    place.file.write_text(FILE.replace("nets:make", "facade:make").replace("[1.0, 2.0]", "1.0"))
    assert place.sdd("run", "sweep.toml", "--device", "cpu", "--quiet").exit_code == 0
    assert place.sdd("resume", place.run(), "--device", "cpu", "--quiet").exit_code == 0
    assert place.imports() == 2
    changed_source(place)
    done = place.sdd("resume", place.run(), "--device", "cpu", "--quiet")
    assert "module package.nets " in done.stderr
    assert place.imports() == 2
    assert os.getcwd() == str(place.folder)
