"""What is no setting, no network and no data: one line, from Python and on the command line."""

import json
import re
import warnings

import numpy as np
import pytest
import torch
from cli.conftest import refused, sdd  # noqa: F401 (a fixture)
from support import go, plugins_with, small
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import sdd_core
from sdd_core import Dataset, Experiment, Metric, SddError, Split, load_plugins
from sdd_core.experiment.settings import override
from sdd_core.runs.open_run import open_run

X, Y = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
GOOD = (X, Y)


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def lazy():
    return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2))


def lazy_buffers():
    return nn.Sequential(nn.Linear(4, 8), nn.LazyBatchNorm1d(affine=False), nn.Linear(8, 2))


def empty():
    return nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 2))


def on_meta():
    return nn.Linear(4, 2, device="meta")


def short(value):
    """The name of a case, without addresses: the processes of a test run have to agree on it."""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))[:40]


def check(says, **settings):
    def go_on():
        Experiment.make({"levels": 0, **settings})
        sdd_core.run({"levels": 0, **settings}, store="/no/such/store", device="cpu")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of empty and of sparse tensors
        with pytest.raises(SddError) as error:
            go_on()
    line = str(error.value)
    assert len(line.splitlines()) == 1
    assert says in line
    assert len(line) < 400


@pytest.mark.parametrize("make", [lambda net: net, lambda net: net()], ids=["function", "instance"])
@pytest.mark.parametrize(("net", "says"), [
    (lazy, "has lazy layers, whose weights have no shape yet; set their sizes"),
    (lazy_buffers, "has lazy layers"),
    (empty, "has an empty parameter '0.weight', shape [0, 4]; give each layer inputs and outputs"),
    (on_meta, "has for 'weight' a tensor on the device 'meta'"),
    (lambda: nn.Linear(4, 2).double(), "expected torch.float32 for all trainable"),
    (lambda: nn.Linear(4, 2, dtype=torch.complex64), "expected torch.float32"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_networks(make, net, says):
    check(says, model=make(net), data=(GOOD, GOOD))


@pytest.mark.parametrize("value", [nn.Linear, 5, None, [1], b"mlp", object()])
def test_what_is_no_network(value):
    check("model", model=value, data=(GOOD, GOOD))


Adam = torch.optim.Adam


def adam(weights):
    return Adam(weights)


@pytest.mark.parametrize(("settings", "says"), [
    ({"train": {"optimizer": Adam}}, "got the class Adam; did you mean 'Adam'?"),
    ({"train": {"optimizer": Adam(network().parameters())}}, "got an object of Adam; did you mean"),
    ({"train": {"optimizer": adam}}, "got an object of function"),
    ({"train": {"decay": torch.optim.lr_scheduler.StepLR}}, "got the class StepLR"),
    ({"loss": nn.CrossEntropyLoss()}, "got an object of CrossEntropyLoss"),
    ({"pruner": load_plugins().get("pruner", "imp")}, "did you mean 'imp'?"),
    ({"pruner": object()}, "expected a pruner's name"),
    ({"train": 5}, "train: input should be a valid dictionary"),
    ({"pruner": [{"name": "imp"}]}, "expected a pruner's name"),
    ({"levels": 1, "pruner": {"sparsity": [0.1, 0.2]}}, "has 2 values, but levels is 1"),
], ids=short)  # fmt: skip
def test_plugins(settings, says):
    check(says, **settings)


class Endless(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


LOADER = DataLoader(TensorDataset(X, Y))
OBJECTS = np.array([[1, 2, 3, "a"]] * 40, dtype=object)
BAD_DATA = {
    "sparse": ((X.to_sparse(), Y), "a sparse tensor for images; hand over its .to_dense()"),
    "sparse rows": ((X.to_sparse_coo().coalesce(), Y), "a sparse tensor"),
    "sparse labels": ((X, Y.to_sparse()), "a sparse tensor for labels"),
    "sparse items": ([(x.to_sparse(), 0) for x in X], "item 0 a sparse tensor; hand over"),
    "meta": ((X.to("meta"), Y), "a tensor on the device 'meta' for images"),
    "meta labels": ((X, Y.to("meta")),
                    "a tensor on the device 'meta' for labels; make it on the CPU"),
    "meta items": ([(x.to("meta"), 0) for x in X], "a tensor on the device 'meta'"),
    "complex": ((X.to(torch.complex64), Y), "images of type torch.complex64"),
    "complex array": ((X.numpy().astype(complex), Y), "images of type torch.complex128"),
    "objects": ((OBJECTS, Y), "a ndarray of shape [40, 4] of type object for images"),
    "object labels": ((X, OBJECTS[:, 0]), "a ndarray of shape [40] of type object for labels"),
    "texts": ((np.array([["a"]] * 40), Y), "expected numbers"),
    "text labels": ((X, np.array(["a"] * 40)), "expected a tensor or an array of whole"),
    "times": ((np.zeros((40, 4), "datetime64[s]"), Y), "expected numbers"),
    "records": ((np.zeros(40, [("a", "f4")]), Y), "expected numbers"),
    "masked": ((np.ma.masked_array(X.numpy(), X.numpy() > 1), Y), "a masked array"),
    "booleans": ((X > 0, Y), "images of type torch.bool"),
    "loader": (LOADER, "hand over its .dataset"),
    "iterable": (Endless(), "expected a torch Dataset with a length"),
    "generator": ((pair for pair in zip(X, Y, strict=True)), "a generator; expected a torch"),
    "too few labels": ((X, Y[:30]), "40 images but 30 labels"),
    "too many labels": ((X[:30], Y), "30 images but 40 labels"),
    "one label": ((X, torch.tensor(1)), "one number for labels"),
    "float labels": ((X, Y.float()), "labels of type torch.float32"),
    "one-hot": ((X, nn.functional.one_hot(Y)), "shape [40, 2]; expected one whole number"),
    "negative": ((X, Y - 1), "labels from -1 to 0"),
    "true or false": ((X, Y > 0), "labels of type torch.bool"),
    "empty": ((X[:0], Y[:0]), "is empty"),
    "empty data set": (TensorDataset(X[:0], Y[:0]), "is empty"),
    "empty list": ([], "is empty"),
    "nothing": (None, "is None; expected"),
    "text": ("path", "is a str; expected"),
    "images alone": (X, "has no label for item 0"),
    "no dimensions": ((torch.tensor(1.0), torch.tensor([1])), "without dimensions"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("part", ["training", "test"])
def test_data(name, part):
    data, says = BAD_DATA[name]
    if name == "generator":
        data = (pair for pair in zip(X, Y, strict=True))
    pair = (data, GOOD) if part == "training" else (GOOD, data)
    check(says, model=network(), data=pair)
    with pytest.raises(SddError) as error:
        Dataset.of(*pair)
    assert f"the {part} split" in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_quantized_and_nested_tensors():
    quantized = torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)
    check("a quantized tensor for images; hand over its .dequantize()", data=((quantized, Y), GOOD))
    nested = torch.nested.nested_tensor([X[0], X[1, :2]])
    check("a nested tensor for images; pad its parts", data=((nested, Y[:2]), GOOD))


@pytest.mark.parametrize(("fields", "says"), [
    ({"train": Split(X.numpy(), Y)}, "has ndarray for images; expected a torch.Tensor"),
    ({"train": Split(X, Y.tolist())}, "has list for labels"),
    ({"train": Split(X.to_sparse(), Y)}, "for images a sparse tensor"),
    ({"train": Split(X, Y, Y[:3])}, "true labels of type torch.int64 and shape [3]"),
    ({"train": Split(X, Y, Y - 5)}, "true labels from -5 to -4"),
    ({"train": Split(X, Y, Y.float())}, "true labels of type torch.float32"),
    ({"test": GOOD}, "is tuple; expected a sdd_core.Split"),
    ({"num_classes": 2.0}, "num_classes 2.0; expected a whole number"),
    ({"num_classes": None}, "num_classes None"),
    ({"augmentation": "flip"}, "augmentation 'flip'"),
], ids=short)  # fmt: skip
def test_a_dataset_made_by_hand(fields, says):
    good = {"name": "mine", "train": Split(X, Y), "test": Split(X, Y), "num_classes": 2}
    check(says, model=network(), data=Dataset(**{**good, **fields}))


def test_numpys_whole_numbers_are_whole_numbers():
    assert Dataset("mine", Split(X, Y), Split(X, Y), np.int64(2)).check()


FILES = [
    ("train = 5", "train.epochs=3", "train: expected a name or a table of settings"),
    ("train = [1]", "train.epochs=3", "train: expected a name or a table"),
    ("[[pruner]]\nname = 'imp'", "pruner.fraction=0.3", "pruner: expected a name or a table"),
    ("pruner = 1.5", "pruner.fraction=0.3", "pruner: expected a name or a table"),
    ("model = true", "model.widths=[8]", "model: expected a name or a table"),
    ("pruner.scope = 5", "pruner.scope.name=layer", "pruner.scope: expected a name or a table"),
    ("train.optimizer = [1]", "train.optimizer.eps=1", "train.optimizer: expected a name"),
    ("train = 1979-05-27", "train.epochs=3", "train: expected a name or a table"),
]


@pytest.mark.parametrize(("text", "setting", "says"), FILES)
@pytest.mark.parametrize("command", ["run", "inspect", "sweep"])
def test_a_file_that_has_no_table_where_one_is_set(sdd, tmp_path, command, text, setting, says):  # noqa: F811
    (tmp_path / "x.toml").write_text(text)
    if command == "sweep" and text.startswith("[["):
        says = "has a list for pruner; edit the file instead"
    line = refused(sdd(command, "x.toml", "--set", setting))
    assert says in line or (command == "sweep" and "has a list for" in line)


def test_settings_are_overridden_or_refused_and_never_fail():
    for value in (5, 1.5, True, None, [1], (1,), object(), {1}, b"x"):
        with pytest.raises(SddError, match="expected a name or a table"):
            override({"train": value}, [("train.epochs", 3)])
    assert override({}, [("train.optimizer.eps", 1)]) == {"train": {"optimizer": {"eps": 1}}}


@pytest.mark.parametrize("words", [
    ("run", "--data-root", ""), ("inspect", "--data-root", ""), ("check", "imp", "--data-root", ""),
    ("sweep", "x.toml", "--data-root", ""), ("reproduce", "fig1", "--data-root", ""),
    ("reproduce", "fig1", "--output", ""), ("report", "x", "--output", ""),
    ("new-plugin", "x", "--kind", "pruner", "--output", ""), ("plot", "--output", ""),
    ("table", "--output", ""), ("landscape", "x", "--output", ""), ("run", "--store", ""),
    ("run", ""), ("sweep", ""),
])  # fmt: skip
def test_an_empty_name_is_no_place(sdd, tmp_path, words):  # noqa: F811
    assert "an empty name; expected a f" in refused(sdd(*words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [
    ("run",), ("inspect",), ("list-plugins",), ("show", "imp"), ("check", "imp"), ("schema",),
    ("runs",), ("table",), ("plot",), ("reproduce", "--list"), ("sweep", "x.toml"),
    ("resume", "x"), ("report", "x"), ("landscape", "x"),
])  # fmt: skip
def test_a_plugin_that_is_not_there_cannot_be_left_out(sdd, tmp_path, words):  # noqa: F811
    (tmp_path / "x.toml").write_text("levels = 0\n")
    line = refused(sdd(*words, "--no-plugin", "randm"))
    assert "no plugin is called 'randm', so it cannot be blocked; did you mean random" in line


def test_one_that_is_there_can_and_the_environment_may_name_others(sdd, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SDD_NO_PLUGIN", "not-installed-here")
    done = sdd("list-plugins", "--no-plugin", "pruner:random", "--kind", "pruner")
    assert done.exit_code == 0
    assert "no plugin is called 'not-installed-here'" in done.stderr


def test_a_list_of_sparsities_has_a_level_for_each():
    for levels in (0, 1, 2):
        check(f"has 3 values, but levels is {levels}", levels=levels,
              pruner={"sparsity": [0.1, 0.2, 0.3]})
    assert Experiment.make({"levels": 3, "pruner": {"sparsity": [0.1, 0.2, 0.3]}}).levels == 3
    # The dense network alone of what prunes at one stroke.
    assert Experiment.make({"levels": 0, "pruner": {"sparsity": 0.9}}).levels == 0


def test_a_name_with_braces_is_no_template():
    with pytest.raises(SddError, match=r"data '\{\}\{0\}': the training split has a list of 2 for"):
        Dataset.of((X, ["a", "b"]), GOOD, name="{}{0}")


def test_a_record_with_more_sparsities_than_levels_can_be_read(tmp_path):
    # Earlier versions carried such runs out.
    settings = small(pruner={"sparsity": [0.1, 0.2]}, levels=2, train={"epochs": 1})
    folder = go(settings, tmp_path).folder
    file = folder / "experiment.toml"
    file.write_text(file.read_text().replace("levels = 2", "levels = 1"))
    record = json.loads((folder / "record.json").read_text())
    since = ("name", "experiment", "levels", "modules", "checksum")  # which they did not write
    (folder / "record.json").write_text(
        json.dumps({name: value for name, value in record.items() if name not in since}))
    assert open_run(folder, load_plugins()).experiment.levels == 1


class Usurper(Metric):
    """Takes names that belong to others."""

    name = "usurper"

    def measure(self, level):
        return {"test_accuracy": -1.0, "sparsity": -1.0, "seed": -1.0, "own": 1.0}


class Second(Metric):
    """Takes them too."""

    name = "second"

    def measure(self, level):
        return {"own": 2.0, "test_accuracy": -2.0}


class Infinite(Metric):
    """Gives numbers that are none."""

    name = "infinite"

    def measure(self, level):
        return {"much": torch.tensor(float("inf")), "by_layer": {"a": 1.0, "b": -float("inf")},
                "none": float("nan"), "good": np.float32(1.5)}


@pytest.mark.parametrize("order", [["usurper", "accuracy"], ["accuracy", "usurper"]])
def test_a_value_with_the_name_of_another_gets_its_distributions_name(tmp_path, capfd, order):
    plugins = plugins_with(sdd_metrics=[Usurper, Second])
    result = go(small(metrics=[*order, "second"], levels=1), tmp_path, plugins=plugins)
    for level in result.levels:
        assert level.metrics["test_accuracy"] >= 0
        assert level.metrics["own"] == 1
        assert "sparsity" not in level.metrics
        assert "seed" not in level.metrics
        for name in ("test_accuracy", "sparsity", "seed"):
            assert level.metrics[f"stranger:{name}"] == -1
        assert level.metrics["stranger:own"] == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "is the name of" in line]
    assert len(lines) == 5  # each once, not at each level
    assert lines[0] == ("sdd: warning: metric 'usurper' has a value called 'test_accuracy', which "
                        "is the name of another one; it is called 'stranger:test_accuracy'")
    assert lines[-1].endswith("'second' has a value called 'test_accuracy', which is the name of "
                              "another one; it is left out")


def test_an_infinite_value_is_told_and_is_no_number(tmp_path, capfd):
    plugins = plugins_with(sdd_metrics=[Infinite])
    result = go(small(metrics=["infinite"], levels=0), tmp_path, plugins=plugins)
    assert result.levels[0].metrics == {"much": None, "by_layer": {"a": 1.0, "b": None},
                                        "none": None, "good": 1.5}
    lines = [line for line in capfd.readouterr().err.splitlines() if "infinite" in line]
    assert lines == [f"sdd: warning: level 0: metric 'infinite' gives an infinite '{name}', which "
                     "is recorded as missing" for name in ("much", "by_layer")]
