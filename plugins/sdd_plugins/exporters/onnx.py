"""ONNX files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Exportable, Exporter, SddError, compact, install_hint
from sdd_plugins.exporters.tracing import batch, quiet, traced

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

LARGEST = 2**31 - 2**20
"""Bytes of weights that fit into an ONNX file, which is one message of protobuf; the rest of the
2 GB is left to the graph."""


class Onnx(Exporter):
    """An ONNX file, made by torch's own exporter and checked with onnxruntime.

    Its input is called `input`, its output `logits`; the first dimension of both is a batch of any
    size. The file's metadata hold the description of the level, one property each, in JSON unless
    it is text. Weights of convolutions that are followed by a batch normalisation include its
    factors; pruned weights stay zero. Needs the extra `onnx`.
    """

    name = "onnx"
    source = "https://onnx.ai; https://docs.pytorch.org/docs/stable/onnx.html"
    suffix = ".onnx"
    package = "onnxruntime"

    opset: int | None = Field(
        None, ge=18, description="version of ONNX's operators; default: the one that torch "
        "recommends"
    )
    compact: bool = Field(
        False, description="write the smaller network that `compact` makes, with the same logits"
    )

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        _check_installed()
        size = sum(tensor.nbytes for tensor in source.network.state_dict().values())
        if size > LARGEST:
            raise SddError(f"an ONNX file holds at most 2 GB of weights, but the network has "
                           f"{size / 1e9:.1f} GB; export it as torch-export or state-dict")
        program = self._translated(source)
        model = program.model
        # torch's notes on what each node was translated from, which are longer than the graph.
        model.graph.metadata_props.clear()
        for node in model.graph.all_nodes():
            node.metadata_props.clear()
        model.metadata_props.update(
            {key: value if isinstance(value, str) else json.dumps(value)
             for key, value in source.description.items()}
        )
        with quiet():
            program.save(path, external_data=False)
        return {"opset": model.opset_imports[""]}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        import onnxruntime  # noqa: PLC0415 (may be missing)

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

        def logits(inputs: Tensor) -> Tensor:
            (found,) = session.run(["logits"], {"input": inputs.numpy()})
            return torch.from_numpy(found)

        return logits

    def _translated(self, source: Exportable) -> ONNXProgram:
        network = source.network
        if self.compact:
            network = compact(network, source.example)
        graph = traced(network, source.example)
        try:
            with quiet():
                program = torch.onnx.export(
                    graph, dynamo=True, verbose=False, opset_version=self.opset,
                    dynamic_shapes=batch(), input_names=["input"], output_names=["logits"],
                )
        except Exception as error:
            raise SddError(f"ONNX has no equivalent of {_operation(error)} in "
                           f"{type(source.network).__name__}; write it with other operations, or "
                           "export it as torch-export") from None
        assert program is not None  # with dynamo=True
        if self.opset and program.model.opset_imports[""] != self.opset:
            raise SddError(f"torch {torch.__version__} cannot write "
                           f"{type(source.network).__name__} in opset {self.opset}; it can in "
                           f"opset {program.model.opset_imports['']}")
        return program


def _check_installed() -> None:
    """Raise SddError if a library is missing that torch's exporter needs."""
    for library in ("onnx", "onnxscript"):
        try:
            import_module(library)
        except ImportError:
            raise SddError(f"format 'onnx' needs {library}, which is not installed; "
                           f"{install_hint('onnx')}") from None


def _operation(error: BaseException) -> str:
    """Return the operation of torch that could not be translated."""
    found = re.search(r"op='([\w.]+)'|target=torch\.ops\.([\w.]+)", str(error))
    if found:
        return f"torch's {found[1] or found[2]}"
    return "an operation" if error.__cause__ is None else _operation(error.__cause__)
