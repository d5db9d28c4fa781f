"""A page for every notebook in `examples`, with what its cells gave when it was executed.

The pages are written into `docs/examples` before Sphinx reads its sources.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pages import write


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "examples"))
    return {"parallel_read_safe": True}


def write_pages(folder: Path) -> None:
    """A page for each notebook; its figures lie beside it."""
    files = sorted((folder.parents[1] / "examples").glob("*.ipynb"))
    folder.mkdir(exist_ok=True)
    write(folder, {file.stem: _page(file, folder) for file in files})


def _page(file: Path, folder: Path) -> Iterator[str]:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells):
        content = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield content + "\n"
            continue
        yield f"```python\n{content}\n```\n"
        for output in cell["outputs"]:
            yield _given(output, folder / f"{file.stem}-{number}.png")
    yield f"This page is the notebook `examples/{file.name}`."


def _given(output: Mapping[str, Any], figure: Path) -> str:
    """What a cell gave: printed lines, a figure or a table."""
    if output["output_type"] == "stream":
        return "```text\n" + "".join(output["text"]) + "```\n"
    data = output["data"]
    if "image/png" in data:
        figure.write_bytes(base64.b64decode(data["image/png"]))
        return f"![The figure that this cell draws]({figure.name})\n"
    return ('```{raw} html\n<div class="given">' + "".join(data["text/html"]) + "</div>\n```\n")
