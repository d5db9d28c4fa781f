"""A small network and data that are handed over in Python."""

import torch
from torch import nn

import sdd_core

torch.manual_seed(0)
IMAGES, LABELS = torch.rand(60, 1, 4, 4), torch.arange(60) % 3
TRAIN, TEST = (IMAGES[:40], LABELS[:40]), (IMAGES[40:], LABELS[40:])
QUICK = {"train": {"epochs": 2}, "levels": 1, "noise": {"rate": 0.0}}


def network(width=8, classes=3):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, width), nn.BatchNorm1d(width), nn.Linear(width, classes)
    )


def go(store, **settings):
    return sdd_core.run(
        QUICK, store=store, device="cpu",
        **{"model": network(), "data": (TRAIN, TEST), **settings},
    )  # fmt: skip
