"""A user's own data, named as `package.module:function`."""

import importlib
import sys
import textwrap

import pytest
from support import Log, go, small

from sdd_core import Experiment, SddError
from sdd_core.experiment.keys import dense_key

SOURCE = """
    import torch
    from torch.utils.data import TensorDataset
    from sdd_core import Dataset

    def pairs(count=30):
        images = torch.linspace(0, 1, count * 64).view(count, 1, 8, 8)
        labels = torch.arange(count) % 3
        return (images, labels), TensorDataset(images[:9], labels[:9])

    def whole(root): return Dataset.of(*pairs(), name=str(root))
    def nothing(): return None
    def broken(): raise OSError("no such\\nfile")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the module `own_data`, as a user would edit it between two commands."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source=SOURCE):
        (tmp_path / "own_data.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        sys.modules.pop("own_data", None)

    write()
    yield write
    sys.modules.pop("own_data", None)


def test_a_run_on_own_data_and_again_from_its_record(own, tmp_path):
    settings = small(data={"name": "own_data:pairs", "count": 24, "examples": 20})
    first = go(settings, tmp_path / "store")
    assert first.test_examples == 9
    log = Log()
    again = go(first.experiment.to_dict(), tmp_path / "store", observers=[log])
    assert (again.run, log.levels) == (first.run, [])


def test_the_root_is_given_and_a_data_set_taken_as_it_is(own, tmp_path):
    source = Experiment.make({"data": "own_data:whole"}).data
    assert source.load(tmp_path).name == str(tmp_path)


def test_options_and_the_source_are_in_the_key(own):
    def key(**options):
        return dense_key(Experiment.make({"data": {"name": "own_data:pairs", **options}}))

    keys = {key(), key(count=24), key(examples=3)}
    own(SOURCE.replace("% 3", "% 4"))
    assert len(keys | {key()}) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_data:nothing", "data 'own_data:nothing' returned NoneType; expected a sdd_core.Data"),
        ("own_data:broken", "data 'own_data:broken' failed: OSError: no such file"),
        ("own_data:missing", "data: cannot import 'own_data:missing'"),
    ],
)
def test_a_mistake_is_one_line(own, tmp_path, name, message):
    with pytest.raises(SddError, match=message) as refused:
        go(small(data=name), tmp_path / "store")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists()
