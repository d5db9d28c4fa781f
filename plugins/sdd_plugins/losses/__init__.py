"""Training losses instead of cross-entropy."""

from sdd_core import Loss, hookimpl
from sdd_plugins.losses.distillation import Distillation, SparseDistillation
from sdd_plugins.losses.generalised_cross_entropy import GeneralisedCrossEntropy


@hookimpl
def sdd_losses() -> list[type[Loss]]:
    return [Distillation, SparseDistillation, GeneralisedCrossEntropy]
