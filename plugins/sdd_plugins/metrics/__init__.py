"""Metrics: values measured on a trained level."""

from sdd_core import Metric, hookimpl
from sdd_plugins.metrics.accuracy import Accuracy
from sdd_plugins.metrics.activation_entropy import ActivationEntropy
from sdd_plugins.metrics.calibration import Calibration
from sdd_plugins.metrics.cost import Cost
from sdd_plugins.metrics.hessian import Hessian
from sdd_plugins.metrics.interpolation import Interpolation
from sdd_plugins.metrics.landscape import Landscape
from sdd_plugins.metrics.latency import Latency
from sdd_plugins.metrics.learning_distance import LearningDistance
from sdd_plugins.metrics.memorisation import Memorisation
from sdd_plugins.metrics.sharpness import Sharpness
from sdd_plugins.metrics.sparsity import Sparsity


@hookimpl
def sdd_metrics() -> list[type[Metric]]:
    return [
        Accuracy,
        LearningDistance,
        Memorisation,
        Sparsity,
        Calibration,
        Cost,
        ActivationEntropy,
        Sharpness,
        Hessian,
        Interpolation,
        Landscape,
        Latency,
    ]
