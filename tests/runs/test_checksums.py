"""Every number of a run has a checksum: what is not as it was written is found by all who read it,
and made again by `sdd resume` where that is possible."""

import json
import os
import re
import shutil
import signal

import pytest
from click.testing import CliRunner
from support import KillMyself, Log, contents, go, in_child, small

import sdd_core
from runs.before_checksums import strip
from sdd_core import SddError, load_plugins
from sdd_core.cli import main
from sdd_core.files import atomic
from sdd_core.runs.open_run import open_run

SETTINGS = small(levels=1, train={"epochs": 2})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two runs, to be copied."""
    store = tmp_path_factory.mktemp("made") / "store"
    go({**SETTINGS, "seed": 1}, store)
    return go(SETTINGS, store)


@pytest.fixture
def store(made, tmp_path):
    """A store of its own with two runs."""
    shutil.copytree(made.folder.parent, tmp_path / "store")
    for seed in (0, 1):
        go({**SETTINGS, "seed": seed}, tmp_path / "store")  # links the levels again
    return tmp_path / "store"


def sdd(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def change(file, old, new):
    """Put another text in place of one that stands in a file."""
    text = file.read_text()
    assert re.search(old, text)
    file.write_text(re.sub(old, new, text, count=1))


HARMS = {
    # One bit makes 0.5 into 0.4, 1 into 0 or a name into another.
    "accuracy": lambda run: change(run / "metrics.jsonl", r'"test_accuracy": 0\.(\d)\d',
                                   r'"test_accuracy": 0.\g<1>0000001'),
    "sparsity": lambda run: change(run / "metrics.jsonl", r'"sparsity": 0\.4', '"sparsity": 0.6'),
    "diverged": lambda run: change(run / "metrics.jsonl", "false", "true"),
    "name of a metric": lambda run: change(run / "metrics.jsonl", "train_accuracy", "trbin_accur"),
    "checksum": lambda run: change(run / "metrics.jsonl", '"checksum": "....', '"checksum": "0000'),
    "no checksum": lambda run: change(run / "metrics.jsonl", r', "checksum": "\w*"', ""),
    "last line lost": lambda run: change(run / "metrics.jsonl", r'\n.*"level": 1.*\n', "\n"),
    "first line lost": lambda run: change(run / "metrics.jsonl", r'.*"level": 0.*\n', ""),
    "rows lost": lambda run: (run / "metrics.jsonl").unlink(),
    "test examples": lambda run: change(run / "record.json", '"test_examples": 797',
                                        '"test_examples": 796'),
    "version": lambda run: change(run / "record.json", '"python": "3', '"python": "2'),
    "no checksum of the record": lambda run: change(run / "record.json", r', "checksum": "\w*"',
                                                    ""),
    "record lost": lambda run: (run / "record.json").unlink(),
    "record empty": lambda run: (run / "record.json").write_text(""),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_run_is_named_by_all_and_mended_by_resume(store, made, harm):
    run, other = store / made.run, next(p for p in store.glob("d*") if p.name != made.run)
    before = contents(run)
    HARMS[harm](run)
    listed = json.loads(sdd("runs", "--store", store, "--json").stdout)
    assert sdd("runs", "--store", store).exit_code == 1
    assert {row["run"]: row["levels"] for row in listed} == {run.name: None, other.name: 2}
    (reason,) = (row["verdict"] for row in listed if row["run"] == run.name)
    assert "sdd resume" in reason
    for words in (["table", "--store", store], ["table", "*", "--store", store],
                  ["plot", "--store", store, "--output", store / "plot.svg"]):
        done = sdd(*words)
        assert done.exit_code == 1, done.output
        assert f"run {run.name} is left out: " in done.stderr
        assert other.name in done.stdout or words[0] == "plot"
    for words in (["report", run], ["table", run], ["plot", run], ["landscape", run]):
        done = sdd(*words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert run.name in done.stderr.splitlines()[-1]
    assert {row["run"] for row in sdd_core.table(store)} == {other.name}
    with pytest.raises(SddError):
        open_run(run, load_plugins()).result()

    done = sdd("resume", run, "--device", "cpu", "--quiet")
    assert done.exit_code == 0, done.output
    shutil.rmtree(run / "report")
    assert contents(run) == before
    assert sdd("runs", "--store", store).exit_code == 0


@pytest.mark.parametrize("name", ["epochs.jsonl", "level.json", "SHA256SUMS"])
def test_epochs_are_checked_where_they_are_read(store, made, name):
    run = store / made.run
    file = run / "levels" / "01" / name
    before = file.read_bytes()
    file.unlink()
    file.write_bytes(before.replace(b"1", b"7", 1))
    done = sdd("report", run)
    assert done.exit_code == 2
    assert "levels/01/" in done.stderr
    # What needs no epochs has the right numbers.
    assert len(sdd_core.table(store)) == 4
    assert sdd("resume", run, "--device", "cpu", "--quiet").exit_code == 0
    assert file.read_bytes() == before
    assert sdd("report", run).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("levels = 1", "levels = 4"), ("lr = 0.1", "lr = 0.2"), ("seed = 0", "seed = 9")],
)
def test_an_edited_experiment_is_refused_by_all_and_told_what_to_do(store, made, old, new):
    run = store / made.run
    file = run / "experiment.toml"
    before = file.read_text()
    change(file, old, new)
    edited = file.read_text()
    said = f"sdd run {file}"
    for words in (["report", run], ["table", run], ["resume", run]):
        done = sdd(*words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr
    done = sdd("runs", "--store", store)
    assert done.exit_code == 1
    assert "has changed since the run was made" in " ".join(done.stdout.split())
    assert file.read_text() == edited
    # The run itself, once more, has its own settings again, and what was edited is kept.
    go(SETTINGS, store)
    assert file.read_text() == before
    assert (store / ".shared" / "damaged" / run.name / "experiment.toml").read_text() == edited


def test_files_of_another_run_are_not_taken_for_its_own(store, made):
    run, other = store / made.run, next(p for p in store.glob("d*") if p.name != made.run)
    for name in ("metrics.jsonl", "record.json", "experiment.toml"):
        own = (run / name).read_bytes()
        shutil.copyfile(other / name, run / name)
        assert {row["run"] for row in sdd_core.table(store)} == {other.name}, name
        (run / name).write_bytes(own)
    levels = run / "levels"
    (levels / "00").rename(levels / "02")
    (levels / "01").rename(levels / "00")
    (levels / "02").rename(levels / "01")
    with pytest.raises(SddError, match=r"levels/00/level.json .*it belongs to another level"):
        open_run(run, load_plugins()).result()


def test_a_run_may_be_copied_and_renamed(store, made):
    shutil.copytree(store / made.run, store / "a-copy")
    found = open_run(store / "a-copy", load_plugins()).result()
    assert found.levels == made.levels
    assert sdd("runs", "--store", store).exit_code == 0


def test_damaged_measurements_are_not_believed(store, made, capsys):
    """Neither those of a level that another level's stand in for."""
    shared = store / ".shared" / "metrics"
    one, other = (shared / f"{level.key}.json" for level in made.levels)
    whole = one.read_bytes()
    for harmed in (re.sub(rb'"test_accuracy": 0\.\d', b'"test_accuracy": 0.9', whole),
                   other.read_bytes(), re.sub(rb', "checksum": "\w*"', b"", whole)):
        assert harmed != whole
        one.write_bytes(harmed)
        (store / made.run / "metrics.jsonl").unlink()
        assert go(SETTINGS, store).levels == made.levels
        assert one.read_bytes() == whole
        assert f"{one} is damaged" in capsys.readouterr().err


def test_a_store_from_before_is_read_and_gets_checksums_when_its_runs_go_on(store, made):
    before = contents(store)
    strip(store)
    assert contents(store) != before
    assert len(sdd_core.table(store)) == 4
    assert open_run(store / made.run, load_plugins()).result().levels == made.levels
    assert sdd("runs", "--store", store).exit_code == 0
    log = Log()
    for seed in (0, 1):
        go({**SETTINGS, "seed": seed}, store, observers=[log])
    assert log.levels == []
    # But for what was measured on shared levels, which is not written while nothing is added.
    old = {name for name in before if name.startswith(".shared/metrics/")}
    found = contents(store)
    assert {name for name in before if found[name] != before[name]} == old
    assert found.keys() == before.keys()


@pytest.mark.parametrize("harm", ['"x"', "1e308", "1e999", "NaN", "[]", "{}", "true", "-0.1"])
@pytest.mark.parametrize("field", ["sparsity", "test_accuracy", "level"])
def test_rows_from_before_are_checked_as_far_as_they_can_be(store, made, field, harm):
    strip(store)
    change(store / made.run / "metrics.jsonl", rf'"{field}": [^,]*', f'"{field}": {harm}')
    assert json.loads(sdd("runs", "--store", store, "--json").stdout)[0]["levels"] in {None, 2}
    assert len({row["run"] for row in sdd_core.table(store)}) == 1
    go(SETTINGS, store)
    assert open_run(store / made.run, load_plugins()).result().levels == made.levels


def test_a_run_that_is_killed_while_it_gets_more_levels_is_not_taken_for_an_edited_one(
    store, made
):
    for nth in range(1, 12):
        place = store.with_name(f"store{nth}")
        shutil.copytree(store, place)

        def work(place=place, nth=nth):
            count, sync = KillMyself(nth), atomic._sync
            atomic._sync = lambda path: (count(), sync(path))
            go({**SETTINGS, "levels": 2}, place)

        assert in_child(work) == -signal.SIGKILL
        found = open_run(place / made.run, load_plugins()).result()
        assert found.levels == made.levels
        assert go(SETTINGS, place).levels == made.levels
    assert found.experiment.levels == 2, "none was killed after the change"


def test_a_line_that_was_being_written_is_no_damage(store, made, capsys):
    run = store / made.run
    file = run / "metrics.jsonl"
    whole = file.read_bytes()
    shutil.rmtree(run / "levels" / "01")  # the level was not there yet
    first = len(whole.splitlines(keepends=True)[0])
    for end, levels in ((-1, 2), (-2, 1), (-40, 1), (first + 1, 1), (first, 1), (first - 1, 1)):
        file.write_bytes(whole[:end])
        found = open_run(run, load_plugins()).result(epochs=False)
        assert [one.metrics for one in found.levels] == [
            one.metrics for one in made.levels[:levels]
        ]
        assert sdd("runs", "--store", store).exit_code == 0
    assert go(SETTINGS, store).levels == made.levels
    assert file.read_bytes() == whole
    assert "damaged" not in capsys.readouterr().err


def test_a_plugins_value_that_reports_cannot_use_is_left_out(tmp_path, capsys):
    from support import plugins_with

    class Percent(sdd_core.Metric):
        """Says hundred for all."""

        name = "percent"

        def measure(self, level):
            return {"test_accuracy": 97.3, "own": 97.3}

    plugins = plugins_with(sdd_metrics=[Percent])
    result = go({**SETTINGS, "levels": 0, "metrics": ["percent"]}, tmp_path, plugins=plugins)
    assert result.levels[0].metrics == {"test_accuracy": None, "own": 97.3}
    assert "test_accuracy is 97.3; expected a number from 0 to 1" in capsys.readouterr().err
    assert os.listdir(tmp_path)
