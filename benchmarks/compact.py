"""Inference of slimmed networks, whole and made smaller.

    python benchmarks/compact.py [--sparsity S] [--repeats N]

VGG-16 and ResNet-20 for images of 32x32 pixels are pruned by `slimming`, without training: the
scales of their normalisations are drawn at random, and so are the shifts, so that each pruned
channel still contributes a constant. Each layer of the VGG keeps one channel at least. For
ResNet-20 that leaves more than 2 % of the weights; there, branches can go as a whole, and the first
layer and the shortcuts are exempt. `dense` is the network with zeros, which is what torch computes
with; `compact` is what `sdd_core.compact` returns. Both have one thread.
"""

from __future__ import annotations

import argparse
import re
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
from baseline import Clock, apply, build, milliseconds, random_images, settings, table
from torch import nn

import sdd_core
from sdd_core.level.masks import full_masks, prunable_weights
from sdd_core.pruning.prune import prune_to
from sdd_core.pruning.rules import Rules
from sdd_plugins.pruners.slimming import Slimming

BATCHES = (1, 128)
TARGET = 3.0
EXEMPT = {"vgg16": r"fc", "resnet20": r"fc|conv1\.|.*downsample"}
RULES = {"vgg16": Rules(keep_at_least=1, prune_ties=True), "resnet20": Rules(prune_ties=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sparsity", type=float, default=0.98)
    parser.add_argument("--repeats", type=int, default=9)
    args, clock = Clock.chosen(parser)
    torch.set_num_threads(1)
    data, rows = random_images((3, 32, 32), 1), []
    for name in ("vgg16", "resnet20"):
        experiment = settings(name)
        network = slimmed(name, build(experiment, data), args.sparsity)
        start = perf_counter()
        small = sdd_core.compact(network, torch.zeros(1, 3, 32, 32))
        made = perf_counter() - start
        for batch in BATCHES:
            images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
            works: dict[str, Any] = {
                "dense": partial(network, images), "compact": partial(small, images)
            }  # fmt: skip
            with torch.no_grad():
                found, expected = works["compact"](), works["dense"]()
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
                times = clock.measure(works, args.repeats)
            ratio = times["dense"] / times["compact"]
            rows.append([name, str(batch), f"{size(network):,}", f"{size(small):,}",
                         milliseconds(times["dense"]), milliseconds(times["compact"]),
                         f"{ratio:.1f}x", f"{TARGET:g}x", f"{made:.1f} s"])
    table(["network", "batch", "parameters", "compact", "dense ms", "compact ms", "ratio", "target",
           "made in"], rows)


@torch.no_grad()
def slimmed(name: str, network: nn.Module, sparsity: float) -> nn.Module:
    """Return the network in evaluation mode, with whole channels set to zero."""
    draw = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.uniform_(0, 1, generator=draw)
            layer.bias.normal_(std=0.3, generator=draw)
    weights = {path: weight for path, weight in prunable_weights(network).items()
               if not re.match(EXEMPT[name], path)}
    level: Any = SimpleNamespace(network=lambda: network, prunable=list(weights))
    scope = settings().pruner.scope
    scores = Slimming().scores(level)
    apply(network, prune_to(full_masks(weights), scores, sparsity, scope, RULES[name]))
    return network.eval()


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


if __name__ == "__main__":
    main()
