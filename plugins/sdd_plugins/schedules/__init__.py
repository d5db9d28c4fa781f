"""Retraining schedules: starting weights, starting step and learning rates of pruned levels."""

from sdd_core import Schedule, hookimpl
from sdd_plugins.schedules.finetune import Finetune
from sdd_plugins.schedules.lr_rewind import LrRewind
from sdd_plugins.schedules.rewind import Rewind
from sdd_plugins.schedules.scratch import Scratch


@hookimpl
def sdd_schedules() -> list[type[Schedule]]:
    return [Finetune, LrRewind, Rewind, Scratch]
