"""The kernels could be a package of their own: they use errors and notices, nothing else of sdd."""

from __future__ import annotations

import ast
from pathlib import Path

import sdd_core.sparse

SOURCE = Path(sdd_core.sparse.__file__).parent


def test_nothing_else_is_imported():
    imported = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.partition(".")[0] in ("sdd_core", "sdd_plugins")}
    assert {name for name in ours if not name.startswith("sdd_core.sparse.")} == {
        "sdd_core.errors", "sdd_core.output.notices",
    }  # fmt: skip
