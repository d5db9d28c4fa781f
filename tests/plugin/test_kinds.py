"""A kind of plugin is one class in one table; everything else follows from it."""

import subprocess
import sys
import textwrap

import pytest

from sdd_core.plugin import hookspecs
from sdd_core.plugin.kinds import KINDS

# A kind that sdd does not have, added where a kind is added: a class, and its place in the table.
ADD = """
from typing import Annotated, ClassVar
import sdd_core.plugin.kinds as kinds

class Colour(kinds.Plugin):
    "What a network is painted with."
    kind: ClassVar[str] = "colour"
    hook: ClassVar[str] = "sdd_colours"
    title: ClassVar[str] = "Colours"

kinds.KINDS["colour"] = Colour
"""

USE = """
import sys, types
from pydantic import Field
from sdd_core import Experiment, Pruner, PluginRef, SddError, hookimpl
from sdd_core.cli.plugins import list_plugins
from sdd_core.plugin import discovery, hookspecs
from sdd_core.testing import check

class Red(Colour):
    "Red paint."
    name = "red"
    depth: int = Field(3, ge=1, le=9, description="coats of paint")

class Painted(Pruner):
    "Prunes by colour."
    name = "painted"
    colour: Annotated[Colour, PluginRef("colour")] = "red"

module = types.ModuleType("paint")
module.sdd_colours = hookimpl(lambda: [Red], specname="sdd_colours")
module.sdd_pruners = hookimpl(lambda: [Painted], specname="sdd_pruners")
plugins = discovery.load_plugins()
plugins.register(module, "paint-shop", "1.0", "paint")

# the hook, the registry, and messages
assert "sdd_colours" in dir(hookspecs)
assert "Colours" in hookspecs.sdd_colours.__doc__.title()
assert plugins.get("colour", "red") is Red
try:
    plugins.get("colour", "rad")
except SddError as error:
    assert str(error) == "unknown colour 'rad'; did you mean red?", error

# an option that takes one
made = Experiment.make({"pruner": {"name": "painted", "colour": {"depth": 5}}}, plugins)
assert made.pruner.colour == Red(depth=5)
assert Experiment.make(made.to_dict(), plugins) == made

# lists
from click.testing import CliRunner
listed = CliRunner().invoke(list_plugins, ["--kind", "colour", "--json"])
assert '"red"' in listed.output, listed.output

# the checks of the kit come from sdd_core.testing.KIND
kit = types.ModuleType("sdd_core.testing.colour")
kit.checks = lambda plugin, **where: seen.append(plugin) or []
seen, sys.modules["sdd_core.testing.colour"] = [], kit
check(Red)
assert seen == [Red()]
"""


def test_every_kind_has_a_hook_and_names_of_its_own():
    hooks = [kind.hook for kind in KINDS.values()]
    assert len({*hooks}) == len({kind.title for kind in KINDS.values()}) == len(KINDS)
    assert {name for name, kind in KINDS.items()} == {kind.kind for kind in KINDS.values()}
    for kind in KINDS.values():
        assert kind.__name__ in getattr(hookspecs, kind.hook).__doc__


@pytest.mark.slow
def test_a_kind_is_added_in_one_place():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(ADD + USE)], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
