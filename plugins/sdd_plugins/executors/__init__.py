"""Executors: workers for the tasks of a sweep."""

from sdd_core import Executor, hookimpl
from sdd_plugins.executors.local import Local
from sdd_plugins.executors.ray import Ray


@hookimpl
def sdd_executors() -> list[type[Executor]]:
    return [Local, Ray]
