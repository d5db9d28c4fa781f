"""Scopes: groups of weights whose scores compete."""

from sdd_core import Scope, hookimpl
from sdd_plugins.scopes.erk import Erk
from sdd_plugins.scopes.everywhere import Global
from sdd_plugins.scopes.layer import Layerwise
from sdd_plugins.scopes.within import Input, Output


@hookimpl
def sdd_scopes() -> list[type[Scope]]:
    return [Global, Layerwise, Erk, Output, Input]
