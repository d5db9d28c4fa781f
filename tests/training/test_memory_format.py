"""Convolutions lie channels-last in memory only where oneDNN can differentiate them so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from sdd_core import Experiment
from sdd_core.training.memory_format import memory_format
from sdd_core.training.setup import ExperimentSetup

CPU = torch.device("cpu")


class Own(nn.Module):
    """Uses its weight in a way that nobody can see from outside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(8, channels, 1, 1))


@pytest.mark.parametrize(
    ("network", "safe"),
    [
        (nn.Conv2d(3, 4, 3, 2), True),
        (nn.Conv2d(4, 8, 1), True),  # no stride
        (nn.Conv2d(16, 8, 1, 2), True),
        (nn.Linear(3, 4), True),
        (nn.Conv2d(4, 8, 1, 2), False),
        (nn.Conv2d(15, 8, 1, 2), False),
        (nn.Conv2d(4, 8, 1, (1, 2)), False),
        (nn.Conv2d(32, 32, 1, 2, groups=16), False),
        (nn.ConvTranspose2d(16, 4, 1, 2), False),
        (nn.Sequential(nn.Conv2d(3, 64, 3), nn.Sequential(nn.Conv2d(4, 8, 1, 2))), False),
        (Own(4), False),
        (Own(16), True),
    ],
    ids=range(12),
)
def test_channels_last_where_it_is_safe(network, safe):
    expected = torch.channels_last if safe else torch.contiguous_format
    assert memory_format(network, CPU) == expected
    assert memory_format(network, torch.device("cuda")) == torch.channels_last


def test_networks_are_built_in_the_usual_layout():
    """Pruners and metrics differentiate them too."""
    layers = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10)
    model = nn.Sequential(*layers)
    given = model.to(memory_format=torch.channels_last)
    parts = ExperimentSetup(Experiment.make({"model": given}), None, CPU)
    assert not given[1].weight.is_contiguous()
    assert parts.build(0)[1].weight.is_contiguous()


# On a processor with AVX-512 too the kernels of AVX2, which are those that fail.
TRAIN = """
import copy, torch
from torch import nn
from training_cases import dataset, experiment, gap, plain_steps, resident, take_steps
from sdd_core.training.dense_trainer import DenseTrainer

torch.set_num_threads(1)
data = dataset((3, 16, 16))

def net(width, groups):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 1, 2, bias=False), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, 2, 1, groups=groups, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 5),
    )

for width in (2, 4, 5, 7, 8, 16):
    for groups in (1, 2, 2 * width):
        ours, theirs = net(width, groups), net(width, groups)
        if {user_format}:
            ours = ours.to(memory_format=torch.channels_last)
        trainer = DenseTrainer(ours, {{}}, resident(data), experiment().train)
        take_steps(trainer, data, 0, 5)
        plain_steps(theirs, {{}}, data, 5)
        assert gap(trainer.state(), theirs.state_dict()) < 1e-3, (width, groups)
print("trained")
"""


@pytest.mark.slow
@pytest.mark.parametrize("user_format", [False, True])
def test_narrow_networks_train_with_one_thread(user_format):
    """In a process of its own: what goes wrong here takes the process with it."""
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
    }  # fmt: skip
    code = TRAIN.format(user_format=user_format)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr[-2000:]
