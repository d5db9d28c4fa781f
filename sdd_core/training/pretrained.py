"""Pretrained weights: a dense network that starts from another run's trained dense network."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.files.entries import DENSE_WEIGHTS, SUMS, damaged_file
from sdd_core.files.reading import check_unchanged, exists
from sdd_core.level.level import Level
from sdd_core.level.masks import known_weights
from sdd_core.level.naming import layer_of
from sdd_core.runs.level_files import read_level


def load_pretrained(network: nn.Module, train: Train) -> list[str]:
    """Load the weights in the folder `train.pretrained` into a network, with statistics of batch
    normalisation. Return the names of the tensors that were not loaded, all in the last layer.

    The last layer is that of the last prunable weight. It has another shape if the number of
    classes differs.

    Raises SddError if the weights are missing, have changed or come from a diverged training, or if
    another layer than the last has another shape.
    """
    level = _read(train)
    there, here = dict(level.state), network.state_dict()
    last = {layer_of(list(names)[-1]) for names in (level.masks, known_weights(network)) if names}
    odd = [name for name in here | there
           if name not in here or name not in there or here[name].shape != there[name].shape]
    other = [name for name in odd if layer_of(name) not in last]
    if other:
        name, more = other[0], f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        its, ours = (list(state[name].shape) if name in state else "missing"
                     for state in (there, here))
        raise SddError(f"train.pretrained: {name} is {its} in {train.pretrained} and {ours} in "
                       f"this experiment's network{more}; choose a run of the same model, of which "
                       "only the last layer may differ")
    network.load_state_dict({name: there[name] for name in here if name not in odd}, strict=False)
    return [name for name in here if name in odd]


def _read(train: Train) -> Level:
    assert train.pretrained is not None
    where, file = train.pretrained, Path(train.pretrained).expanduser() / DENSE_WEIGHTS
    try:
        check_unchanged(file, train.pretrained_checksum, "train.pretrained: the dense network in "
                        f"{where}", "train.pretrained_checksum")
        # Run folders of earlier versions have no list of checksums.
        if exists(file.with_name(SUMS)) and (damaged := damaged_file(file.parent)):
            raise SddError(f"train.pretrained: the dense network in {where} is damaged "
                           f"({damaged}); `sdd resume` trains it again")
        level = read_level(file.parent)
    except FileNotFoundError:
        raise SddError(f"train.pretrained: {where} has no dense network ({DENSE_WEIGHTS}); "
                       "expected the folder of a run with a trained one; `sdd runs` lists "
                       "them") from None
    if level.diverged:
        raise SddError(f"train.pretrained: the dense network in {where} diverged; choose a run "
                       "whose dense network was trained")
    return level

