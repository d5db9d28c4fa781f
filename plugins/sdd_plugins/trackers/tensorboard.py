"""TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from sdd_core import Run, Tracker


class TensorBoard(Tracker):
    """Event files for `tensorboard --logdir FOLDER`, one folder per run."""

    name = "tensorboard"
    source = "https://www.tensorflow.org/tensorboard"
    package = "tensorboard"
    shorthand = "folder"

    folder: str | None = Field(
        None, description="folder to write to; default: `tensorboard` in the store"
    )
    _writer: Any = PrivateAttr(None)

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (takes seconds)

        folder = Path(self.folder) if self.folder else run.folder.parent / "tensorboard"
        self._writer = SummaryWriter(str(folder / run.name))
        rows = "".join(f"| {_shown(name)} | {_shown(value)} |\n"
                       for name, value in settings.items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self, figure: Path | None) -> None:
        if figure:
            import numpy as np  # noqa: PLC0415
            from PIL import Image  # noqa: PLC0415

            with Image.open(figure) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._writer.add_image("figure", pixels, dataformats="HWC")
        self._writer.close()


def _shown(value: Any) -> str:
    """Return a value as escaped text: TensorBoard interprets settings as Markdown and HTML."""
    return re.sub(r"[^\w ./,:;=()+-]|\b_|_\b", lambda found: f"&#{ord(found[0])};", str(value))
