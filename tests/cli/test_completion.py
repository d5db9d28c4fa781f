"""A shell is told the names of plugins and options, and does not wait for torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from sdd_core import load_plugins
from sdd_core.cli import COMMANDS, completion, main


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of these tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        completion.catalogue()
        yield folder


@pytest.fixture
def complete(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list]:
    """What may stand where the last of the words begins."""
    monkeypatch.chdir(tmp_path)

    def ask(*words: str) -> list[str]:
        shell = ShellComplete(main, {}, "sdd", "_SDD_COMPLETE")
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]

    return ask


def test_commands(complete):
    assert complete("") == list(COMMANDS)
    assert complete("re") == [name for name in COMMANDS if name.startswith("re")]


@pytest.mark.parametrize(
    ("option", "kind"),
    [("--pruner", "pruner"), ("--retrain", "retrain"), ("--data", "data"), ("--noise", "noise"),
     ("--model", "model"), ("--loss", "loss"), ("--ablation", "ablation"), ("--metric", "metric")],
)  # fmt: skip
def test_names_of_each_kind(complete, option, kind):
    names = load_plugins().names(kind)
    assert complete("run", option, "") == names
    assert complete("run", option, names[0][:2]) == [n for n in names if n.startswith(names[0][:2])]
    assert complete("run", f"{option}={names[0]}") == [n for n in names if n.startswith(names[0])]


@pytest.mark.parametrize("command", ["show", "check"])
def test_names_of_all_kinds(complete, command):
    assert complete(command, "syn") == ["synflow"]
    assert {"imp", "rewind", "mlp"} <= set(complete(command, ""))


def test_options_of_the_chosen_plugins(complete, tmp_path):
    fields = load_plugins().get("pruner", "gradient").model_fields
    expected = {f"--pruner.{field}" for field in fields}
    assert set(complete("run", "--pruner", "gradient", "--pruner.")) == expected
    assert "--pruner.batches" not in complete("run", "--pruner.")
    assert complete("run", "--retrain=rewind", "--retrain.un") == ["--retrain.unit"]
    assert complete("run", "--train.dec") == [
        "--train.decay", "--train.decay.milestones", "--train.decay.gamma"]
    (tmp_path / "mine.toml").write_text('pruner = "gradient"\n')
    assert set(complete("run", "mine.toml", "--pruner.")) == expected


def test_values_of_an_option(complete):
    assert complete("run", "--pruner.scope", "") == ["global", "layer", "erk", "output", "input"]
    assert complete("run", "--pruner.from_dense", "") == ["true", "false"]
    assert complete("run", "--train.decay=c") == ["cosine"]
    assert complete("run", "--pruner.sparsity", "") == ["linear", "geometric", "cubic"]
    assert {"sgd", "AdamW"} <= set(complete("run", "--train.optimizer", ""))


def test_options_of_a_plugin_that_is_an_option(complete):
    assert complete("run", "--train.optimizer=Adagrad", "--train.optimizer.l") == [
        "--train.optimizer.lr_decay"
    ]
    assert complete("run", "--train.optimizer.") == [
        "--train.optimizer.decay_biases", "--train.optimizer.momentum"
    ]


def test_options_of_the_one_plugin_of_a_command(complete):
    fields = load_plugins().get("executor", "ray").model_fields
    assert set(complete("sweep", "--executor=ray", "--executor.")) == {
        f"--executor.{field}" for field in fields if field != "workers"}
    assert complete("export", "--format", "") == load_plugins().names("exporter")
    assert complete("export", "--format=nobody", "--format.") == []


@pytest.fixture
def stores(tmp_path):
    """Two stores with runs, of which one folder is none yet."""
    for store, names in {"runs": ("digits-a", "digits-b", "mnist-a"), "other": ("own-a",)}.items():
        for name in names:
            (tmp_path / store / name).mkdir(parents=True)
            (tmp_path / store / name / "experiment.toml").touch()
    (tmp_path / "runs" / "digits-begun").mkdir()


def takes_runs():
    """The commands that take runs, by what their help calls the argument."""
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in COMMANDS}
    return [name for name, command in commands.items()
            if any("RUN" in (param.metavar or "") for param in command.params
                   if isinstance(param, click.Argument))]


def test_these_take_runs():
    assert takes_runs() == ["resume", "report", "recommend", "export", "table", "plot",
                            "sensitivity", "landscape"]


@pytest.mark.parametrize("command", takes_runs())
def test_names_of_runs(complete, stores, command, monkeypatch):
    def names(*words):
        return [one for one in complete(command, *words) if one != words[-1]]

    assert names("") == ["digits-a", "digits-b", "mnist-a"]
    assert names("di") == ["digits-a", "digits-b"]
    assert names("zzz") == []
    assert names("--store", "other", "o") == ["own-a"]
    assert names("--store=other", "") == ["own-a"]
    assert names("--store", "nowhere", "") == []
    monkeypatch.setenv("SDD_STORE", "other")
    assert names("") == ["own-a"]
    assert names("--store", "runs", "m") == ["mnist-a"]


def test_a_run_is_named_once_and_a_file_may_stand_beside_it(complete, stores):
    assert "digits-a" not in complete("plot", "digits-a", "di")
    shell = ShellComplete(main, {}, "sdd", "_SDD_COMPLETE")
    kinds = {command: shell.get_completions([command], "")[0].type for command in takes_runs()}
    assert kinds == {"resume": "dir", "report": "dir", "recommend": "file", "export": "dir",
                     "table": "file", "plot": "file", "sensitivity": "file", "landscape": "dir"}


def test_a_line_with_mistakes_is_completed_as_far_as_it_goes(complete, tmp_path):
    (tmp_path / "broken.toml").write_text("= 3")
    assert complete("run", "broken.toml", "--pruner", "gr") == ["gradient", "grasp"]
    assert complete("run", "--no-such-option", "--pruner", "gr") == ["gradient", "grasp"]
    assert complete("run", "--pruner", "nobody", "--pruner.") == []


def test_nobody_waits_for_torch(cache, tmp_path, stores):
    code = (
        "import sys\nfrom sdd_core.cli import main\n"
        "try:\n    main(prog_name='sdd')\nexcept SystemExit:\n    pass\n"
        "print('loaded:', sorted({'torch', 'sdd_plugins'} & set(sys.modules)))\n"
    )
    for line in ("sdd run --pruner gr", "sdd run --pruner gradient --pruner.b", "sdd sh",
                 "sdd show sy", "sdd resume di", "sdd plot di", "sdd report di",
                 "sdd export di", "sdd export --format tor"):  # fmt: skip
        environment = {**os.environ, "_SDD_COMPLETE": "bash_complete", "COMP_WORDS": line,
                       "COMP_CWORD": str(len(line.split()) - 1)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=True, env=environment, cwd=tmp_path)
        *found, loaded = done.stdout.splitlines()
        assert found, line
        assert loaded == "loaded: []", line


def test_what_was_found_is_kept_until_other_plugins_are_installed(cache, monkeypatch):
    def fail(*_, **__):
        raise subprocess.SubprocessError("asked again")

    monkeypatch.setattr(completion.subprocess, "run", fail)
    assert "imp" in completion.catalogue()["plugins"]["pruner"]
    (file,) = cache.rglob("completion.json")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "installed": kept["installed"][1:]}))
    assert completion.catalogue() == {"plugins": {}, "train": {}}
    file.write_text("half a fi")
    assert completion.catalogue() == {"plugins": {}, "train": {}}
    file.write_text(json.dumps(kept))
    assert "imp" in completion.catalogue()["plugins"]["pruner"]
