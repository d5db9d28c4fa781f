"""Levels whose masks move go on from every checkpoint bit for bit."""

from dataclasses import dataclass, field

import pytest
import torch
from support import Net, small
from training_cases import assert_equal

from sdd_core import Experiment, SparseTraining
from sdd_core.level.level import Level
from sdd_core.runs.store import Store
from sdd_core.training import loop
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.level_trainer import LevelTrainer
from sdd_core.training.setup import ExperimentSetup
from sdd_core.training.sparse_trainer import SparseTrainer


class Averaging(SparseTraining):
    """Keeps the weights of the largest average gradient, of all layers together."""

    name = "averaging"
    gradients, by_layer = True, False

    def updates(self, steps, steps_per_epoch):
        return range(1, steps, 3)

    def masks(self, view):
        for name in view.prunable:
            before = view.state.get(name, torch.zeros_like(view.gradients[name]))
            view.state[name] = 0.5 * before + view.gradients[name].abs()
        flat = torch.cat([view.state[name].flatten() for name in view.prunable])
        kept = sum(int(view.masks[name].sum()) for name in view.prunable)
        chosen = ~view.lowest(flat, torch.ones_like(flat).bool(), len(flat) - kept)
        sizes = [view.masks[name].numel() for name in view.prunable]
        return view.masks | {name: part.view_as(view.masks[name]) for name, part in
                             zip(view.prunable, chosen.split(sizes), strict=True)}

    def values(self, view, grown):
        return {name: -0.01 * view.gradients[name] * mask for name, mask in grown.items()}


METHODS = {
    "rigl": {"name": "rigl", "every": 3},
    "set": {"name": "set", "every": 4},
    "gmp": {"name": "gmp", "every": 3},
    "ac-dc": {"name": "ac-dc", "phase": 0.1},
    "averaging": Averaging(),
}
WAYS = {
    "kernels": {},
    "dense arithmetic": {"kernels": "none"},
    "AdamW": {"train": {"epochs": 2, "optimizer": "AdamW", "lr": 0.01}},
    "a normalisation": {"model": Net},
}


@dataclass
class LevelOne:
    """Level 1 of an experiment, trained as often as wanted from any checkpoint."""

    settings: dict
    store: Store
    checkpoints: list = field(default_factory=list)

    def __post_init__(self):
        self.setup = ExperimentSetup(Experiment.make(self.settings), None, torch.device("cpu"))
        masks = {n: torch.ones(w.shape).bool() for n, w in self.setup.prunable.items()}
        draw = torch.Generator().manual_seed(3)
        self.kept = {n: m if n in self.setup.exempt else torch.rand(m.shape, generator=draw) < 0.5
                     for n, m in masks.items()}
        self.dense = Level(0, masks, self.setup.build(0).state_dict(), ())

    def train(self, resume=None):
        if resume is not None:
            self.store.checkpoints.save("one", resume)
        trainer = LevelTrainer(self.setup, self.store, 0, lambda hook, **_: None)
        level = trainer.train(1, "one", self.kept, self.setup.retraining(1), self.dense, self.dense)
        self.store.checkpoints.forget("one")
        return level


@pytest.fixture
def level_one(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHUNK", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def make(**changes):
        one = LevelOne(small(**{"train": {"epochs": 2}, "retrain": "scratch", **changes}),
                       Store(tmp_path))
        save = one.store.checkpoints.save

        def note(key, checkpoint):
            one.checkpoints.append(checkpoint)
            save(key, checkpoint)

        monkeypatch.setattr(one.store.checkpoints, "save", note)
        return one

    yield make
    torch.set_num_threads(threads)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_goes_on_from_every_step(level_one, monkeypatch, method, way):
    used = set()
    for kind in (DenseTrainer, SparseTrainer):
        remask = kind.remask
        monkeypatch.setattr(kind, "remask", lambda self, *given, remask=remask: (
            used.add(type(self)), remask(self, *given)))
    one = level_one(sparse_training=method, **WAYS[way])
    whole = one.train()
    assert used == {SparseTrainer if way == "kernels" else DenseTrainer}
    checkpoints = list(one.checkpoints)
    assert [checkpoint.taken for checkpoint in checkpoints] == [*range(1, 16)]
    for checkpoint in checkpoints:
        level = one.train(checkpoint)
        assert level.epochs == whole.epochs
        assert level.moved == whole.moved
        assert_equal(level.masks, whole.masks)
        assert_equal(level.state, whole.state)


def test_masks_and_memory_come_back(level_one):
    one = level_one(sparse_training=Averaging())
    one.train()
    last = one.checkpoints[-1]
    one.store.checkpoints.save("other", last)
    found = one.store.checkpoints.load("other")
    assert_equal(found.moved.masks, last.moved.masks)
    assert_equal(found.moved.memory, last.moved.memory)
    assert found.moved.memory
    assert found.moved.count == last.moved.count > 0
