"""What plugins return: numbers, texts and tensors of any kind that can be meant, and one line for
the others."""

import collections
import decimal
import enum
import fractions
import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import go, plugins_with, small
from torch import nn

from sdd_core import (
    Ablation,
    Dataset,
    DataSource,
    Metric,
    Model,
    Pruner,
    Retraining,
    Schedule,
    SddError,
    Split,
)
from sdd_core.data.plain import curve, dense_tensor, finite, infinite, plain, real, whole
from sdd_core.files.reading import parse_json
from sdd_core.plugin.kinds import LearningRateSchedule, Optimizer, Scope, SparsitySchedule


class Tensor2(torch.Tensor):
    """A subclass that cannot do what the engine does with scores."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        if function.__name__ in {"flatten", "cat", "tolist", "detach", "cpu"}:
            raise RuntimeError("not with this one")
        return super().__torch_function__(function, types, arguments, options or {})


class Float(float):
    """A float of a plugin's own."""


class Number(enum.IntEnum):
    """Whole numbers with names."""

    three = 3


class Table(dict):
    """A mapping of a plugin's own."""


GRADIENT = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
THREE = torch.tensor(3)
ONES = torch.ones(2, 2)
NO_NUMBERS = {
    "generator": (n for n in (1,)),
    "endless": itertools.count(),
    "text": "3",
    "bytes": b"3",
    "none": None,
    "complex": 1j,
    "complex array": np.ones(2) * 1j,
    "complex tensor": torch.ones((), dtype=torch.complex64),
    "set": {1},
    "function": len,
    "meta": torch.ones((), device="meta"),
    "sparse": torch.ones(1).to_sparse(),
    "true": True,
    "true of numpy's": np.bool_(True),
    "true of torch's": torch.tensor(True),
    "objects": np.array([None]),
}


@pytest.mark.parametrize("value", [3, 3.0, Float(3), Number.three, np.int64(3), np.uint8(3),
                                   np.float32(3), THREE, THREE.as_subclass(Tensor2)], ids=repr)
def test_whole_numbers(value):
    assert type(whole(value)) is int
    assert whole(value) == 3


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), 1.5, math.nan, math.inf, ONES, "three"],
                         ids=[*NO_NUMBERS, "half", "nan", "inf", "ones", "text"])
def test_what_is_no_whole_number(value):
    with pytest.raises(TypeError):
        whole(value)


@pytest.mark.parametrize("value", [0.5, Float(0.5), np.float32(0.5), np.longdouble(0.5), GRADIENT,
                                   decimal.Decimal("0.5"), fractions.Fraction(1, 2),
                                   torch.tensor(0.5, dtype=torch.bfloat16),
                                   nn.Parameter(torch.tensor(0.5))], ids=repr)
def test_real_numbers(value):
    assert type(real(value)) is float
    assert real(value) == 0.5
    assert curve([value, value]).tolist() == [0.5, 0.5]
    assert type(plain(value)) is float
    assert plain({"a": [value]}) == {"a": [0.5]}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_real_number(name):
    with pytest.raises(TypeError):
        real(NO_NUMBERS[name])
    with pytest.raises(TypeError):
        curve([NO_NUMBERS[name]])


@pytest.mark.parametrize("values", [[0.0, 1.0], (0, 1), np.arange(2), torch.arange(2.0),
                                    torch.arange(2.0, requires_grad=True),
                                    torch.arange(2.0).as_subclass(Tensor2),
                                    np.arange(2.0).astype(np.float16),
                                    [torch.tensor(0.0), fractions.Fraction(1)]], ids=repr)
def test_curves(values):
    found = curve(values)
    assert found.dtype == np.float64
    assert found.tolist() == [0, 1]


def test_what_is_no_curve():
    for values in (*NO_NUMBERS.values(), [[1], [1, 2]], ["1"]):
        with pytest.raises(TypeError):
            curve(values)


class Wrapped(torch.Tensor):
    """A subclass that has its numbers elsewhere."""

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        raise NotImplementedError


@pytest.mark.parametrize(("tensor", "reason"), [
    (3.0, "float is no torch.Tensor"),
    (np.ones(2), "ndarray is no torch.Tensor"),
    (ONES.to("meta"), "device 'meta'"),
    (ONES.to_sparse(), "sparse"),
    (ONES.to_sparse_coo(), "sparse"),
    (torch.nested.nested_tensor([ONES], layout=torch.jagged), "nested"),
    (torch.Tensor._make_wrapper_subclass(Wrapped, (2, 2)), "hand over the torch.Tensor in it"),
], ids=["number", "array", "meta", "sparse", "coo", "nested", "wrapped"])
def test_tensors_without_numbers_one_by_one(tensor, reason):
    with pytest.raises(TypeError, match=reason):
        dense_tensor(tensor)


@pytest.mark.parametrize("tensor", [ONES.clone().requires_grad_(), nn.Parameter(ONES.clone()),
                                    ONES.as_subclass(Tensor2), ONES.double()],
                         ids=["gradient", "parameter", "subclass", "double"])
def test_tensors_of_any_other_kind(tensor):
    found = dense_tensor(tensor)
    assert type(found) is torch.Tensor
    assert not found.requires_grad
    assert found.tolist() == ONES.tolist()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**4000)
    | st.text(st.characters(categories=["Cs"])) | st.sampled_from(
        [Float(0.5), Number.three, np.float32(0.1), GRADIENT, Table(a=1), np.arange(3.0),
         collections.namedtuple("Pair", "a b")(1, 2)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text() | st.text(st.characters(categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_a_plain_value_comes_back_from_a_file_as_it_is(value):
    kept = finite(plain(value))
    assert parse_json(json.dumps(kept, allow_nan=False).encode()) == kept
    assert same_types(kept)


def same_types(value):
    if isinstance(value, dict):
        return type(value) is dict and all(map(same_types, value.values()))
    if isinstance(value, list):
        return type(value) is list and all(map(same_types, value))
    return value is None or type(value) in {bool, int, float, str}


def test_what_is_too_large_is_infinite():
    assert infinite(plain([1, {"a": -(10**400)}]))
    assert finite(plain([10**400, 1.0])) == [None, 1.0]


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(TypeError, match="within one another"):
        plain(value)
    table = {}
    table["x"] = table
    with pytest.raises(TypeError, match=r"^'x': it has more than 32 lists"):
        plain(table)


# In a run


def of_kind(base, method, function, **more):
    """The class of a plugin called `odd` whose method is the function."""
    return type("Odd", (base,), {"__doc__": "Odd.", "__module__": __name__, "name": "odd",
                                 method: lambda self, *arguments, **options: function(
                                     *arguments, *options.values()), **more})


def carry_out(tmp_path, hook, kind, **settings):
    return go(small(**{"levels": 1, "train": {"epochs": 1}, "metrics": ["accuracy"], **settings}),
              tmp_path, plugins=plugins_with(**{hook: [kind]}))


METRICS = {
    "generator": (lambda level: (pair for pair in ()), "measure() returned generator"),
    "value": (lambda level: {"a": (n for n in ())}, "'a': generator is no number"),
    "within": (lambda level: {"a": {"b": {1}}}, "'a': {1} is no number"),
    "meta": (lambda level: {"a": torch.ones(2, device="meta")}, "'a': it is a tensor on"),
    "bytes": (lambda level: {"a": b"1"}, "'a': b'1' is no number"),
}


@pytest.mark.parametrize("fault", METRICS)
def test_a_metric_that_gives_no_numbers_is_named_and_the_run_goes_on(tmp_path, capsys, fault):
    function, reason = METRICS[fault]
    result = carry_out(tmp_path, "sdd_metrics", of_kind(Metric, "measure", function),
                       metrics=["odd", "accuracy"])
    assert result.levels[1].metrics["odd"] is None
    assert result.levels[1].metrics["test_accuracy"] > 0
    assert f"metric 'odd' failed: TypeError: {reason}" in capsys.readouterr().err


def test_metrics_of_any_type_are_read_as_they_were_measured(tmp_path):
    """At once, by another run of the store, and from the file."""
    values = Table(a=Float(0.5), b=Number.three, c=GRADIENT, d="\ud800", e=10**400,
                   f=np.float32(0.5), test_accuracy=Float(0.25))
    kind = of_kind(Metric, "measure", lambda level: values)
    for seed_of_levels in (1, 2):  # the second run has the first one's levels
        result = carry_out(tmp_path, "sdd_metrics", kind, metrics=["odd"], levels=seed_of_levels)
        assert result.levels[1].metrics == {"a": 0.5, "b": 3, "c": 0.5, "d": "\\ud800", "e": None,
                                            "f": 0.5, "test_accuracy": 0.25}


def scores(change):
    return lambda level: {name: change(level.weights[name].abs()) for name in level.prunable}


@pytest.mark.parametrize("change", [
    lambda t: t.double(), lambda t: t.clone().requires_grad_(), nn.Parameter,
    lambda t: t.as_subclass(Tensor2), lambda t: t.t().contiguous().t(),
], ids=["double", "gradient", "parameter", "subclass", "strides"])
def test_scores_of_any_kind_prune_alike(tmp_path, change):
    kinds = {"plain": lambda t: t, "odd": change}
    found = [carry_out(tmp_path / name, "sdd_pruners", of_kind(Pruner, "scores", scores(one)),
                       pruner="odd") for name, one in kinds.items()]
    masks = [(result.folder / "levels/01/masks.safetensors").read_bytes() for result in found]
    assert masks[0] == masks[1]


@pytest.mark.parametrize(("change", "reason"), [
    (lambda t: t.to("meta"), "device 'meta'"),
    (lambda t: t.to_sparse(), "a sparse tensor"),
    (lambda t: t.numpy(), "ndarray is no torch.Tensor"),
    (lambda t: t.tolist(), "list is no torch.Tensor"),
    (lambda t: torch.masked.masked_tensor(t, t > 0), "MaskedTensor"),
], ids=["meta", "sparse", "array", "list", "masked"])
@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors:UserWarning")
def test_scores_that_are_none_are_one_line(tmp_path, change, reason):
    kind = of_kind(Pruner, "scores", scores(change))
    with pytest.raises(SddError, match=r"pruner 'odd': scores of 'hidden1.weight'.*" + reason):
        carry_out(tmp_path, "sdd_pruners", kind, pruner="odd")


def rates(start="initialisation", first=0, masked=None, change=lambda rates: rates):
    return lambda dense: Retraining(start, change(dense.learning_rates), first, masked)


@pytest.mark.parametrize("function", [
    rates("rewind point", np.int64(2)), rates("rewind point", torch.tensor(2)),
    rates("rewind point", 2.0), rates(masked=np.int64(2)), rates(masked=torch.tensor(2)),
    rates(change=lambda r: torch.tensor(r, requires_grad=True)), rates(change=list),
    rates(change=lambda r: torch.tensor(r).as_subclass(Tensor2)),
], ids=["int64", "tensor", "float", "masked int64", "masked tensor", "gradient", "list", "class"])
def test_a_schedule_of_any_numbers_trains(tmp_path, function):
    kind = of_kind(Schedule, "retraining", function)
    assert len(carry_out(tmp_path, "sdd_schedules", kind, retrain="odd").levels) == 2


@pytest.mark.parametrize(("function", "reason"), [
    (lambda dense: (n for n in ()), "returned generator; expected a sdd_core.Retraining"),
    (lambda dense: {"start": "fresh"}, "returned dict; expected a sdd_core.Retraining"),
    (rates("rewind point", 1.5), "first_step: 1.5 is no whole number"),
    (rates("rewind point", "2"), "first_step: '2' is no whole number"),
    (rates(masked=2.5), "masked_steps: 2.5 is no whole number"),
    (rates(change=lambda r: (n for n in r)), "no array of real numbers"),
    (rates(change=lambda r: itertools.count()), "no array of real numbers"),
    (rates(change=lambda r: r * 1j), "no array of real numbers"),
    (rates(change=lambda r: torch.tensor(r).to("meta")), "device 'meta'"),
])
def test_a_schedule_of_no_numbers_is_one_line(tmp_path, function, reason):
    kind = of_kind(Schedule, "retraining", function)
    with pytest.raises(SddError, match=reason):
        carry_out(tmp_path / "store", "sdd_schedules", kind, retrain="odd")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("function", "reason"), [
    (lambda level: {n: mask.to_sparse() for n, mask in level.masks.items()}, "a sparse tensor"),
    (lambda level: {n: mask.to("meta") for n, mask in level.masks.items()}, "device 'meta'"),
    (lambda level: (pair for pair in ()), "did not return a bool mask"),
])
def test_masks_that_are_none_are_one_line(tmp_path, function, reason):
    kind = of_kind(Ablation, "masks", function)
    with pytest.raises(SddError, match=reason):
        carry_out(tmp_path, "sdd_ablations", kind, ablation="odd")


def shares(number):
    return lambda layers, count: [([name], number(count(one.kept, one.size)))
                                  for name, one in layers.items()]


@pytest.mark.parametrize("number", [np.int64, torch.tensor, Float])
def test_a_scope_of_any_whole_numbers(tmp_path, number):
    kind = of_kind(Scope, "shares", shares(number))
    result = carry_out(tmp_path, "sdd_scopes", kind, pruner={"name": "imp", "scope": "odd"})
    assert result.levels[1].sparsity == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("number", [str, lambda n: n + 0.5, lambda n: (n for n in ())])
def test_a_scope_of_no_whole_numbers_is_one_line(tmp_path, number):
    kind = of_kind(Scope, "shares", shares(number))
    with pytest.raises(SddError, match=r"scope 'odd' failed: .* is no whole number"):
        carry_out(tmp_path, "sdd_scopes", kind, pruner={"name": "imp", "scope": "odd"})


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), GRADIENT,
                                   fractions.Fraction(1, 2)], ids=repr)
def test_a_sparsity_of_any_real_number(tmp_path, value):
    kind = of_kind(SparsitySchedule, "sparsity", lambda level: value)
    result = carry_out(tmp_path, "sdd_sparsities", kind,
                       pruner={"name": "imp", "sparsity": "odd"})
    assert result.levels[1].sparsity == 0.5


def test_other_parts_that_return_something_else_are_one_line(tmp_path):
    images, labels = torch.rand(20, 6), torch.arange(20) % 2
    good, parameter = Split(images, labels), Split(images.clone().requires_grad_(), labels)
    faults = [
        ("sdd_sparsities", of_kind(SparsitySchedule, "sparsity", lambda level: "half"),
         {"pruner": {"name": "imp", "sparsity": "odd"}}, "sparsity 'odd' failed: .* is no number"),
        ("sdd_decays", of_kind(LearningRateSchedule, "factors", lambda steps: (n for n in ())),
         {"train": {"decay": "odd"}}, "decay 'odd' failed: .*generator is no number"),
        ("sdd_decays", of_kind(LearningRateSchedule, "factors", lambda steps: np.ones(steps) * 1j),
         {"train": {"decay": "odd"}}, "decay 'odd' failed: .* is no number"),
        ("sdd_optimizers", of_kind(Optimizer, "make", lambda weights, lr, decay: None),
         {"train": {"optimizer": "odd"}}, "make.. returned NoneType; expected a torch.optim"),
        ("sdd_optimizers", of_kind(Optimizer, "make", lambda weights, lr, decay: torch.optim.SGD(
            [torch.zeros(3, requires_grad=True)], lr)),
         {"train": {"optimizer": "odd"}}, "an optimizer of other weights"),
        ("sdd_data_sources", of_kind(DataSource, "load", lambda root: (n for n in ())),
         {"data": "odd"}, "load.. returned generator; expected a sdd_core.Dataset"),
        ("sdd_data_sources", of_kind(DataSource, "load", lambda root: Dataset(
            "own", parameter, good, 2)), {"data": "odd"}, "images a tensor with a gradient"),
        ("sdd_data_sources", of_kind(DataSource, "load", lambda root: Dataset(
            "own", good, good, 2, torch.zeros(6), torch.ones(6))), {"data": "odd"}, "has the mean"),
        ("sdd_data_sources", of_kind(DataSource, "load", lambda root: Dataset(
            "own", good, good, 2, scale=torch.ones(()))), {"data": "odd"}, "has the scale"),
        ("sdd_models", of_kind(Model, "build", lambda shape, classes: nn.Sequential(
            nn.Flatten(), nn.Linear(64, classes)), exempt=lambda self: "1*"),
         {"model": "odd"}, r"exempt.. returned '1\*'; expected a tuple of patterns"),
        ("sdd_models", of_kind(Model, "build", lambda shape, classes: nn.Sequential(
            nn.Flatten(), nn.Linear(64, classes)), exempt=lambda self: [1]),
         {"model": "odd"}, r"exempt.. returned \[1\]; expected a tuple of patterns"),
    ]
    for hook, kind, settings, reason in faults:
        with pytest.raises(SddError, match=reason) as refused:
            carry_out(tmp_path / "store", hook, kind, **settings)
        assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_number_of_classes_of_numpy_is_recorded(tmp_path):
    images, labels = torch.rand(20, 6), torch.arange(20) % 2
    split = Split(images, labels)
    kind = of_kind(DataSource, "load", lambda root: Dataset("own", split, split, np.int64(2)))
    assert carry_out(tmp_path, "sdd_data_sources", kind, data="odd").classes == 2
