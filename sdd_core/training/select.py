"""Chooses how a level is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sdd_core.data.resident import DeviceDataset
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.installation import install_hint
from sdd_core.sparse.costs import KernelCosts
from sdd_core.training.dense_trainer import DenseTrainer, Objective, Trainer

if TYPE_CHECKING:
    from sdd_core.training.sparse_trainer import SparseTrainerFactory


class TrainerFactory:
    """Chooses how each of an experiment's networks is trained, which are all built alike.

    Sparse kernels where they know all layers and gain, on a CPU that has numba; else the general
    path. Everything else that the choice depends on is in the arguments.

    network: one of them, of which nothing is kept. costs: what the choice weighs (None: the
    defaults).
    """

    def __init__(
        self,
        network: nn.Module,
        data: DeviceDataset,
        experiment: Experiment,
        costs: KernelCosts | None = None,
    ) -> None:
        self._data = data
        self._train = experiment.train
        self._sparse: SparseTrainerFactory | None = None
        self._lacks_numba = False
        if experiment.kernels == "auto" and data.device.type == "cpu":
            self._lacks_numba = not _numba_is_there()
            if not self._lacks_numba:
                from sdd_core.training.sparse_trainer import (  # noqa: PLC0415 (imports numba)
                    SparseTrainerFactory as Sparse,
                )

                self._sparse = Sparse(network, data, self._train, costs or KernelCosts())

    def make(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        *,
        momenta: Mapping[str, Tensor] | None = None,
        kernels: tuple[str, ...] | None = None,
        objective: Objective | None = None,
    ) -> Trainer:
        """The trainer for a network under its masks.

        Args:
            momenta, kernels: those of a checkpoint, to go on from bit for bit.
            objective: what is minimised, where it is more than the sparse kernels know.

        Raises:
            SddError: a checkpoint was trained with sparse kernels, and numba is not there.
        """
        if kernels != () and objective is None:
            if kernels and self._lacks_numba:
                raise SddError("a level was interrupted that trained with sparse kernels, and they "
                               f"need numba to go on with it; {install_hint()}")
            trainer = self._sparse and self._sparse.make(network, masks, momenta, kernels)
            if trainer:
                return trainer
        return DenseTrainer(network, masks, self._data, self._train, momenta, objective)


def _numba_is_there() -> bool:
    try:
        import numba  # noqa: F401, PLC0415 (takes a second, and may be missing)
    except ImportError:
        return False
    return True
