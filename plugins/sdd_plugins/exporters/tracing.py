"""Networks as graphs of torch.export, with a batch of any size."""

from __future__ import annotations

import json
import logging
import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sdd_core import Exportable, SddError

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def traced(network: nn.Module, example: Tensor) -> ExportedProgram:
    """Return the network's graph for batches of any size.

    It is traced with zeros, so that no example of the data gets into the file, and holds no path of
    this machine. example: `[N, ...]`, whose shape and type count.

    Raises SddError that names the line of the network that cannot be traced.
    """
    inputs = torch.zeros_like(example[:1].expand(2, *example.shape[1:]))
    try:
        program = _traced(network, inputs, strict=False)
    except Exception as error:
        try:
            # Reads the source of `forward`, so that also `len(batch)` is the size of any batch.
            program = _traced(network, inputs, strict=True)
        except Exception:
            raise SddError(_refusal(network, error)) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def save_program(program: ExportedProgram, source: Exportable, path: Path) -> None:
    """Write a graph as a `.pt2` archive, with the description of its level in `sdd.json`."""
    # A file object, because torch warns about file names with another ending.
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file,
                          extra_files={"sdd.json": json.dumps(dict(source.description))})


def load_program(path: Path) -> nn.Module:
    """Return the module of a `.pt2` archive."""
    with quiet(), path.open("rb") as file:
        return torch.export.load(file).module()


def batch() -> tuple[dict[int, Any]]:
    """Return torch's description of inputs whose first dimension may have any size."""
    return ({0: torch.export.Dim("batch")},)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print, log and warn off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (warnings.catch_warnings(), redirect_stdout(StringIO()),
              redirect_stderr(StringIO())):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _traced(network: nn.Module, inputs: Tensor, *, strict: bool) -> ExportedProgram:
    with quiet(), torch.no_grad():
        return torch.export.export(network, (inputs,), dynamic_shapes=batch(), strict=strict)


def _refusal(network: nn.Module, error: Exception) -> str:
    """Return in one line which operation cannot be traced, and what to do."""
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    reason = re.split(r"[.!] ", text.strip(), maxsplit=1)[0].rstrip(".!")
    if reason.startswith("Constraints violated"):
        reason = "its code is for one batch size only"
    elif "data-dependent" in reason:
        reason = "what it does depends on the values of its inputs"
    return (f"torch.export cannot trace {type(network).__name__}{_line(network, error)}: {reason}; "
            "write it with operations on tensors that take any batch size (torch.where instead of "
            "`if`, x.shape[0] instead of a number), or export as state-dict")


def _line(network: nn.Module, error: Exception) -> str:
    """Return the last line of the network's own code that led to an error, ` at 'code' (file:1)`;
    '' if there is none."""
    torch_itself = str(Path(torch.__file__).parent)
    codes = (getattr(type(module).forward, "__code__", None) for module in network.modules())
    files = {code.co_filename for code in codes if code}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.filename in files and not frame.filename.startswith(torch_itself)]
    if not frames:
        return ""
    return f" at {frames[-1].line!r} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
