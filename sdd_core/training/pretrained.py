"""Pretrained weights: a dense network that starts from another run's, or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.files.entries import DENSE_WEIGHTS, SUMS, damaged_file, pretrained_file
from sdd_core.files.reading import check_unchanged, exists
from sdd_core.level.level import Level
from sdd_core.level.masks import known_weights
from sdd_core.level.naming import layer_of, listed
from sdd_core.runs.level_files import read_level
from sdd_core.training.weight_file import read_weight_file
from sdd_core.training.weight_names import COUNTER, match_names, unmasked


class _Weights(NamedTuple):
    """Pretrained weights, lines about them, and the layers that may differ in the network."""

    tensors: Mapping[str, Tensor]
    notes: list[str]
    last: set[str]


def load_pretrained(network: nn.Module, train: Train) -> list[str]:
    """Load the weights that `train.pretrained` names into a network, with statistics of batch
    normalisation. Return lines about what was taken, changed and left out.

    The last layer is that of the last prunable weight. It stays as it is if its shape differs, as
    with another number of classes.

    Raises SddError if the weights are missing, damaged, have changed, are not finite or come from a
    diverged training, or if another layer than the last is missing or has another shape.
    """
    where = str(train.pretrained)
    last = {layer_of(name) for name in [*known_weights(network)][-1:]}
    try:
        weights = _read(train)
        found, notes_of_names = _by_our_names(weights.tensors, network, where)
        loaded, notes_of_values = _fitting(found, network, weights.last | last, where)
    except SddError as error:
        text = str(error)
        raise SddError(text if text.startswith("train.pretrained") else
                       f"train.pretrained: {text}") from None
    network.load_state_dict(loaded, strict=False)
    return [*weights.notes, *notes_of_names, *notes_of_values]


def _read(train: Train) -> _Weights:
    """Return the weights as they are in the file or in the run. Raises SddError."""
    assert train.pretrained is not None
    where, file = train.pretrained, pretrained_file(train.pretrained)
    of_run = file.parts[-3:] == DENSE_WEIGHTS.parts
    what = f"the dense network in {where}" if of_run else where
    try:
        check_unchanged(file, train.pretrained_checksum, f"train.pretrained: {what}",
                        "train.pretrained_checksum")
        if of_run:
            level = _level_of_run(where, file)
            return _Weights(level.state, [], {layer_of(name) for name in [*level.masks][-1:]})
    except FileNotFoundError:
        if of_run:
            raise SddError(f"{where} has no dense network ({DENSE_WEIGHTS}); expected the folder "
                           "of a run with a trained one (`sdd runs` lists them), or a file of "
                           "weights, .safetensors or .pt") from None
    return _Weights(*read_weight_file(file), set())


def _level_of_run(where: str, file: Path) -> Level:
    # Run folders of earlier versions have no list of checksums.
    if exists(file.with_name(SUMS)) and (damaged := damaged_file(file.parent)):
        raise SddError(f"the dense network in {where} is damaged ({damaged}); `sdd resume` trains "
                       "it again")
    level = read_level(file.parent)
    if level.diverged:
        raise SddError(f"the dense network in {where} diverged; choose a run whose dense network "
                       "was trained")
    return level


def _by_our_names(
    tensors: Mapping[str, Tensor], network: nn.Module, where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors by the network's names, without masks, and lines about what was changed."""
    plain, masked = unmasked(tensors)
    matched = match_names(plain, network.state_dict())
    notes = []
    if masked:
        notes.append(f"{listed(masked)} in {where} came with masks of torch.nn.utils.prune; what "
                     "they prune is zero")
    if matched.removed:
        notes.append(f"{matched.removed!r} was removed from the names in {where}")
    if matched.added:
        notes.append(f"{matched.added!r} was added to the names in {where}")
    if matched.outside:
        notes.append(f"{listed(matched.outside)} in {where} are left out, because they are not "
                     f"below {matched.removed!r}")
    return {ours: plain[name] for name, ours in matched.renamed.items()}, notes


def _fitting(
    there: Mapping[str, Tensor], network: nn.Module, last: set[str], where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors that the network takes, in its types, and lines about the others. Raises
    SddError if more than the last layers differ, or a number is not finite."""
    here = network.state_dict()
    tied = _tied(network)
    missing = [name for name in here if name not in there and not name.endswith(COUNTER)
               and not tied.get(name, set()) & there.keys()]
    unexpected = [name for name in there if name not in here]
    reshaped = [name for name in here if name in there and here[name].shape != there[name].shape]
    faults = {
        "other shapes": [f"{name} ({_shape(there[name])}, here {_shape(here[name])})"
                         for name in reshaped if layer_of(name) not in last],
        "missing": [name for name in missing if layer_of(name) not in last],
        "unexpected": [name for name in unexpected if layer_of(name) not in last],
    }
    if any(faults.values()):
        lists = "; ".join(f"{what}: {listed(names)}" for what, names in faults.items() if names)
        raise SddError(f"{where} does not fit this experiment's network: {lists}; expected weights "
                       "of the same model, of which only the last layer may differ")
    taken = {name: there[name] for name in here if name in there and name not in reshaped}
    loaded, notes = _converted(taken, here, where)
    if left := [name for name in here if name in {*reshaped, *missing}]:
        why = "the shapes differ" if reshaped else "they are missing there"
        notes.append(f"{', '.join(left)} of the last layer are initialised, not taken from "
                     f"{where}, because {why}")
    if unexpected:
        notes.append(f"{listed(unexpected)} of the last layer in {where} are left out, because "
                     "this experiment's network has no such tensors")
    return loaded, notes


def _converted(
    taken: Mapping[str, Tensor], here: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors in the network's types, and lines about those converted. Raises SddError for
    a tensor that is no dense array of such numbers, or has a number that is not finite."""
    loaded, types = {}, set()
    for name, tensor in taken.items():
        wanted = here[name].dtype
        if (tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta
                or tensor.is_floating_point() != wanted.is_floating_point):
            raise SddError(f"{name} in {where} is {_kind(tensor)}; expected a dense tensor of "
                           f"{wanted}")
        if not bool(tensor.isfinite().all()):
            raise SddError(f"{name} in {where} has numbers that are not finite (NaN or infinity); "
                           "choose weights of a training that did not diverge")
        if tensor.is_floating_point() and tensor.dtype != wanted:
            types.add(f"{tensor.dtype} to {wanted}".replace("torch.", ""))
        loaded[name] = tensor.to(wanted)
        if not bool(loaded[name].isfinite().all()):
            raise SddError(f"{name} in {where} has numbers too large for {wanted}")
    notes = [f"the numbers in {where} are converted from {' and '.join(sorted(types))}"]
    return loaded, notes if types else []


def _kind(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantised"
    return str(tensor.dtype if tensor.layout == torch.strided else tensor.layout)


def _tied(network: nn.Module) -> dict[str, set[str]]:
    """Return, for each name of a shared parameter, all its names."""
    names: dict[int, set[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return {name: group for group in names.values() for name in group if len(group) > 1}


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))
