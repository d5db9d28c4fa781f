"""The marker of hook implementations."""

import pluggy

hookimpl = pluggy.HookimplMarker("sdd")
"""Marks a function as an implementation of one of the hooks in `sdd_core.plugin.hookspecs`."""
