"""Observations of pruners that score what they saw while the level trained."""

from collections.abc import Mapping, MutableMapping

from torch import Tensor

from sdd_core import LevelView, SddError, StepView


def add_over_epoch(
    state: MutableMapping[str, Tensor], step: StepView, values: Mapping[str, Tensor]
) -> None:
    """Add values to their sums over the current epoch, in `state`."""
    if step.batch == 0:
        # With `train.stop_loss` any epoch may be the last one, so each is observed.
        state.clear()
    for name, value in values.items():
        state[name] = state[name] + value if name in state else value


def scores(level: LevelView, pruner: str) -> dict[str, Tensor]:
    """Return what was observed of each weight that may be pruned. Raises SddError if nothing was,
    because the level was not trained with this pruner."""
    if missing := [name for name in level.prunable if name not in level.observed]:
        raise SddError(f"pruner {pruner!r} scores what it observes while a level trains, but it "
                       f"did not observe level {level.level} ({missing[0]!r}); run an experiment "
                       "with this pruner in which the level is trained, or choose another pruner")
    return {name: level.observed[name] for name in level.prunable}
