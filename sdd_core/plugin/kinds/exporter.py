"""Export formats: ways to write a pruned network for use without sdd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sdd_core.plugin.run import ResultView


@dataclass(frozen=True)
class Exportable:
    """A level's network and what describes it.

    network: a plain module on the CPU, in evaluation mode, without masks or hooks; pruned weights
        are exactly zero.
    masks: bool, True where a weight is kept, in the shapes of the weights, by their names.
    example: float32 `[2, ...]`, normalised inputs: test examples, or random numbers if the data
        are not on this machine.
    description: values that JSON can hold: run, level, sparsity, metrics, model, classes,
        input_shape, normalisation (mean and std of each channel), noise, sdd (its version).
    result: the results of all levels of the run.
    """

    network: nn.Module
    masks: Mapping[str, Tensor]
    example: Tensor
    description: Mapping[str, Any]
    result: ResultView

    def __repr__(self) -> str:
        return (f"<Exportable level {self.description['level']} of {self.description['run']}: "
                f"{type(self.network).__name__} for inputs {list(self.example.shape)}>")


class Exporter(Plugin):
    """A format in which a level's network can be written. It is not part of an experiment.

    An exporter writes one file or folder and loads it again. Everything else is done once for all
    formats: the file appears under its final name when it is complete, and only if the loaded
    artefact computes the same logits as the network.

    suffix: the end of the file's name, such as ".onnx"; "" for a folder. tolerance: the largest
    accepted difference of logits, relative to the largest absolute logit or 1, whichever is
    larger; 0 requires equality bit for bit. package: the package that it needs in addition to
    sdd's requirements.
    """

    kind: ClassVar[str] = "exporter"
    hook: ClassVar[str] = "sdd_exporters"
    title: ClassVar[str] = "Export formats"
    noun: ClassVar[str] = "export format"
    suffix: ClassVar[str]
    tolerance: ClassVar[float] = 1e-5
    package: ClassVar[str] = ""

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        """Write the artefact to `path`, which does not exist yet.

        Return facts to be printed and recorded, such as parameters and MACs before and after, by
        name; they may be empty. Do not change the network of `source`. Raises SddError for a
        network that the format cannot hold.
        """
        raise NotImplementedError

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        """Return a function from normalised inputs `[N, ...]`, float32, to logits `[N, classes]`
        that computes with the artefact at `path`.

        A format that holds weights alone may load them into a copy of the module in `source`.
        """
        raise NotImplementedError
