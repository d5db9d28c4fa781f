"""The export format `compact`."""

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import sdd_core
from sdd_core import SddError
from sdd_core.testing import check_exporter
from sdd_plugins.exporters.compact import Compact
from tests.exports.compacting import inputs, randomise

pytestmark = pytest.mark.slow


def exportable(network, shape):
    """Return what a format gets, as far as this one looks at it."""
    network = network.eval()
    return SimpleNamespace(network=network, example=inputs(2, shape).float(), description={})


def pruned():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 4)
    )
    with torch.no_grad():
        network[0].weight[[0, 2, 5]] = 0
    return randomise(network)


def test_it_keeps_the_contract():
    check_exporter(Compact)


def test_it_says_what_was_won(tmp_path):
    facts = Compact().write(exportable(pruned(), (1, 6, 6)), tmp_path / "small.pt2")
    weights = 6 * 9 + 6 + 2 * 6 + 6 * 16 * 4 + 4
    assert facts["parameters"] == {"before": weights, "after": weights // 2 + 2}
    assert facts["macs"] == {"before": 6 * 9 * 16 + 96 * 4, "after": 3 * 9 * 16 + 48 * 4}
    statistics = {"before": 6 * 2 * 4 + 8, "after": 3 * 2 * 4 + 8}
    for which, number in statistics.items():
        assert facts["bytes"][which] == 4 * facts["parameters"][which] + number
        assert facts["latency_ms"][which] > 0


def test_it_loads_without_sdd_and_without_the_source_of_the_network(tmp_path):
    network = pruned()
    Compact().write(exportable(network, (1, 6, 6)), tmp_path / "small.pt2")
    images = inputs(5, (1, 6, 6)).float()
    torch.save([images, network(images).detach()], tmp_path / "expected.pt")
    code = """
        import sys
        sys.modules["sdd_core"] = sys.modules["sdd_plugins"] = None
        import torch
        images, expected = torch.load("expected.pt")
        found = torch.export.load("small.pt2").module()(images)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, check=True)


def test_a_network_that_cannot_be_traced_is_refused_in_one_line(tmp_path):
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(SddError, match="forward method of Branches can't be traced"):
        Compact().write(exportable(Branches(), (3,)), tmp_path / "small.pt2")
    assert not list(tmp_path.iterdir())


def test_a_part_that_torch_export_refuses_is_named(tmp_path):
    class Strange(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    network = nn.Sequential(nn.Linear(3, 3), Strange())
    assert sdd_core.compact(network, torch.zeros(2, 3))
    with pytest.raises(SddError, match=r"torch\.export cannot trace Sequential at .*return x if"):
        Compact().write(exportable(network, (3,)), tmp_path / "small.pt2")
    assert not list(tmp_path.iterdir())
