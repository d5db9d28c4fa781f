"""The label noise of an experiment that asks for none belongs to the data: what users bring keeps
its labels, and every view of a run names the noise that was applied."""

import io
import json
import re
import tomllib

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from support import module, plugins_with, small
from torch.utils.data import TensorDataset

import sdd_core
from sdd_core import Dataset, DataSource, Experiment, SddError, Split
from sdd_core.analysis.groups import group
from sdd_core.cli import main
from sdd_core.experiment.choice import default_names
from sdd_core.experiment.schema import experiment_schema
from sdd_core.experiment.settings import override, read_toml
from sdd_core.files.reading import seal
from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.report.page import report_page
from sdd_core.runs.open_run import open_run
from sdd_core.runs.table import html_table, result_table
from sdd_core.sweeps import expand

IMAGES = torch.rand(100, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(100) % 3
TRAIN, TEST = (IMAGES[:80], LABELS[:80]), (IMAGES[80:], LABELS[80:])
BUILT_IN = ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet"]
OWN_FILE = """
def pair():
    import torch
    images = torch.rand(30, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    return (images[:20], labels[:20]), (images[20:], labels[20:])
"""


class Photos(DataSource):
    """A stranger's data."""

    name = "photos"

    def load(self, root):
        return Dataset(self.name, Split(*TRAIN), Split(*TEST), num_classes=3)


class Benchmark(Photos):
    """A stranger's benchmark, with noise of its own."""

    name = "benchmark"
    default_noise = {"name": "pair-flip", "rate": 0.3}


class Labels(sdd_core.Metric):
    """How many training labels are not those that were brought."""

    name = "labels"

    def measure(self, level):
        labels = level.data.train.labels
        return {"moved": int((labels != TRAIN[1]).sum()) if len(labels) == 80 else None}


PLUGINS = plugins_with(sdd_data_sources=[Photos, Benchmark], sdd_metrics=[Labels])


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    (tmp_path / "labels_of_mine.py").write_text(OWN_FILE)
    monkeypatch.chdir(tmp_path)
    return "labels_of_mine:pair"


def brought():
    """Every form in which users bring data, but for functions in files."""
    data = Dataset.of(TRAIN, TEST)
    return [
        (TRAIN, TEST), [TensorDataset(*TRAIN), TEST], data, {"name": "image-folder", "path": "x"},
        "hf:x", {"name": "hf", "path": "x"}, "photos", "stranger:photos",
    ]  # fmt: skip


@pytest.mark.parametrize("data", brought(), ids=range(8))
def test_what_a_user_brings_has_no_noise_unless_it_is_asked_for(data):
    def noise(**settings):
        made = Experiment.make({"data": data, **settings}, PLUGINS).noise
        return made.name, made.rate

    assert noise() == ("none", 0.0)
    assert noise(noise={}) == ("none", 0.0)
    assert noise(noise="symmetric") == ("symmetric", 0.4)
    # a rate alone asks for symmetric noise of that rate
    assert noise(noise={"rate": 0.2}) == ("symmetric", 0.2)
    assert noise(noise={"among": "others"}) == ("symmetric", 0.4)
    assert noise(noise={"name": "pair-flip"}) == ("pair-flip", 0.4)


def test_a_function_in_a_file_has_none(own_file):
    assert Experiment.make({"data": own_file}).noise.name == "none"
    assert Experiment.make({"data": own_file, "noise": {"rate": 0.2}}).noise.rate == 0.2


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_benchmarks_have_symmetric_noise(name):
    for data in (name, f"{DISTRIBUTION}:{name}", {"name": name, "examples": 10}):
        noise = Experiment.make({"data": data}).noise
        assert (noise.name, noise.rate) == ("symmetric", 0.4)


def test_every_built_in_data_set_is_one_or_the_other():
    kept = {"hf", "image-folder"}
    assert {*load_plugins().names("data")} == {*BUILT_IN} | kept


def test_a_plugin_may_have_noise_of_its_own():
    def noise(**settings):
        made = Experiment.make({"data": "benchmark", **settings}, PLUGINS).noise
        return made.name, made.rate

    assert noise() == ("pair-flip", 0.3)
    assert noise(noise={"rate": 0.1}) == ("pair-flip", 0.1)
    assert noise(noise="none") == ("none", 0.0)


@pytest.mark.parametrize("wrong", [3, None, {}, {"rate": 0.2}, ["symmetric"]])
def test_default_noise_that_names_none_keeps_a_plugin_out(wrong):
    class Wrong(Photos):
        default_noise = wrong

    plugins = Plugins()
    plugins.register(module(sdd_data_sources=[Wrong]), "stranger", "1.0", "entry")
    [row] = plugins.rows
    assert row.status == "failed"
    assert "default_noise" in row.reason


def test_none_with_a_rate_says_what_to_do():
    with pytest.raises(SddError, match=r"noise\.rate: .* rate is 0\.2; set the name too"):
        Experiment.make({"noise": {"name": "none", "rate": 0.2}})


def test_a_resolved_experiment_names_it_and_means_the_same(own_file):
    for settings in ({"data": own_file}, {"data": own_file, "noise": {"rate": 0.2}}, {},
                     {"data": {"name": "image-folder", "path": "x"}}):
        made = Experiment.make(settings)
        written = tomllib.loads(made.to_toml())
        assert written["noise"]["name"] == made.noise.name
        assert written["noise"]["rate"] == made.noise.rate
        assert Experiment.make(written) == made


def test_an_older_runs_file_keeps_the_noise_that_it_names(own_file):
    written = Experiment.make({"data": own_file, "noise": "symmetric"}).to_dict()
    assert Experiment.make(written).noise.rate == 0.4


FOLDER = {"name": "image-folder", "path": "x"}


@pytest.mark.parametrize(
    ("file", "line", "noise"),
    [
        ({}, [("data.name", "mnist")], ("symmetric", 0.4)),
        ({"data": FOLDER}, [], ("none", 0.0)),
        ({"data": FOLDER}, [("noise.rate", 0.2)], ("symmetric", 0.2)),
        ({"data": FOLDER, "noise": {"rate": 0.1}}, [("noise.rate", 0.2)], ("symmetric", 0.2)),
        ({"data": FOLDER, "noise": {"rate": 0.1}}, [("noise.name", "none")], None),
        ({"data": FOLDER, "noise": "pair-flip"}, [("noise.rate", 0.2)], ("pair-flip", 0.2)),
        ({"data": FOLDER, "noise": "pair-flip"}, [("noise.name", "none")], ("none", 0.0)),
        ({"data": FOLDER}, [("data.name", "digits")], ("symmetric", 0.4)),
        ({"noise": {"rate": 0.1}}, [("data.name", "hf:x")], ("symmetric", 0.1)),
        ({}, [("data.name", "hf:x")], ("none", 0.0)),
    ],
)
def test_the_command_line_comes_after_the_file_and_the_file_after_the_data(file, line, noise):
    settings = override(file, line)
    if noise is None:
        with pytest.raises(SddError, match=r"noise\.rate"):
            Experiment.make(settings)
        return
    made = Experiment.make(settings).noise
    assert (made.name, made.rate) == noise


def test_an_experiment_that_is_given_other_data_takes_the_noise_of_that(tmp_path):
    settings = {"train": {"epochs": 1}, "levels": 0, "model": {"name": "mlp", "widths": [4]}}
    plain, asked = Experiment.make(settings), Experiment.make({**settings, "noise": {"rate": 0.2}})
    assert plain.noise.name == "symmetric"
    result = sdd_core.run(plain, train=TRAIN, test=TEST, store=tmp_path, device="cpu")
    assert result.experiment.noise.name == "none"
    result = sdd_core.run(asked, train=TRAIN, test=TEST, store=tmp_path, device="cpu")
    assert result.experiment.noise.rate == 0.2


def test_sweeps_over_data_take_the_noise_of_each():
    found = expand([{"data": ["digits", "photos", "benchmark"]}], PLUGINS)
    assert [one.noise.name for one in found] == ["symmetric", "none", "pair-flip"]
    found = expand([{"data": ["digits", "photos"], "noise": {"rate": [0, 0.2]}}], PLUGINS)
    assert [(one.data.name, one.noise.name, one.noise.rate) for one in found] == [
        (data, "symmetric", rate) for data in ("digits", "photos") for rate in (0.0, 0.2)
    ]
    assert default_names({"data": "benchmark"}, PLUGINS)["noise"] == "pair-flip"


def test_the_schema_takes_the_options_of_any_data_sets_noise_without_a_name():
    definitions = experiment_schema(PLUGINS)["$defs"]
    required = {name for name in ("symmetric", "pair-flip", "asymmetric", "human")
                if "name" in definitions[f"noise.{name}"]["required"]}
    assert required == {"asymmetric", "human"}


def go(store, **settings):
    return sdd_core.run(
        small(levels=1, metrics=[Labels()], model={"name": "mlp", "widths": [8]}),
        train=TRAIN, test=TEST, store=store, device="cpu", **settings,
    )  # fmt: skip


def words(result):
    """All views of a run, each as text."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(result_table(result))
    return {
        "table": " ".join(console.export_text().split()), "notebook": html_table(result),
        "page": report_page(result), "property": result.noise, "repr": repr(result),
    }  # fmt: skip


def test_ones_own_labels_are_trained_on_as_they_are_and_all_views_say_so(tmp_path, capsys):
    result = go(tmp_path, progress=True)
    assert [level.metrics["moved"] for level in result.levels] == [0, 0]
    assert capsys.readouterr().err.splitlines()[0] == f"run {result.run} (label noise: none)"
    record = json.loads((result.folder / "record.json").read_text())
    assert record["noise"] == {"name": "none", "rate": 0.0}
    assert record["data"]["changed_labels"] == 0
    assert read_toml(result.folder / "experiment.toml")["noise"] == {"name": "none", "rate": 0.0}
    assert result.to_json()["noise"] == {"name": "none", "rate": 0.0, "changed_labels": 0}
    for view, text in words(result).items():
        assert text == "none" or re.search("label noise(: |</dt><dd>)none", text), view
    [row, _] = sdd_core.table(result)
    assert (row["noise.name"], row["noise.changed_labels"]) == ("none", 0)
    assert "noise none" in group([result])[0].label


def test_all_views_name_the_noise_with_its_rate_and_how_many_labels_it_changed(tmp_path, capsys):
    result = go(tmp_path, noise={"rate": 0.25}, progress=True)
    moved = result.levels[0].metrics["moved"]
    assert 0 < moved <= 20
    assert result.changed_labels == moved
    said = f"symmetric 0.25, {moved} of 80 training labels changed"
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"run {result.run} (label noise: {said})"
    for view, text in words(result).items():
        assert "symmetric 0.25" in text, view
        assert f"{moved} of 80 training labels changed" in text, view
    assert result.to_json()["noise"]["changed_labels"] == moved
    [row, _] = sdd_core.table(result)
    assert (row["noise.rate"], row["noise.changed_labels"]) == (0.25, moved)
    assert "noise symmetric 0.25" in group([result])[0].label
    assert open_run(result.folder, PLUGINS).result().noise == said


def test_what_is_left_of_the_examples_is_counted(tmp_path):
    data = {"name": "digits", "examples": 50}
    result = sdd_core.run(small(levels=0, data=data, noise={"rate": 1.0, "among": "others"}),
                          store=tmp_path, device="cpu")
    assert result.noise == "symmetric 1, 50 of 50 training labels changed"


def test_labels_that_were_wrong_before_are_not_counted_as_changed(tmp_path):
    data = Dataset("mine", Split(*TRAIN, (TRAIN[1] + 1) % 3), Split(*TEST), num_classes=3)
    result = sdd_core.run(small(levels=0, data=data), store=tmp_path, device="cpu")
    assert (result.noise, result.changed_labels) == ("none", 0)


def test_a_run_that_did_not_write_it_down_names_the_kind_and_rate(tmp_path):
    result = go(tmp_path, noise={"rate": 0.25})
    file = result.folder / "record.json"
    record = json.loads(file.read_text())
    del record["data"]["changed_labels"], record["noise"], record["checksum"]
    file.write_text(seal(record, "record.json", indent=1))
    assert open_run(result.folder, PLUGINS).result().noise == "symmetric 0.25"


def helped(*words):
    return " ".join(CliRunner().invoke(main, ["run", *words, "--help"]).output.split())


def test_help_shows_the_default_of_the_chosen_data(own_file, tmp_path):
    assert "Label noise. [default: symmetric]" in helped()
    assert "Label noise. [default: symmetric]" in helped("--data=mnist")
    for words in (["--data=image-folder"], ["--data=hf:x"], [f"--data={own_file}"]):
        said = helped(*words)
        assert "Label noise. [default: none]" in said
        assert "Options of noise symmetric (any of them selects it): --noise.rate" in said
    (tmp_path / "e.toml").write_text('data = {name = "image-folder", path = "x"}\n')
    assert "Label noise. [default: none]" in helped("e.toml")


def test_a_rate_alone_is_not_ignored_on_the_command_line(own_file, tmp_path):
    fast = ["--levels=0", "--train.epochs=1", "--device=cpu", "--model.widths=4"]
    done = CliRunner().invoke(main, ["run", f"--data={own_file}", "--noise.rate=0.5", *fast])
    assert done.exit_code == 0, done.output
    assert "(label noise: symmetric 0.5, " in done.stderr
    assert "label noise: symmetric 0.5, " in done.stdout
    done = CliRunner().invoke(main, ["run", f"--data={own_file}", *fast])
    assert "(label noise: none)" in done.stderr
