"""What stands between a run and the plugins that take part in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sdd_core.data.dataset import Dataset
from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.plugin.base import noun
from sdd_core.plugin.kinds import Plugin, label
from sdd_core.randomness import fork_random_state, seed_torch, stream_seed


class DataChanged(SddError):
    """A plugin changed the data set, with which the run cannot go on."""


class Guard:
    """Keeps what a plugin does to itself: its draws, its mistakes, its hands off the data."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._data: Dataset | None = None
        self._versions: list[int] = []

    def watch(self, data: Dataset) -> None:
        """From now on refuse changes to `data`; it is too large for a copy to each plugin."""
        self._data, self._versions = data, _versions(data)

    @contextmanager
    def isolated(self, plugin: Plugin, *stream: str | int) -> Iterator[None]:
        """While a plugin does its part.

        What it draws from torch's global generators depends on the seed and `stream` alone, and
        changes nothing outside. Raises SddError, one line, for whatever the plugin raises, and
        DataChanged.
        """
        with fork_random_state():
            seed_torch(stream_seed(self._seed, *stream))
            with attribute_errors(plugin):
                yield
        if self._data is not None and _versions(self._data) != self._versions:
            raise DataChanged(f"{noun(plugin)} {label(plugin)!r} changed the data set in place; "
                              "it has to work on a copy of its tensors")


@contextmanager
def attribute_errors(plugin: Plugin) -> Iterator[None]:
    """Whatever goes wrong inside is this plugin's affair: an SddError, one line."""
    try:
        yield
    except SddError:
        raise
    except FAILURES as error:
        raise SddError(f"{noun(plugin)} {label(plugin)!r} failed: {format_error(error)}") from error


def _versions(data: Dataset) -> list[int]:
    # torch counts how often a tensor has been changed in place, unless it cannot be changed.
    splits = (data.train, data.test)
    tensors = (t for s in splits for t in (s.images, s.labels, s.true_labels))
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]
