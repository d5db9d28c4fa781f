"""Measure a network of which one layer is pruned, for each layer and sparsity, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from sdd_core.experiment.keys import digest, identity
from sdd_core.layerwise.cells import Cells
from sdd_core.layerwise.sensitivity import TOGETHER, Cell, Sensitivity
from sdd_core.level import masks as masking
from sdd_core.level.evaluation import evaluate
from sdd_core.level.level import Level, LevelView
from sdd_core.plugin.kinds import label
from sdd_core.pruning import prune
from sdd_core.runs.store import Store
from sdd_core.training.recalibration import recalibrate, training_batches
from sdd_core.training.setup import ExperimentSetup

Report = Callable[[str, int, int], None]
"""Called before a row is measured: its layer, its number from 0, and the number of rows."""


@dataclass(frozen=True)
class Measurement:
    """A network to be pruned layer by layer.

    key: the level's key. initial: the dense network's initialisation, for the pruner.
    sparsities: those to measure at, growing.
    """

    setup: ExperimentSetup
    store: Store
    level: Level
    key: str
    initial: Mapping[str, Tensor]
    sparsities: tuple[float, ...]

    def measure(self, report: Report) -> Sensitivity:
        """Return the sensitivity. Cells in the store are reused."""
        experiment, key = self.setup.experiment, self._cells_key()
        sizes = {name: mask.numel() for name, mask in self._prunable.items()}
        rows = {TOGETHER: list(sizes), **{name: [name] for name in sizes}}
        with self.store.lock(f"{key}-sensitivity"):
            cells = Cells(self.store.folder, key)
            if (TOGETHER, 0.0) not in cells.known:
                cells.add(self._cell(TOGETHER, 0.0, self.level.masks))
            for number, (row, names) in enumerate(rows.items()):
                report(row, number, len(rows))
                for at in self.sparsities:
                    if (row, at) not in cells.known:
                        cells.add(self._cell(row, at, self._pruned(names, at)))
        return Sensitivity(
            f"{label(experiment.model)} on {label(experiment.data)}", label(experiment.pruner),
            sizes, self.sparsities, cells.known[TOGETHER, 0.0],
            {(row, at): cells.known[row, at] for row in rows for at in self.sparsities},
        )

    @cached_property
    def _prunable(self) -> dict[str, Tensor]:
        return {name: mask for name, mask in self.level.masks.items()
                if name not in self.setup.exempt}

    @property
    def _density(self) -> float:
        """The lowest density, at which a pruner aims that prunes step by step."""
        return 1 - self.sparsities[-1]

    def _cells_key(self) -> str:
        """Return the key of everything that a cell depends on, apart from its layer and sparsity.
        """
        experiment = self.setup.experiment
        batches = experiment.retrain.recalibrate
        return digest({
            "level": self.key, "pruner": identity(experiment.pruner), "density": self._density,
            "weights": list(self._prunable), "recalibrate": batches,
            "batch size": experiment.train.batch_size if batches else None,
        })  # fmt: skip

    @cached_property
    def _scores(self) -> Mapping[str, Tensor]:
        setup, level, pruner = self.setup, self.level, self.setup.experiment.pruner
        view = LevelView(
            level, initial=self.initial, build=lambda: setup.build(0), trainable=setup.trainable,
            data=setup.data, exempt=setup.exempt, seed=setup.experiment.seed, device=setup.device,
            target_density=self._density,
        )  # fmt: skip
        with setup.guard.isolated(pruner, "pruner", level.index):
            return prune.check_scores(pruner.scores(view), level.masks, view.prunable,
                                      f"pruner {pruner.name!r}")

    def _pruned(self, names: Sequence[str], sparsity: float) -> dict[str, Tensor]:
        """Return the level's masks with the named layers pruned to a sparsity."""
        rules = self.setup.rules._replace(keep_at_least=None)
        return prune.prune_to(self.level.masks, {name: self._scores[name] for name in names},
                              sparsity, self.setup.experiment.pruner.scope, rules)

    def _cell(self, row: str, sparsity: float, masks: Mapping[str, Tensor]) -> Cell:
        """Measure the level's network under other masks."""
        setup, level, data, experiment = (self.setup, self.level, self.setup.resident,
                                          self.setup.experiment)
        # What was pruned before keeps its value, which a schedule may hold at another than zero.
        newly = {name: level.masks[name] & ~mask for name, mask in masks.items()}
        network = setup.build(0)
        network.load_state_dict(dict(level.state) | {
            name: level.state[name].masked_fill(gone, 0.0) for name, gone in newly.items()})
        network.to(setup.device)
        with setup.guard.isolated(experiment.model, "sensitivity", level.index):
            if batches := experiment.retrain.recalibrate:
                recalibrate(network, training_batches(
                    data, batches, experiment.train.batch_size, experiment.seed, level.index, 0))
            loss, accuracy = evaluate(network, data.test_images, data.test_labels, data.data)
        names = self._prunable if row == TOGETHER else [row]
        return Cell(row, sparsity, masking.sparsity(masks, names),
                    loss if math.isfinite(loss) else None, accuracy)
