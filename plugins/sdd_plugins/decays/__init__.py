"""Learning-rate schedules of the dense network's training."""

from sdd_core import LearningRateSchedule, hookimpl
from sdd_plugins.decays.cosine import Cosine
from sdd_plugins.decays.steps import Steps


@hookimpl
def sdd_decays() -> list[type[LearningRateSchedule]]:
    return [Steps, Cosine]
