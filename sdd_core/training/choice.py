"""Chooses how a level is trained."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sdd_core.errors import SddError
from sdd_core.experiment import Experiment
from sdd_core.training.costs import KernelCosts
from sdd_core.training.resident import Resident
from sdd_core.training.trainer import FlatTrainer, Objective, Trainer


def make_trainer(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    data: Resident,
    experiment: Experiment,
    *,
    momenta: Mapping[str, Tensor] | None = None,
    kernels: tuple[str, ...] | None = None,
    costs: KernelCosts | None = None,
    objective: Objective | None = None,
) -> Trainer:
    """The trainer for a network under its masks.

    Sparse kernels where they know all layers and gain, on a CPU that has numba; else the general
    path. Everything else that the choice depends on is in the arguments.

    Args:
        momenta, kernels: those of a checkpoint, to go on from bit for bit.
        costs: what the choice weighs (None: the defaults).
        objective: what is minimised, where it is more than the sparse kernels know.

    Raises:
        SddError: a checkpoint was trained with sparse kernels, and numba is not there.
    """
    train = experiment.train
    sparse = experiment.engine == "auto" and data.device.type == "cpu" and objective is None
    if sparse and kernels != ():
        if _numba_is_there():
            from sdd_core.training.sparse_trainer import sparse_trainer  # noqa: PLC0415 (imports numba)

            trainer = sparse_trainer(
                network, masks, data, train,
                momenta=momenta, kernels=kernels, costs=costs or KernelCosts(),
            )  # fmt: skip
            if trainer is not None:
                return trainer
        elif kernels:
            raise SddError("a level was interrupted that trained with sparse kernels, and they "
                           "need numba to go on with it; pip install numba")
    return FlatTrainer(network, masks, data, train, momenta, objective)


def _numba_is_there() -> bool:
    try:
        import numba  # noqa: F401, PLC0415 (takes a second, and may be missing)
    except ImportError:
        return False
    return True
