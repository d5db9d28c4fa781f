"""Weights as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from sdd_core import Exportable, Exporter


class StateDict(Exporter):
    """The network's weights as a safetensors file, for `load_state_dict`.

    All tensors have their full shapes, with zeros at pruned weights. A tied weight stands under
    each of its names. The header's entry `sdd` describes the level, in JSON.
    """

    name = "state-dict"
    source = "https://huggingface.co/docs/safetensors"
    suffix = ".safetensors"
    tolerance = 0.0

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        write_tensors(source.network.state_dict(), source.description, path)
        return {}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        network = deepcopy(source.network)
        network.load_state_dict(load_file(path))
        return network


def write_tensors(
    tensors: Mapping[str, Tensor], description: Mapping[str, Any], path: Path
) -> None:
    """Write tensors as safetensors, with a description in the header."""
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format)
              for name, tensor in tensors.items()}
    # One entry only, because safetensors writes several in random order. Not `save_file`, which
    # makes files that only their owner can read.
    path.write_bytes(save(copies, {"sdd": json.dumps(dict(description))}))
