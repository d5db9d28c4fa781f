"""A level, one round of pruning and training, as a value, and the view of it for plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from sdd_core.data.dataset import Dataset
from sdd_core.data.resident import normalise
from sdd_core.level.evaluation import loss_gradients, predict
from sdd_core.level.layers import weights_of
from sdd_core.level.result import Epoch
from sdd_core.randomness import generator

Moment = Literal["end", "initialisation", "before", "dense", "level"]
"""Which network: 'end', after the level's training; 'initialisation', the dense network's
initialisation under the level's masks; 'before', the trained level before; 'dense', the trained
dense network; 'level', this level without the experiment's ablation."""


@dataclass(frozen=True)
class Level:
    """A trained level.

    index: 0 is the dense network; level k has been pruned k times.
    masks: bool tensors, True where a weight is kept, for every prunable weight (exempt ones too).
    state: the network's state_dict on the CPU; pruned weights are exactly zero, or at the value at
        which the schedule holds them, or trained again if the masks were lifted.
    diverged: True if training reached NaN or infinity; `state` is then the level's start.
    kernels: the kernel of each layer, if it was chosen. instructions: the vector instructions that
        trained it, such as avx2. Both affect the result's last bits.
    moved: the number of weights that regrew while the level trained; None if masks did not move.
    observed: what the pruner observed during the level's training, by name, on the CPU.
    """

    index: int
    masks: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    epochs: tuple[Epoch, ...]
    diverged: bool = False
    kernels: tuple[str, ...] = ()
    moved: int | None = None
    observed: Mapping[str, Tensor] = field(default_factory=dict)
    instructions: str = ""

    def __repr__(self) -> str:
        return f"<Level {self.index}: {_kept(self.masks)}>"


class LevelView:
    """The view of a level for pruners and metrics: copies, so that they cannot change the run. Only
    the data set is not a copy; changing it in place is an error.

    level: the level's index. device: the device of `network()` and of the batches.
    target_density: for a pruner, the requested density of the prunable layers; else None.
    layers: returns the network with arbitrary weights, to inspect its layers (default: `build`).
    logits: returns what computes the logits on 'train' or 'test'; None: torch does.
    """

    def __init__(
        self,
        level: Level,
        *,
        initial: Mapping[str, Tensor],
        build: Callable[[], nn.Module],
        trainable: Sequence[str],
        data: Dataset,
        exempt: frozenset[str],
        seed: int,
        device: torch.device,
        before: Mapping[str, Tensor] | None = None,
        dense: Mapping[str, Tensor] | None = None,
        unchanged: Mapping[str, Tensor] | None = None,
        lifted: bool = False,
        target_density: float | None = None,
        layers: Callable[[], nn.Module] | None = None,
        logits: Callable[[], Callable[[str], Tensor] | None] = lambda: None,
    ) -> None:
        self.level = level.index
        self.target_density = target_density
        self.data = data
        self.device = device
        self.epochs = level.epochs
        self.diverged = level.diverged
        self._level = level
        self._initial = initial
        self._before = before
        self._dense = dense
        self._unchanged = level.state if unchanged is None else unchanged
        self._lifted = lifted
        self._build = build
        self._layers = layers or build
        self._trainable = trainable
        self._exempt = exempt
        self._seed = seed
        # Shared by copies of this view, so that all metrics use the same logits, computed once, and
        # one network.
        self._logits: dict[str, Tensor] = {}
        self._predicting: list[Callable[[str], Tensor]] = []
        self._kernels = logits

    def __repr__(self) -> str:
        return f"<LevelView of level {self.level}: {_kept(self._level.masks)}>"

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Every trainable parameter at the end of the level's training, on the CPU."""
        return {name: self._level.state[name].clone() for name in self._trainable}

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        """Every parameter at the end of the level's training, including frozen ones, on the CPU."""
        return {name: self._level.state[name].clone() for name, _ in
                self._built.named_parameters()}

    @cached_property
    def matrices(self) -> list[str]:
        """Names of all weights of the network, prunable or not: the matrices and kernels of its
        layers, that is, the floating-point parameters with two or more dimensions, except the
        scales of weight norms."""
        names = {id(p): name for name, p in self._built.named_parameters()}
        return [names[id(weight.tensor)] for weight in weights_of(self._built)]

    @cached_property
    def initial(self) -> dict[str, Tensor]:
        """Every trainable parameter at the dense network's initialisation, on the CPU."""
        return {name: self._initial[name].clone() for name in self._trainable}

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """bool, True where a weight is kept, for every prunable weight, including exempt ones."""
        return {name: mask.clone() for name, mask in self._level.masks.items()}

    @cached_property
    def observed(self) -> dict[str, Tensor]:
        """What the experiment's pruner observed during the level's training (`Pruner.observe`), on
        the CPU; empty if it observes nothing, and for a level without training or that diverged."""
        return {name: tensor.clone() for name, tensor in self._level.observed.items()}

    @cached_property
    def free(self) -> dict[str, Tensor]:
        """bool, True where a weight was trained at the end of the level's training: like `masks`,
        but all True if masks were lifted (re-dense training)."""
        return {name: torch.ones_like(mask) if self._lifted else mask
                for name, mask in self.masks.items()}

    @property
    def prunable(self) -> list[str]:
        """Names of the weights that may be pruned, in the network's order."""
        return [name for name in self._level.masks if name not in self._exempt]

    def by_output(self, name: str, tensor: Tensor) -> Tensor:
        """Return the numbers of a tensor in the shape of the weight `name`, by the outputs of its
        layer: `[outputs, of each]`."""
        weights = dict(self._built.named_parameters())
        layouts = {id(weight.tensor): weight.layout for weight in weights_of(self._built)}
        return layouts[id(weights[name])].lines(tensor, "output")

    @cached_property
    def _built(self) -> nn.Module:
        """The network with arbitrary weights, to inspect its layers."""
        return self._layers()

    def network(self, at: Moment = "end") -> nn.Module:
        """Return a new copy of the network, on `device`, in evaluation mode: after the level's
        training, or at another `Moment`. Raises ValueError if there is none, as for level 0 and
        'before'."""
        states = {"end": self._level.state, "before": self._before, "dense": self._dense,
                  "level": self._unchanged}
        state = self._initial if at == "initialisation" else states[at]
        if state is None:
            raise ValueError(f"level {self.level} has no network {at!r}")
        network = self._build()
        network.load_state_dict(dict(state))
        if at == "initialisation":
            weights = dict(network.named_parameters())
            with torch.no_grad():
                for name, mask in self._level.masks.items():
                    weights[name].masked_fill_(~mask.to(weights[name].device), 0.0)
        return network.to(self.device).eval()

    def generator(self, purpose: str) -> torch.Generator:
        """Return a random generator for one purpose, always with the same seed for this level."""
        # The prefix "plugin" keeps it apart from the engine's streams, whatever the purpose.
        return generator(self._seed, "plugin", purpose, self.level)

    def batches(self, batches: int, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """Return random batches of the training set, drawn without replacement: normalised inputs
        `[batch, ...]` and noisy labels `[batch]`, on `device`."""
        draw, train = self.generator("gradient batches"), self.data.train
        order = torch.randperm(len(train), generator=draw)[: batches * batch_size]
        return [
            (normalise(train.images[rows].to(self.device), self.data),
             train.labels[rows].to(self.device))
            for rows in order.split(batch_size)
        ]  # fmt: skip

    def gradients(
        self, batches: int, batch_size: int, at: Moment = "end"
    ) -> dict[str, Tensor]:
        """Return the gradient of the mean training loss over random batches, for every trainable
        parameter, on the CPU. The network is in training mode, as in the authors' code."""
        return loss_gradients(
            self.network(at), self.data, batches, batch_size, self.generator("gradient batches")
        )

    @cached_property
    def train_logits(self) -> Tensor:
        """Logits on the training set, float32 `[N, classes]`, evaluation mode, no augmentation."""
        return self._predicted("train")

    @cached_property
    def test_logits(self) -> Tensor:
        """Logits on the test set, float32 `[N, classes]`, in evaluation mode."""
        return self._predicted("test")

    def _predicted(self, part: str) -> Tensor:
        if part not in self._logits:
            if not self._predicting:
                self._predicting.append(self._kernels() or self._by_torch())
            self._logits[part] = self._predicting[0](part)
        return self._logits[part].clone()

    def _by_torch(self) -> Callable[[str], Tensor]:
        network, data = self.network(), self.data
        return lambda part: predict(network, data, getattr(data, part).images)


def _kept(masks: Mapping[str, Tensor]) -> str:
    kept = sum(int(mask.sum()) for mask in masks.values())
    size = sum(mask.numel() for mask in masks.values())
    return f"{kept:,} of {size:,} prunable weights kept, in {len(masks)} layers"
