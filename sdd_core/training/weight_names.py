"""Match the names of tensors in a file to those of a network.

Wrappers change names: DataParallel puts `module.` before them, torch.compile `_orig_mod.`, FSDP and
activation checkpointing parts in the middle, a Lightning module the name of its attribute. Pruning
by `torch.nn.utils.prune` splits a weight into `weight_orig` and `weight_mask`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

TRANSPARENT = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that wrappers of torch add, at any place."""

ATTRIBUTES = {"model", "net", "network"}
"""First parts of names that are usual for a network within another module."""


COUNTER = "num_batches_tracked"
"""The count of batches of a batch normalisation, which older files lack."""


class Matched(NamedTuple):
    """Names matched to a network.

    renamed: the network's names by the file's names, for all that are not outside.
    removed, added: prefix that the file's names have and the network's have not, and conversely.
    outside: names of the file that lack the prefix, and belong to something else.
    """

    renamed: dict[str, str]
    removed: str
    added: str
    outside: list[str]


def match_names(names: Collection[str], expected: Collection[str]) -> Matched:
    """Match the names of tensors in a file to the names that a network expects.

    The parts of `TRANSPARENT` are ignored on both sides, and a prefix is removed or added, if more
    names fit then. A prefix is one of `ATTRIBUTES`, nested too, or any other with which all names
    of one side fit.
    """
    plain = _matched({name: name for name in names}, {name: name for name in expected})
    there, here = _bare(names), _bare(expected)
    if there is None or here is None:
        return plain
    bare = _matched(there, here)
    if _fitting(bare, expected) <= _fitting(plain, expected):
        return plain
    theirs = {part for name in expected for part in name.split(".")}
    cut = dict.fromkeys(part for name in names for part in name.split(".")
                        if part in TRANSPARENT and part not in theirs)
    return bare._replace(removed="".join(f"{part}." for part in cut) + bare.removed)


def _matched(there: Mapping[str, str], here: Mapping[str, str]) -> Matched:
    """Match names by their short forms, which may lack a prefix."""
    by_short = {short: name for name, short in here.items()}
    removed, added = _prefixes(set(there.values()), set(by_short))
    renamed, outside = {}, []
    for name, short in there.items():
        if short.startswith(removed):
            wanted = added + short.removeprefix(removed)
            renamed[name] = by_short.get(wanted, wanted)
        else:
            outside.append(name)
    return Matched(renamed, removed, added, outside)


def _fitting(matched: Matched, expected: Collection[str]) -> int:
    return len({*matched.renamed.values()} & {*expected})


def _bare(names: Iterable[str]) -> dict[str, str] | None:
    """Return names without the parts that wrappers add, by name; None if two become equal."""
    short = {name: ".".join(part for part in name.split(".") if part not in TRANSPARENT) or name
             for name in names}
    return short if len(set(short.values())) == len(short) else None


def _prefixes(there: set[str], here: set[str]) -> tuple[str, str]:
    """Return the prefix to remove from names in a file, and the prefix to add to them."""
    there, here = ({name for name in names if not name.endswith(COUNTER)}
                   for names in (there, here))
    found = [(len(there & here), "", "")]
    found += [(count, prefix, "") for prefix, count in _shared_prefixes(here, there).items()]
    found += [(count, "", prefix) for prefix, count in _shared_prefixes(there, here).items()]
    # The first of several that fit as many names.
    _, removed, added = max(found, key=lambda one: one[0])
    return removed, added


def _shared_prefixes(short: set[str], long: set[str]) -> dict[str, int]:
    """Return the prefixes that turn short names into long ones, each with the number of names that
    it fits, usual ones first and then shorter ones first. Others must fit all short names."""
    counts: Counter[str] = Counter()
    for name in long:
        place = name.find(".") + 1
        while place:
            counts[name[:place]] += name[place:] in short
            place = name.find(".", place) + 1
    order = sorted(counts, key=lambda prefix: (not _is_usual(prefix), len(prefix), prefix))
    return {prefix: counts[prefix] for prefix in order
            if _is_usual(prefix) or counts[prefix] == len(short)}


def _is_usual(prefix: str) -> bool:
    return all(part in ATTRIBUTES | TRANSPARENT for part in prefix.rstrip(".").split("."))


def unmasked(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors with the pairs that `torch.nn.utils.prune` makes, `weight_orig` and
    `weight_mask`, replaced by `weight` with exact zeros, and the names of those weights."""
    found, masked = dict(tensors), []
    for name, mask in tensors.items():
        base = name.removesuffix("_mask")
        weight = tensors.get(f"{base}_orig")
        if base == name or weight is None or weight.shape != mask.shape:
            continue
        del found[name], found[f"{base}_orig"]
        found[base] = torch.where(mask != 0, weight, torch.zeros_like(weight))
        masked.append(base)
    return found, masked
