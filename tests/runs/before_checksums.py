"""A store as versions of sdd wrote it that knew no checksums of numbers."""

from __future__ import annotations

import json
from pathlib import Path

NEW = ("name", "experiment", "levels", "modules")
"""Members of a record that came with the checksums."""


def strip(store: Path) -> None:
    """Take the checksums out of a store's runs and measurements."""
    for file in store.glob("*/record.json"):
        record = _without(json.loads(file.read_text()), "checksum", *NEW)
        file.write_text(json.dumps(record, indent=1) + "\n")
    for file in store.glob("*/metrics.jsonl"):
        rows = [_without(json.loads(line), "checksum") for line in file.open()]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file in store.glob("[!.]*/levels/*/SHA256SUMS"):
        file.unlink()
    for file in store.glob(".shared/metrics/*.json"):
        file.write_text(json.dumps(json.loads(file.read_text())["measured"]) + "\n")


def _without(content: dict, *names: str) -> dict:
    return {name: value for name, value in content.items() if name not in names}
