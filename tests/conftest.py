"""For all tests, and the processes that they start."""

import os
import sys
from concurrent.futures import wait

import pytest
import torch
from hypothesis import HealthCheck, settings

from sdd_core.runs.writer import Writer

# Tests run side by side, one on a core: threads of each would only get in each other's way. Set
# before anything imports torch, which looks once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the developer has set for own runs is not meant for those of the tests.
for variable in ("SDD_STORE", "SDD_NO_PLUGIN"):
    os.environ.pop(variable, None)

# The first backward pass decides whether torch starts threads for other devices than the CPU, which
# it takes for there after an export; then no forked child could differentiate.
torch.zeros((), requires_grad=True).backward()

# How long an example takes says nothing: it may be the first, which compiles, or wait for a core.
settings.register_profile("sdd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sdd")

SLOW = ("examples", "extras")
"""Folders of which every test is slow."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.parent.name in SLOW:
            item.add_marker("slow")
    if hasattr(config, "workerinput"):  # side by side: none is to wait for a long one at the end
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)  # whole files, for their fixtures


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch):
    """A module that a test changes within a second is read again, not taken from bytecode."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture
def written_at_once(monkeypatch):
    """Writers wait for each write, so that what is counted when a level ends is that level's."""
    write = Writer.write

    def write_and_wait(writer, *arguments):
        write(writer, *arguments)
        wait([writer._last])

    monkeypatch.setattr(Writer, "write", write_and_wait)
