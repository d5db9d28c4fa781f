"""Equal content has one fingerprint, other content another one."""

import sys
import textwrap
from copy import deepcopy
from datetime import date
from enum import Enum
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from sdd_core import Dataset, SddError
from sdd_core.experiment.fingerprint import fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(JSON, JSON)
@settings(max_examples=200)
def test_json_values_are_told_apart_as_their_texts_are(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (repr(one) == repr(other))
    assert fingerprint(deepcopy(one)) == fingerprint(one)


def network(width=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 3))


def changed(change):
    other = network()
    change(other)
    return other


CHANGES = {
    "a weight": lambda n: n[0].weight.data[0, 0].add_(1e-3),
    "frozen": lambda n: n[0].weight.requires_grad_(False),
    "another layer": lambda n: n.__setitem__(1, nn.Tanh()),
    "a setting": lambda n: setattr(n[1], "inplace", True),
    "tied": lambda n: setattr(n[2], "bias", nn.Parameter(n[2].bias.detach().clone())) or setattr(
        n, "twin", n[0]),
    "a buffer": lambda n: n.register_buffer("mean", torch.zeros(1)),
    "a hook": lambda n: n.register_forward_hook(print),
}  # fmt: skip


def test_networks_count_by_their_weights_and_settings():
    prints = [fingerprint(changed(change)) for change in CHANGES.values()]
    assert len({fingerprint(network()), fingerprint(network(5)), *prints}) == len(CHANGES) + 2
    assert fingerprint(deepcopy(network())) == fingerprint(network())


def test_a_tied_weight_is_not_two_equal_ones():
    def pair(tied):
        torch.manual_seed(0)
        one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        other.load_state_dict(one.state_dict())
        if tied:
            other.weight = one.weight
        return nn.Sequential(one, other)

    assert fingerprint(pair(True)) != fingerprint(pair(False))


def test_memory_layout_does_not_count():
    images = torch.rand(2, 3, 4, 4)
    channels_last = images.to(memory_format=torch.channels_last)
    assert fingerprint(images) == fingerprint(channels_last)
    assert fingerprint(images) != fingerprint(images.double())
    assert fingerprint(images) != fingerprint(images.view(2, 3, 16))
    array = np.arange(6.0).reshape(2, 3)
    assert fingerprint(np.asfortranarray(array)) == fingerprint(array)


class Colour(Enum):
    RED = 1
    BLUE = 2


def made(width):
    return lambda: network(width)


DIFFERENT = [
    1, 1.0, True, "1", b"1", None, (1,), [1], {1}, frozenset({1}), {1: 1},
    Colour.RED, Colour.BLUE, date(2020, 1, 1), date(2020, 1, 2), np.float32(1), np.float64(1),
    torch.float32, torch.float64, made, made(1), made(2), partial(network, 1), partial(network, 2),
    network().forward, nn.Linear, nn.ReLU, torch.relu, torch.sigmoid, nn, torch.device("cpu"),
    {"a": 1, "b": 2}, {"b": 2, "a": 1}, np.array([1, None], dtype=object),
]  # fmt: skip


def test_values_of_all_sorts():
    assert len({fingerprint(value) for value in DIFFERENT}) == len(DIFFERENT)
    assert fingerprint(made(3)) == fingerprint(made(3))
    assert fingerprint({"a", "b", "c"}) == fingerprint({"c", "b", "a"})


def test_cycles_end():
    ring: list = [1]
    ring.append(ring)
    assert fingerprint(ring) != fingerprint([1, [1]])


@pytest.mark.parametrize("value", [iter(()).__class__, (i for i in ()), sys.stdout])
def test_what_has_no_content(value):
    if isinstance(value, type):
        fingerprint(value)
        return
    with pytest.raises(SddError, match="cannot be compared with that of another one") as refused:
        fingerprint({"held": value})
    assert "\n" not in str(refused.value)


SCRIPT = """
    import math
    from torch import nn
    from sdd_core.experiment.fingerprint import fingerprint

    WIDTH = 3

    def helper(n): return n + 1

    class Base(nn.Module):
        scale = 1.0
        def forward(self, x): return self.scale * x

    class Net(Base):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(helper(WIDTH), 2)
        @property
        def size(self): return math.prod((1, 2))

    unrelated = 5
    found = fingerprint(Net), fingerprint(lambda: Net())
"""
EDITS = {
    "a global": ("WIDTH = 3", "WIDTH = 4"),
    "a helper": ("n + 1", "n + 2"),
    "a class attribute": ("scale = 1.0", "scale = 2.0"),
    "a base's method": ("self.scale * x", "x * self.scale"),
    "a property": ("(1, 2)", "(1, 3)"),
}


def test_a_script_counts_by_what_is_used_of_it():
    """Not by its other lines, so that plotting something does not train everything again."""

    def found(*edit):
        source = textwrap.dedent(SCRIPT).replace(*edit) if edit else textwrap.dedent(SCRIPT)
        names: dict = {"__name__": "__main__"}  # as Python runs a script
        exec(source, names)
        return names["found"]

    unchanged = found()
    assert found("unrelated = 5", "unrelated = 6\n# a remark") == unchanged
    prints = [found(*edit) for edit in EDITS.values()]
    for whole in zip(unchanged, *prints, strict=True):
        assert len(set(whole)) == len(EDITS) + 1


def parametrised(norm=weight_norm, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(norm(nn.Linear(3, 2)), nn.ReLU(), nn.Linear(2, 2))


def test_parametrised_layers_are_told_apart_by_what_they_hold():
    known = {fingerprint(one) for one in (
        parametrised(), parametrised(seed=1), parametrised(spectral_norm), parametrised(orthogonal),
        nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)),
    )}  # fmt: skip
    assert len(known) == 5
    for norm in (weight_norm, spectral_norm, orthogonal):
        network = parametrised(norm)
        assert fingerprint(network) == fingerprint(deepcopy(network))
        with torch.no_grad():
            next(network[0].parametrizations.parameters())[0] += 1
        assert fingerprint(network) != fingerprint(parametrised(norm))


def test_what_holds_data_for_sdd_may_be_edited_and_moved(monkeypatch):
    """A Dataset counts with its content: the source of its class changes with every version."""
    images, labels = torch.arange(12.0).reshape(6, 2), torch.arange(6) % 2
    data = Dataset.of((images, labels), (images, labels))
    before = fingerprint(data)
    monkeypatch.setattr(Dataset, "__module__", "sdd_core.moved.elsewhere")
    assert fingerprint(data) == before
    other = Dataset.of((images + 1, labels), (images, labels))
    assert fingerprint(other) != before
