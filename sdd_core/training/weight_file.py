"""Read a file of weights that another program wrote: safetensors, or torch.save without code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.files.entries import TORCH_FILES, WEIGHT_FILES
from sdd_core.files.reading import LARGEST_TENSORS, opened
from sdd_core.runs.level_files import read_tensors

CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights",
              "params", "state")
"""Members of a training checkpoint that hold the weights, in the order in which they are tried."""

AVERAGES = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "ema_model")
"""Members that hold averages of the weights, taken only if there are no weights."""

DEEPEST = 4
"""Members within members to look into."""

_NEEDS_CODE = re.compile(r"GLOBAL ([\w.]+)|class (\S+)")
_ZIP = b"PK\x03\x04"


class WeightFile(NamedTuple):
    """The tensors in a file by name, and lines about what was taken and left out."""

    tensors: dict[str, Tensor]
    notes: list[str]


def read_weight_file(file: Path) -> WeightFile:
    """Return the tensors in a file, on the CPU. No code in the file is executed.

    Raises SddError for a file that is missing, damaged, too large, of another format than its name
    says, without tensors, or that needs code.
    """
    if file.suffix.lower() not in WEIGHT_FILES:
        raise SddError(f"{file} ends with {file.suffix!r}; expected the folder of a run, or a file "
                       f"of weights: {', '.join(sorted(WEIGHT_FILES))}")
    try:
        with opened(file, LARGEST_TENSORS) as stream:
            head = stream.read(16)
    except FileNotFoundError:
        raise SddError(f"there is no file {file}; expected the folder of a run, or a file of "
                       "weights") from None
    if file.suffix.lower() in TORCH_FILES:
        if head[8:9] == b"{" and not head.startswith(_ZIP):
            raise SddError(f"{file} is not a file of torch.save; it looks like safetensors, so "
                           "name it .safetensors")
        return _tensors_of(_torch_load(file), file)
    if head.startswith(_ZIP) or head[:1] == b"\x80":
        raise SddError(f"{file} is not a safetensors file; it looks like a file of torch.save, so "
                       "name it .pt")
    tensors, _ = read_tensors(file)
    if not tensors:
        raise SddError(f"{file} has no tensors; expected the state_dict of a network")
    return WeightFile(tensors, [])


def _torch_load(file: Path) -> Any:
    """Return what torch.save wrote, without executing code. Raises SddError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats that are refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise SddError(f"{file} has more tensors than fit into memory") from None
    except OSError as error:
        raise SddError(f"cannot read {file}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file raises almost anything
        text = str(error)
        if "TorchScript" in text:
            raise SddError(f"{file} is a TorchScript program, which is code; expected a state_dict "
                           "saved with torch.save(model.state_dict(), file)") from None
        names = [name for name in _named(text) if not _is_torn(name)]
        if names:
            raise SddError(f"{file} needs code to be read ({names[0]}), which is not executed; "
                           "expected tensors only: save them with torch.save(model.state_dict(), "
                           "file) where that code is") from None
        raise _damaged(file, error) from None


def _named(text: str) -> list[str]:
    return [one or other for one, other in _NEEDS_CODE.findall(text)]


def _is_torn(name: str) -> bool:
    """Return whether a name ends in the middle, as in a file that was cut off."""
    return name.endswith(".") or "." not in name


def _damaged(file: Path, error: Exception) -> SddError:
    reason = " ".join(str(error).split())[:100]
    return SddError(f"{file} is damaged, cut off, or not a file of torch.save "
                    f"({type(error).__name__}{': ' * bool(reason)}{reason}); save the weights "
                    "again with torch.save(model.state_dict(), file)")


def _tensors_of(found: Any, file: Path) -> WeightFile:
    """Return the tensors in what torch.load returned: a state_dict, or a checkpoint with one."""
    path: list[str] = []
    notes: list[str] = []
    while True:
        if not isinstance(found, Mapping):
            raise SddError(f"{file} holds {type(found).__name__}; expected the state_dict of a "
                           "network, or a checkpoint with one")
        tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        holders = [str(name) for name, value in found.items() if _holds_tensors(value)]
        name = _choice(holders, bool(tensors))
        if name is None or len(path) == DEEPEST:
            break
        if others := [one for one in holders if one != name and one in (*CONTAINERS, *AVERAGES)]:
            notes.append(f"{', '.join(map(repr, others))} in {file} are left out")
        path.append(name)
        found = found[name]
    if not tensors:
        inside = ", ".join(holders or map(str, list(found)[:8])) or "nothing"
        raise SddError(f"{file} has no weights where they were expected: it holds {inside}; "
                       f"expected a state_dict, or one of {', '.join(CONTAINERS)} with it")
    if path:
        notes.insert(0, f"the weights are those in {'.'.join(path)!r} of {file}")
    return WeightFile(tensors, notes)


def _choice(holders: list[str], direct: bool) -> str | None:
    """Return the member that holds the weights, out of those with tensors; None if that is the
    mapping itself. direct: the mapping has tensors too."""
    for name in (*CONTAINERS, *AVERAGES):
        if name in holders:
            return name
    rest = [name for name in holders if "optim" not in name.lower()]
    return rest[0] if len(rest) == 1 and not direct else None


def _holds_tensors(value: Any, depth: int = 0) -> bool:
    """Return whether a value is a mapping with tensors by name, also within its mappings."""
    return isinstance(value, Mapping) and depth < DEEPEST and any(
        (isinstance(one, Tensor) and isinstance(name, str)) or _holds_tensors(one, depth + 1)
        for name, one in value.items()
    )
