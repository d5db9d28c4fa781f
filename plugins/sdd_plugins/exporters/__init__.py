"""Formats in which pruned networks are exported."""

from sdd_core import Exporter, hookimpl
from sdd_plugins.exporters.compact import Compact
from sdd_plugins.exporters.hub import Hub
from sdd_plugins.exporters.onnx import Onnx
from sdd_plugins.exporters.state_dict import StateDict
from sdd_plugins.exporters.torch_export import TorchExport
from sdd_plugins.exporters.torch_prune import TorchPrune


@hookimpl
def sdd_exporters() -> list[type[Exporter]]:
    return [StateDict, TorchPrune, Compact, TorchExport, Onnx, Hub]
