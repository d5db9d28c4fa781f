"""Bad input: exit code 2, one line on standard error, nothing written."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import refused

WORDS = [
    (["--pruner", "ipm"], "unknown pruner 'ipm'; did you mean imp"),
    (["--retrain", "rewnd"], "did you mean rewind"),
    (["--noise", "symetric"], "did you mean symmetric"),
    (["--data", "cifar"], "did you mean cifar10"),
    (["--model", "resnet-18"], "did you mean resnet18"),
    (["--pruner.fraction", "1.5"], "pruner.fraction: input should be less than 1 (got 1.5)"),
    (["--pruner.fraction", "nan"], "pruner.fraction: input should be a finite number (got nan)"),
    (["--noise.rate", "-0.1"], "noise.rate"),
    (["--levels", "-1"], "levels: input should be greater than or equal to 0 (got -1)"),
    (["--levels", "many"], "'many' is not a valid integer"),
    (["--train.epochs", "-1"], "train.epochs: input should be greater than or equal to 0"),
    (["--train.lr", "inf"], "train.lr: input should be a finite number"),
    (["--train.decay.milestones", "0.9,0.1"], "must be increasing"),
    (["--pruner.scope", "all"], "pruner.scope"),
    (["--pruner.exempt", "no-such-layer"], "'no-such-layer' matches no layer"),
    (["--seed", "-1"], "seed"),
    (["--set", "train.epochs"], "expected FIELD=VALUE"),
    (["--set", "trian.epochs=3"], "trian: there is no such setting"),
    (["--set", "train.epoch=3"], "train.epoch: there is no such setting"),
    (["--set", "model.widths=8"], "model.widths: input should be a list"),
    (["--no-such-option"], "--no-such-option"),
    (["--pruner.batches", "2"], "--pruner.batches"),
    (["--pruner"], "requires an argument"),
    (["missing.toml"], "cannot read experiment file missing.toml"),
    (["invalid.toml"], "experiment file invalid.toml is not valid TOML"),
    (["section.toml"], "optimiser: there is no such setting"),
    (["binary.toml"], "cannot read experiment file binary.toml"),
    (["one.toml", "another.toml"], "unexpected extra argument (another.toml)"),
    (["--data", "mnist", "--data-root", "nowhere"], "data 'mnist'"),
    (["--data", "image-folder"], "data.path: is required"),
    (["--data", "image-folder", "--data.path", "nowhere"], "nowhere"),
    (["--model", "no_such_package.module:function"], "no_such_package"),
    (["--model", "os.path:no_such_function"], "no_such_function"),
    (["--model", "os:getcwd"], "expected a torch.nn.Module"),
    (["--device", "abacus"], "cannot use device 'abacus'"),
    (["--device", "meta"], "cannot use device 'meta'"),
    (["--store", "invalid.toml"], "invalid.toml"),
    (["--store", "invalid.toml/store"], "cannot write invalid.toml/store"),
    (["--threads", "0"], "--threads"),
    (["--store", ""], "an empty name; expected a folder"),
    (["--checkpoint-minutes", "nan"], "nan is not a number of minutes"),
    (["--checkpoint-minutes", "-1"], "-1.0 is not in the range"),
    (["--pruner.sparsity", "0.5", "--pruner.fraction", "0.3"],
     "pruner: sparsity and fraction are both set; set only one"),
]


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(("words", "said"), WORDS, ids=lambda value: str(value)[:40])
def test_run_refuses(sdd, tmp_path, monkeypatch, words, said):
    # Downloads fail here as they do without a network.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (tmp_path / "invalid.toml").write_text("levels = \n")
    (tmp_path / "section.toml").write_text("[optimiser]\nname = 'adam'\n")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    before = files(tmp_path)
    assert said in refused(sdd("run", *words))
    assert files(tmp_path) == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "no command 'rum'; did you mean run or resume"),
        (["xyzzy"], "Error: no command 'xyzzy' (see `"),
        (["--no-such-option"], "No such option"),
        (["resume"], "Missing argument 'RUN'"),
        (["resume", "nothing"], "no run 'nothing' in runs"),
        (["report", "nothing"], "no run 'nothing' in runs"),
        (["report", "."], "is not a run folder"),
        (["show", "imq"], "no plugin is called 'imq'; did you mean imp"),
        (["list-plugins", "--kind", "pruners"], "'pruners' is not one of"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_commands_refuse(sdd, tmp_path, words, said):
    assert said in refused(sdd(*words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["report", "resume"])
def test_the_beginning_of_several_names_is_refused_with_the_names(sdd, tmp_path, command):
    for name in ("digits-1", "digits-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "experiment.toml").write_text("")
    line = refused(sdd(command, "dig"))
    assert "'dig' matches 2 runs" in line
    assert "digits-1, digits-2" in line


@pytest.mark.parametrize("command", ["report", "resume"])
@pytest.mark.parametrize(
    ("record", "said"),
    [
        ('{"format": 99}', "has format 99, but this version of sdd reads"),
        ("{", "missing or damaged"),
        (None, "missing or damaged"),
        ("[]", "missing or damaged"),
    ],
)
def test_a_run_folder_of_another_version_is_refused(sdd, tmp_path, command, record, said):
    folder = tmp_path / "runs" / "a-run"
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text("levels = 0\n")
    if record is not None:
        (folder / "record.json").write_text(record)
    before = files(tmp_path)
    assert said in refused(sdd(command, "a-run"))
    assert files(tmp_path) == before


def test_a_run_that_was_damaged_is_listed_with_the_reason(sdd, tmp_path):
    folder = tmp_path / "runs" / "a-run"
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text("levels = 0\n")
    done = sdd("runs")
    assert done.exit_code == 1
    assert "missing or damaged" in done.stdout


def test_a_plugin_that_was_blocked_is_named_when_it_is_asked_for(sdd):
    line = refused(sdd("run", "--pruner", "imp", "--no-plugin", "imp"))
    assert "blocked by the user" in line


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("word", ["--help", "list-plugins", "schema"])
def test_an_output_that_is_full_is_one_line(word):
    command = [sys.executable, "-c", "from sdd_core.cli import main; main()", word]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "Error: cannot read or write the output: No space left on device\n"
    assert done.returncode == 2
