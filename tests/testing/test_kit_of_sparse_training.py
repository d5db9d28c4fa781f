"""The kit finds the fault in each faulty sparse training, and none in a good one."""

import pytest

from sdd_core.testing import Fault, check_sparse_training

from . import faulty_movers


@pytest.mark.parametrize(("plugin", "what"), faulty_movers.FAULTS.items(),
                         ids=lambda one: getattr(one, "name", ""))
def test_the_fault_is_found_and_named_in_one_line(plugin, what):
    with pytest.raises(Fault) as caught:
        check_sparse_training(plugin)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"sparse training {plugin.name!r}: ")


def test_a_good_one_passes():
    check_sparse_training(faulty_movers.Good)
