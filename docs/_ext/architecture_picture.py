"""The picture of the architecture, drawn from the code: `python docs/_ext/architecture_picture.py`.

A row for each folder of `sdd_core`, in the order that import-linter enforces, with the first line
of its docstring. A line on the right goes from a folder down to a folder that it imports. Left out
are imports of the ground, which everything imports, and those that other lines lead to as well.
"""

from __future__ import annotations

import ast
import html
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROW, TOP, LEFT, BOXES, WIDTH = 34, 12, 12, 640, 740
GROUND = ("files", "randomness", "errors", "output", "installation")
ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"


def picture() -> str:
    """Return the picture, as SVG."""
    return "\n".join(_picture(layers(), imports())) + "\n"


def layers() -> list[str]:
    """Return the rooms from top to bottom, as `pyproject.toml` has them for import-linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    contract = next(one for one in settings["contracts"] if one["type"] == "layers")
    return [layer.removeprefix("sdd_core.") for layer in contract["layers"]]


def imports() -> set[tuple[str, str]]:
    """Return which room imports which, lazily or for type checkers too."""
    found = set()
    for file in sorted((ROOT / "sdd_core").rglob("*.py")):
        room = file.relative_to(ROOT / "sdd_core").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sdd_core."):
                found.add((room, str(node.module).split(".")[1]))
    return {(one, other) for one, other in found if one != other and other not in GROUND}


def shown(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the edges without those that a longer way leads along, too."""
    below: dict[str, set[str]] = {}
    for one, other in edges:
        below.setdefault(one, set()).add(other)

    def reached(room: str) -> set[str]:
        return below.get(room, set()).union(*map(reached, below.get(room, ())))

    return {(one, other) for one, other in edges
            if not any(other in reached(way) for way in below[one] - {other})}


def about(room: str) -> str:
    """Return the first line of a room's docstring."""
    place = ROOT / "sdd_core" / room
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    words = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return words.partition("\n")[0].strip(" .,:").replace("`", "")


def _picture(rooms: list[str], edges: set[tuple[str, str]]) -> Iterator[str]:
    height = 2 * TOP + ROW * len(rooms)
    middle = {room: TOP + ROW * number + ROW / 2 for number, room in enumerate(rooms)}
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="sans-serif" font-size="12">')
    yield f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    for one, other in sorted(shown(edges)):
        if one in middle and other in middle:
            start, end = middle[one], middle[other]
            reach = BOXES + 14 + 4 * (WIDTH - BOXES) * abs(end - start) / height
            yield (f'<path d="M{BOXES} {start} C{reach} {start} {reach} {end} {BOXES + 6} {end}" '
                   'fill="none" stroke="#5b7fa6"/>'
                   f'<circle cx="{BOXES + 4}" cy="{end}" r="3" fill="#5b7fa6"/>')
    for room in rooms:
        y = middle[room] - ROW / 2 + 3
        yield (f'<rect x="{LEFT}" y="{y}" width="{BOXES - LEFT}" height="{ROW - 6}" rx="4" '
               'fill="#eef3f8" stroke="#9db4cc"/>')
        baseline = middle[room] + 4
        yield f'<text x="{LEFT + 10}" y="{baseline}" font-weight="bold">{html.escape(room)}</text>'
        yield (f'<text x="{LEFT + 110}" y="{baseline}" font-size="11">'
               f'{html.escape(about(room))}</text>')
    yield "</svg>"


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
