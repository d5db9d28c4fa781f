"""The choice between sparse kernels and dense arithmetic for a level's training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sdd_core.data.resident import DeviceDataset
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.installation import install_hint
from sdd_core.sparse.costs import KernelCosts, default_costs
from sdd_core.sparse.layers.names import by_layer
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.observation import Observation
from sdd_core.training.trainer import Objective, Trainer

if TYPE_CHECKING:
    from sdd_core.sparse.layers.replacement import MaskedLayers
    from sdd_core.training.sparse_trainer import SparseTrainerFactory


class TrainerFactory:
    """Makes the trainers of an experiment's networks, which all have the same architecture.

    It chooses sparse kernels if they support all layers and are faster, on a CPU with numba; else
    the general path, whose masked layers compute with their kept weights where that is faster. The
    choice otherwise depends only on the arguments.

    network: a network of this architecture, which is not kept. costs: costs of the kernels
    (None: the defaults). tell: called before a wait for kernels to be compiled.
    """

    def __init__(
        self,
        network: nn.Module,
        data: DeviceDataset,
        experiment: Experiment,
        costs: KernelCosts | None = None,
        tell: Callable[[], object] = lambda: None,
    ) -> None:
        self._data = data
        self._train = experiment.train
        self._costs = costs or default_costs()
        self._sparse: SparseTrainerFactory | None = None
        self._lacks_numba = False
        if experiment.kernels == "auto" and data.device.type == "cpu":
            self._lacks_numba = not _numba_is_there()
            if not self._lacks_numba:
                from sdd_core.training.sparse_trainer import (  # noqa: PLC0415 (imports numba)
                    SparseTrainerFactory as Sparse,
                )

                self._sparse = Sparse(network, data, self._train, self._costs, tell)

    def make(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        *,
        momenta: Mapping[str, Tensor] | None = None,
        kernels: tuple[str, ...] | None = None,
        objective: Objective | None = None,
        chosen_by: Mapping[str, Tensor] | None = None,
        observation: Observation | None = None,
    ) -> Trainer:
        """Return the trainer for a network under its masks.

        Args:
            momenta, kernels: those of a checkpoint, from which to continue bit for bit.
            objective: an objective that the sparse kernels do not support.
            chosen_by: the masks that decide about the kernels, if `masks` move.
            observation: shows the steps to a pruner; needs the gradients of the general path.

        Raises:
            SddError: a checkpoint was trained with sparse kernels, and numba is missing.
        """
        if kernels and self._lacks_numba:
            raise SddError("the checkpoint of an interrupted level needs sparse kernels, which "
                           f"require numba; {install_hint()}")
        whole = objective is None and observation is None and not by_layer(kernels or ())
        if kernels != () and whole:
            trainer = self._sparse and self._sparse.make(network, masks, momenta, kernels,
                                                          chosen_by)
            if trainer:
                return trainer
        layers = None
        usable = observation is None and not (objective and objective.frozen)
        if self._sparse and kernels != () and usable:
            layers = self._masked_layers(network, masks, kernels, chosen_by)
        return DenseTrainer(network, masks, self._data, self._train, momenta, objective,
                            observation, layers)

    def _masked_layers(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        kernels: tuple[str, ...] | None,
        chosen_by: Mapping[str, Tensor] | None,
    ) -> MaskedLayers:
        from sdd_core.sparse.layers.replacement import MaskedLayers  # noqa: PLC0415 (imports numba)

        return MaskedLayers(network, masks, self._costs, kernels, chosen_by)

    def logits(
        self, network: nn.Module, masks: Mapping[str, Tensor], kernels: tuple[str, ...]
    ) -> Callable[[str], Tensor] | None:
        """Return a function that gives the logits of a trained network on 'train' or 'test', by the
        sparse kernels that trained it; None if torch gives them."""
        if not self._sparse or not kernels or by_layer(kernels):
            return None
        trainer = self._sparse.make(network, masks, None, kernels)
        return trainer.logits if trainer else None


def _numba_is_there() -> bool:
    try:
        import numba  # noqa: F401, PLC0415 (takes a second, and may be missing)
    except ImportError:
        return False
    return True
