"""Isolation of a run from its plugins: their random draws, their errors, their access to data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sdd_core.data.dataset import Dataset
from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.plugin.base import noun
from sdd_core.plugin.kinds import Plugin, label
from sdd_core.randomness import fork_random_state, seed_torch, stream_seed


class DataChanged(SddError):
    """A plugin changed the data set, so the run cannot continue."""


class Guard:
    """Runs code of plugins with its own random state, reports errors, and detects data changes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._data: Dataset | None = None
        self._versions: list[int] = []

    def watch(self, data: Dataset) -> None:
        """Check from now on that no plugin changes `data`, which is too large to copy each time."""
        self._data, self._versions = data, _versions(data)

    @contextmanager
    def isolated(self, plugin: Plugin, *stream: str | int) -> Iterator[None]:
        """Run the block as code of `plugin`.

        Its draws from torch's global generators depend only on the seed and `stream`, and do not
        affect other code. Raises SddError, in one line, for any failure of the plugin, and
        DataChanged if it changed the watched data.
        """
        with fork_random_state():
            seed_torch(stream_seed(self._seed, *stream))
            with attribute_errors(plugin):
                yield
        if self._data is not None and _versions(self._data) != self._versions:
            raise DataChanged(f"{noun(plugin)} {label(plugin)!r} changed the data set in place; "
                              "change the plugin so that it works on a copy of the tensors")


@contextmanager
def attribute_errors(plugin: Plugin) -> Iterator[None]:
    """Turn any failure inside the block into an SddError, in one line, that names the plugin."""
    try:
        yield
    except SddError:
        raise
    except FAILURES as error:
        raise SddError(f"{noun(plugin)} {label(plugin)!r} failed: {format_error(error)}") from error


def _versions(data: Dataset) -> list[int]:
    # torch counts in-place changes of a tensor, except of inference tensors, which are constant.
    splits = (data.train, data.test)
    tensors = (t for s in splits for t in (s.images, s.labels, s.true_labels))
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]
