"""A plugin's state as a checkpoint gives it back, and what a view without tensors says."""

from __future__ import annotations

import pytest
import torch

from sdd_core.level.checkpoint import plain_state
from sdd_core.level.mask_view import Absent

CPU = torch.device("cpu")


def test_tensors_that_share_memory_are_separated():
    whole = torch.arange(6.0)
    found = plain_state({"whole": whole, "view": whole[2:4], "same": whole}, CPU)
    found["whole"].zero_()
    assert found["view"].tolist() == [2.0, 3.0]
    assert found["same"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_what_has_gaps_becomes_contiguous_and_keeps_its_values():
    turned = torch.arange(6.0).view(2, 3).T
    found = plain_state({"turned": turned.requires_grad_()}, CPU)["turned"]
    assert found.is_contiguous()
    assert not found.requires_grad
    assert found.tolist() == turned.tolist()


def test_no_tensors_say_why():
    with pytest.raises(KeyError, match="keeps no momenta"):
        Absent("the optimizer keeps no momenta")["0.weight"]
    assert dict(Absent("nothing")) == {}
