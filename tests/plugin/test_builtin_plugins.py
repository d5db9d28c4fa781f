"""The kit that certifies strangers' plugins certifies the built-in ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.discovery import load_plugins
from sdd_core.plugin.kinds import KINDS
from sdd_core.testing import checks, options
from sdd_core.testing.call import instance
from sdd_core.testing.fixtures import TinyData

OPTIONS = {
    "hessian": {"vectors": 2, "batches": 1, "batch_size": 16},
    "human": {"file": "labels.npy"},
    "image-folder": {"path": "photos"},
    "hf": {"path": "photos"},
    "timm": {"architecture": "vit_tiny_patch16_224"},
    "torchvision": {"architecture": "shufflenet_v2_x0_5"},
}
"""Of plugins that have to be told something, or that would take long."""

LIBRARIES = {
    "hessian": "curvlinops", "hf": "datasets", "hub": "huggingface_hub", "onnx": "onnxscript",
    "ray": "ray", "timm": "timm",
}
"""What plugins need that is optional; where it is missing, their options are looked at."""

ROWS = [row for row in load_plugins().rows if row.plugin and row.distribution == DISTRIBUTION]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that somebody gave to the kit's images, most of them right."""
    labels = TinyData().load(None).train.labels.clone()
    labels[::5] = 0
    np.save(tmp_path / "labels.npy", labels.numpy())
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors are slower with more of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}-{row.name}")
def test_it_keeps_the_contract(row):
    assert row.plugin is not None
    plugin = row.plugin(**OPTIONS.get(row.name, {}))
    # Data sources that read files are certified beside the files that their own tests write,
    # slimming refuses the kit's network, which has layers without batch normalisation, and
    # trackers are certified beside the libraries that they need.
    whole = row.kind not in {"data", "tracker"} or row.name == "digits"
    whole = whole and row.name != "slimming"
    if whole and find_spec(LIBRARIES.get(row.name, "torch")):
        found = checks(plugin)
        assert len(found) > len(options.checks(plugin))
    else:
        found = options.checks(instance(plugin))
    for check in found:
        check.run()


def test_every_kind_is_there():
    assert {row.kind for row in ROWS} == set(KINDS)
