"""A user's own network, named as `package.module:function`."""

import importlib
import os
import subprocess
import sys
import textwrap

import pytest
from support import Log, go, small

from sdd_core import Experiment, SddError, load_plugins
from sdd_core.experiment.keys import dense_key
from sdd_core.experiment.settings import read_toml
from sdd_core.runs.open_run import open_run

SOURCE = """
    import math
    from torch import nn

    def mlp(input_shape, num_classes, width=8):
        inputs = math.prod(input_shape)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def linear():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    class Network(nn.Sequential):
        def __init__(self, num_classes):
            super().__init__(nn.Flatten(), nn.Linear(64, num_classes))

    def five(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    def pictures(num_classes): return nn.Conv2d(1, num_classes, 3)
    def pair(num_classes): return Pair()
    class Pair(nn.Linear):
        def __init__(self): super().__init__(64, 10)
        def forward(self, images): return super().forward(images.flatten(1)), None
    def nothing(): ...
    def broken(num_classes): raise RuntimeError("two\\nlines")
    value = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the module `own_networks`, as a user would edit it between two commands."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source=SOURCE):
        (tmp_path / "own_networks.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        sys.modules.pop("own_networks", None)

    write()
    yield write
    sys.modules.pop("own_networks", None)


def key(model="own_networks:mlp", **options):
    return dense_key(Experiment.make({"model": {"name": model, **options}}))


@pytest.mark.parametrize("name", ["mlp", "linear", "Network"])
def test_functions_and_classes_of_the_users_train(own, tmp_path, name):
    result = go(small(model=f"own_networks:{name}", levels=1), tmp_path / "store")
    assert len(result.levels) == 2
    assert f"own_networks_{name}" in result.run


def test_options_are_arguments(own, tmp_path):
    result = go(small(model={"name": "own_networks:mlp", "width": 5}, levels=0), tmp_path / "s")
    by_layer = result.levels[0].metrics["learning_distance_by_layer"]
    assert len(by_layer) == 4
    assert result.experiment.to_dict()["model"]["width"] == 5
    assert key(width=5) != key(width=6) != key()
    assert key(width=5) == key(width=5.0)


def test_the_folder_of_the_command_is_searched(tmp_path, monkeypatch):
    (tmp_path / "found_here.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != os.getcwd()])
    monkeypatch.chdir(tmp_path)
    assert Experiment.make({"model": "found_here:linear"}).model.path == "found_here:linear"
    sys.modules.pop("found_here")


def test_a_changed_source_is_another_model(own, tmp_path):
    settings = small(model="own_networks:mlp", levels=1)
    first = go(settings, tmp_path / "store")
    before = key()
    own()
    assert key() == before, "loaded again, but the same"
    own(SOURCE.replace("nn.ReLU()", "nn.Tanh()"))
    assert key() != before
    log = Log()
    second = go(settings, tmp_path / "store", observers=[log])
    assert log.levels == [0, 1]
    assert second.run != first.run
    assert second.levels[0].metrics != first.levels[0].metrics


def test_an_edited_file_counts_when_it_is_loaded(own, tmp_path):
    """As in a notebook: the file has changed, and the old code still runs."""
    before = key()
    changed = textwrap.dedent(SOURCE).replace("nn.ReLU()", "nn.Tanh()")
    (tmp_path / "own_networks.py").write_text(changed)
    os.utime(tmp_path / "own_networks.py", (1, 1))
    assert key() == before
    importlib.reload(sys.modules["own_networks"])
    assert key() != before


def test_the_module_that_defines_the_function_counts(own, tmp_path):
    (tmp_path / "facade.py").write_text("from own_networks import mlp\n")
    before = key("facade:mlp")
    own(SOURCE.replace("nn.ReLU()", "nn.Tanh()"))
    sys.modules.pop("facade")
    assert key("facade:mlp") != before
    sys.modules.pop("facade")


def test_a_run_can_be_repeated_from_its_toml(own, tmp_path):
    experiment = Experiment.make(small(model={"name": "own_networks:mlp", "width": 5}))
    assert Experiment.make(experiment.to_dict()) == experiment
    first = go(experiment.to_dict(), tmp_path / "store")
    log = Log()
    go(read_toml(first.folder / "experiment.toml"), tmp_path / "store", observers=[log])
    assert log.levels == []


def test_a_run_can_be_read_without_its_model_and_not_gone_on_with(own, tmp_path):
    result = go(small(model="own_networks:mlp", levels=1), tmp_path / "store")
    own("1 / 0")
    run = open_run(result.folder, load_plugins())
    assert run.result().levels == result.levels
    with pytest.raises(SddError, match="model: cannot import 'own_networks:mlp': ZeroDivision"):
        go(run.experiment, tmp_path / "store")
    own(SOURCE.replace("nn.ReLU()", "nn.Tanh()"))
    with pytest.raises(SddError, match="model 'own_networks:mlp': its source has changed"):
        go(run.experiment, tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir() if path.name[0] != "."] == [
        result.run
    ]


BAD = {
    "own_networks:missing": "model: cannot import 'own_networks:missing': AttributeError",
    "no_such_module:f": "model: cannot import 'no_such_module:f': ModuleNotFoundError",
    "own_networks:value": "model: 'own_networks:value' is not a function or class",
    "own_networks:": "model: cannot import 'own_networks:'",
    ":mlp": "model: cannot import ':mlp'",
    "own_networks:nothing": "model 'own_networks:nothing' returned NoneType; expected a torch",
    "own_networks:broken": "model 'own_networks:broken' failed: RuntimeError: two lines",
    "own_networks:five": r"gives \[2, 5\] for 2 images; expected \[2, 10\]",
    "own_networks:pictures": r"gives \[2, 10, 6, 6\] for 2 images; expected \[2, 10\]",
    "own_networks:pair": r"gives tuple for 2 images; expected \[2, 10\]",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_network_is_one_line_and_nothing_is_written(own, tmp_path, name):
    with pytest.raises(SddError, match=BAD[name]) as refused:
        go(small(model=name), tmp_path / "store")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"widht": 3}, "unexpected keyword argument 'widht'"),
        ({"width": float("nan")}, "must be values of TOML, such as numbers, text or lists"),
        ({"width": object()}, "must be values of TOML, such as numbers, text or lists"),
        ({"width": None}, "must be values of TOML, such as numbers, text or lists"),
        ({"path": "x"}, "an option cannot be called `path`"),
    ],
)
def test_options_that_do_not_fit_are_one_line(own, tmp_path, options, reason):
    with pytest.raises(SddError, match=reason) as refused:
        go(small(model={"name": "own_networks:mlp", **options}), tmp_path / "store")
    assert "\n" not in str(refused.value)


def test_a_module_that_exits_is_one_line(own):
    own("import sys; sys.exit(1)")
    with pytest.raises(SddError, match="cannot import 'own_networks:mlp': SystemExit: 1"):
        key()


def test_a_users_queue_does_not_stand_for_the_standard_librarys(tmp_path):
    # No run needs it, but torch does, which is imported after the user's module.
    (tmp_path / "queue.py").write_text("raise RuntimeError('the wrong one')")
    (tmp_path / "numba.py").write_text("mine = True")
    (tmp_path / "nets.py").write_text("import numba\nassert numba.mine\ndef make(): ...\n")
    script = ("import sys; sys.path.remove('') if '' in sys.path else None\n"
              "from sdd_core.experiment.import_path import _function; _function('nets:make')\n"
              "sys.modules.pop('queue', None); import queue; print(queue.__file__)\n"
              f"print(sys.path.count({str(tmp_path)!r}))")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, count = done.stdout.split()
    assert not file.startswith(str(tmp_path))
    assert count == "1"
