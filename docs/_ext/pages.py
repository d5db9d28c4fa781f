"""Writing generated pages in MyST Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path


def write(folder: Path, pages: Mapping[str, Iterable[str]]) -> None:
    """Make pages, given by their lines, the only ones in a folder. One that is as it was stays
    untouched, so that Sphinx need not read it again."""
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.md"):
        if file.stem not in pages:
            file.unlink()
    for name, lines in pages.items():
        content = "\n".join(lines) + "\n"
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != content:
            file.write_text(content)


def text(plain: str) -> str:
    """Plain text with `code` and --options in it and no other markup; addresses and references to
    arXiv are links."""
    special = re.compile(r"(`[^`]*`|(?<![\w-])--\w[\w.-]*\w|https?://[^\s;,)]+)")
    parts = special.split(plain)
    return "".join(_special(part) if i % 2 else _linked(_escaped(part))
                   for i, part in enumerate(parts))


def _special(part: str) -> str:
    if part.startswith("`"):
        return part
    return f"`{part}`" if part.startswith("--") else f"<{part}>"


def cell(plain: str) -> str:
    """The same on one line, in a table."""
    return text(" ".join(plain.split())).replace("|", r"\|")


def _escaped(plain: str) -> str:
    return re.sub(r"([*_<>\[\]#$\\])", r"\\\1", plain)


def _linked(escaped: str) -> str:
    return re.sub(r"arXiv[: ](\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", escaped)
