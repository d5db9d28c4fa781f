"""The files of a level are what the docs say: the program there reads any of them, without sdd."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.level.level import Level
from sdd_core.runs.level_files import read_level, write_level

PAGE = Path(__file__).parents[2] / "docs" / "how-it-works.md"
NAMES: dict = {}
exec(re.search(r"^```python\n# read_level\.py\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[1],
     NAMES)

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@st.composite
def levels(draw):
    """Levels with masks of any shapes and contents, some with pruned weights that are not zero."""
    numbers = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    masks, state = {}, {"norm.count": torch.tensor(3), "bias": torch.randn(4, generator=numbers)}
    for number, shape in enumerate(draw(st.lists(shapes, min_size=1, max_size=4))):
        density, held = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), draw(st.booleans())
        mask = torch.rand(shape, generator=numbers) < density
        weight = torch.randn(shape, generator=numbers)
        name = f"layer{number}.weight"
        masks[name], state[name] = mask, weight if held else weight * mask
    return Level(draw(st.integers(0, 99)), masks, state, ())


@settings(deadline=None)
@given(levels())
def test_the_program_of_the_docs_reads_every_level(level):
    with TemporaryDirectory() as folder:
        write_level(Path(folder), "a" * 40, level)
        weights, masks = NAMES["read_level"](folder)
        own = read_level(Path(folder))
    assert list(masks) == list(level.masks)
    assert all(np.array_equal(masks[name], mask) for name, mask in level.masks.items())
    assert weights.keys() == level.state.keys() == own.state.keys()
    for name, tensor in level.state.items():
        assert np.array_equal(weights[name], tensor.numpy())
        assert torch.equal(own.state[name], tensor)


def test_the_order_of_bits_and_bytes(tmp_path):
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 0] = mask[1, 4] = True
    weight = torch.zeros(2, 5)
    weight[0, 0], weight[1, 4] = 1.0, -2.0
    write_level(tmp_path, "a" * 40, Level(1, {"w": mask}, {"w": weight}, ()))
    assert (tmp_path / "masks.safetensors").read_bytes().endswith(bytes([0b10000000, 0b01000000]))
    assert (tmp_path / "weights.safetensors").read_bytes().endswith(
        np.array([1.0, -2.0], "<f4").tobytes())
