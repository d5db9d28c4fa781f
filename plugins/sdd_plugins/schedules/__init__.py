"""Retraining schedules: from which weights, at which step and how a pruned level trains."""

from sdd_core import Schedule, hookimpl
from sdd_plugins.schedules.finetune import Finetune
from sdd_plugins.schedules.lr_rewind import LrRewind
from sdd_plugins.schedules.rewind import Rewind
from sdd_plugins.schedules.scratch import Scratch


@hookimpl
def sdd_schedules() -> list[type[Schedule]]:
    return [Finetune, LrRewind, Rewind, Scratch]
