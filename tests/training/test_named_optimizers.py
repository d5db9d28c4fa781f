"""Optimizers of named parameters, against plain loops with a tensor for each parameter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import contents, go, needs_muon, plugins_with, small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_cases import BATCH, assert_equal, dataset, experiment, gap, random_masks, resident

from sdd_core import Experiment, Optimizer, SddError
from sdd_core.experiment.keys import dense_key
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.trainer import Objective
from sdd_plugins.optimizers.sam import SharpnessAware

RATES = [0.05] * 3 + [0.02] * 3 + [0.004] * 3


def network(memory_format=torch.contiguous_format) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),
        nn.Linear(216, 8), nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip
    return made.to(memory_format=memory_format)


def trainer(optimizer, masks, momenta=None, **train) -> DenseTrainer:
    settings = experiment(optimizer=optimizer, lr=RATES[0], **train).train
    return DenseTrainer(network(), masks, resident(dataset()), settings, momenta)


def take(ours: DenseTrainer, first: int = 0, count: int = len(RATES)) -> dict[str, Tensor]:
    """Steps of the general path with these learning rates."""
    source = resident(dataset())
    for step in range(first, first + count):
        epoch, batch = divmod(step, 4)
        order, crops = source.order(0, 1, epoch), source.crops(0, 1, epoch)
        ours.steps(order, crops, batch, np.array([RATES[step]]))
    return ours.state()


def plain(masks, step) -> dict[str, Tensor]:
    """Steps of a plain loop: `step(weights, gradient, rate)` takes one, where `gradient()` computes
    the masked gradients, after which pruned weights are put back to zero."""
    net, source = network(), resident(dataset())
    weights = dict(net.named_parameters())

    def put_back(name: str) -> Tensor:
        return masks[name] if name in masks else torch.ones_like(weights[name])

    with torch.no_grad():
        for name, weight in weights.items():
            weight.mul_(put_back(name))
    batches = [c for epoch in range(4) for c in source.order(0, 1, epoch).split(BATCH)]
    for chosen, rate in zip(batches, RATES, strict=False):
        def gradient(chosen=chosen):
            net.zero_grad()
            loss = cross_entropy(net(source.train_images[chosen]), source.train_labels[chosen])
            loss.backward()
            for name, weight in weights.items():
                weight.grad.mul_(put_back(name))
            return loss.detach()

        step(weights, gradient, rate)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(put_back(name))
    return net.state_dict()


def of_torch(make):
    """The step of an optimizer that `make(weights)` returns; its rates keep their ratios."""
    made = []

    def step(weights, gradient, rate):
        if not made:
            made.extend(make(weights))
            for one in made:
                for group in one.param_groups:
                    group["ratio"] = group["lr"] / RATES[0]
        gradient()
        for one in made:
            for group in one.param_groups:
                group["lr"] = group["ratio"] * rate
            one.step()

    return step


class ByLayer(Optimizer):
    """Layer-wise rates: each layer half of the one behind it; biases without decay."""

    name = "by-layer"

    def make_named(self, parameters, lr, weight_decay):
        names = sorted(parameters, key=lambda name: int(name.split(".")[0]))
        return torch.optim.SGD(
            [{"params": [parameters[name]], "lr": lr / 2 ** (6 - int(name.split(".")[0])),
              "weight_decay": weight_decay * ("bias" not in name)} for name in names],
            momentum=0.8)


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_groups_keep_their_rates_and_their_decay(density):
    masks = random_masks(network(), density)
    ours = take(trainer(ByLayer(), masks, weight_decay=0.05))
    theirs = plain(masks, of_torch(lambda w: [ByLayer().make_named(w, RATES[0], 0.05)]))
    assert gap(ours, theirs) < 1e-4
    same = plain(masks, of_torch(lambda w: [torch.optim.SGD(w.values(), 0.05, 0.8)]))
    assert gap(ours, same) > 1e-2


@pytest.mark.parametrize("name", ["sgd", "AdamW"])
def test_biases_and_normalisations_can_be_left_without_decay(name):
    masks = random_masks(network(), 0.3)
    ours = take(trainer({"name": name, "decay_biases": False}, masks, weight_decay=0.5))

    def make(weights):
        groups = [{"params": [w for n, w in weights.items() if w.dim() > 1], "weight_decay": 0.5},
                  {"params": [w for n, w in weights.items() if w.dim() == 1], "weight_decay": 0.0}]
        if name == "sgd":
            return [torch.optim.SGD(groups, RATES[0], 0.9)]
        return [torch.optim.AdamW(groups, RATES[0])]

    assert gap(ours, plain(masks, of_torch(make))) < 1e-3
    assert gap(ours, take(trainer(name, masks, weight_decay=0.5))) > 1e-2


def test_options_that_were_added_are_not_in_the_keys_of_before():
    usual = dense_key(Experiment.make({}))
    same, other = (dense_key(Experiment.make({"train": {"optimizer": {
        "name": "sgd", "decay_biases": decay}}})) for decay in (True, False))
    assert same == usual
    assert other != usual


class LayerNorms(torch.optim.Optimizer):
    """LARS (You et al., 2017, arXiv:1708.03888): rates by the norms of layers."""

    def __init__(self, params, lr, trust=0.02, momentum=0.9):
        super().__init__(params, {"lr": lr})
        self.trust, self.momentum = trust, momentum

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                ratio = self.trust * weight.norm() / (weight.grad.norm() + 1e-9)
                moved = self.state[weight].setdefault("moved", torch.zeros_like(weight))
                moved.mul_(self.momentum).add_(weight.grad, alpha=float(group["lr"] * ratio))
                weight.sub_(moved)


class Lars(Optimizer):
    """LARS."""

    name = "lars"

    def make_named(self, parameters, lr, weight_decay):
        return LayerNorms(parameters.values(), lr)


def test_lars_sees_the_norms_of_layers():
    masks = random_masks(network(), 0.3)
    memory = {}

    def step(weights, gradient, rate):
        gradient()
        with torch.no_grad():
            for name, weight in weights.items():
                trust = 0.02 * weight.norm() / (weight.grad.norm() + 1e-9)
                memory[name] = 0.9 * memory.get(name, 0) + rate * trust * weight.grad
                weight.sub_(memory[name])

    assert gap(take(trainer(Lars(), masks)), plain(masks, step)) < 1e-4


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_sam_takes_the_gradient_at_the_worst_weights_nearby(density):
    masks = random_masks(network(), density)
    ours = take(trainer({"name": "sam", "radius": 0.4}, masks, weight_decay=0.01))
    momenta, seen = {}, []

    def step(weights, gradient, rate):
        before = gradient()
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        norm = sum(weight.grad.square().sum() for weight in weights.values()).sqrt()
        with torch.no_grad():
            for weight in weights.values():
                weight.add_(0.4 * weight.grad / norm)
        seen.append(float(gradient() - before))
        with torch.no_grad():
            for name, weight in weights.items():
                slope = weight.grad + 0.01 * start[name]
                momenta[name] = 0.9 * momenta.get(name, 0) + slope
                weight.copy_(start[name] - rate * momenta[name])

    theirs = plain(masks, step)
    assert max(seen) > 0  # the loss is higher there
    weights = {name for name, _ in network().named_parameters()}
    assert gap({n: t for n, t in ours.items() if n in weights},
               {n: t for n, t in theirs.items() if n in weights}) < 1e-3
    plain_sgd = take(trainer("sgd", masks, weight_decay=0.01))
    assert gap(ours, plain_sgd) > 1e-2


def test_running_statistics_are_those_of_the_weights_themselves():
    """In a plain loop the second gradient would count its batch too."""
    ours = trainer({"name": "sam", "radius": 5.0}, {})
    take(ours, 0, 1)
    theirs = trainer("sgd", {})
    take(theirs, 0, 1)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(ours.state()[name], theirs.state()[name])


@needs_muon
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_muon_orthogonalises_matrices_and_kernels(density):
    masks = random_masks(network(), density)
    ours = take(trainer("muon", masks, weight_decay=0.01))
    # Rows of a kernel in another order of columns, which does not change the result.
    proxies = []

    def make(weights):
        for weight in weights.values():
            weight.grad = torch.zeros_like(weight)
        matrices = [nn.Parameter(w.detach().flatten(1)) for w in weights.values() if w.dim() > 1]
        proxies.extend(zip(matrices, [w for w in weights.values() if w.dim() > 1], strict=True))
        return [torch.optim.Muon(matrices, RATES[0], 0.01, 0.95),
                torch.optim.AdamW([w for w in weights.values() if w.dim() == 1], RATES[0] / 10,
                                  weight_decay=0.01)]

    inner = of_torch(make)

    def step(weights, gradient, rate):
        def both():
            gradient()
            for matrix, weight in proxies:
                matrix.grad = weight.grad.flatten(1)

        inner(weights, both, rate)

    theirs = plain(masks, step)
    # bfloat16 in the iterations, so only roughly
    assert gap(ours, theirs) < 0.1
    assert gap(ours, take(trainer("sgd", masks, weight_decay=0.01))) > 0.3
    for name, mask in masks.items():
        assert not ours[name][~mask].any()


class Rude(torch.optim.Optimizer):
    """Moves every weight, replaces tensors, and removes gradients, as some packages do."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr, "count": 0})
        self.inner = torch.optim.Adam(self.param_groups, lr=lr)

    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] += 1
            for weight in group["params"]:
                self.state[weight]["old"] = weight.data.clone()
                weight.data = weight.data + 0.1 * weight.grad
        with torch.enable_grad():
            closure()
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data = self.state[weight]["old"] + 0.01 / group["count"]
        self.inner.step()
        self.zero_grad()


class Wraps(Optimizer):
    """Uses the optimizer above."""

    name = "wraps"
    closure = True

    def make_named(self, parameters, lr, weight_decay):
        return Rude(parameters.values(), lr)


NAMED = ["sam", pytest.param("muon", marks=needs_muon), {"name": "sgd", "decay_biases": False},
         ByLayer(), Lars(), Wraps()]
IDS = ["sam", "muon", "sgd", "by layer", "lars", "wraps"]


@pytest.mark.parametrize("optimizer", NAMED, ids=IDS)
def test_masks_hold_and_a_checkpoint_goes_on_bit_for_bit(optimizer):
    masks = random_masks(network(), 0.3)
    whole = take(trainer(optimizer, masks, weight_decay=0.01))
    for name, mask in masks.items():
        assert not whole[name][~mask].any()
        assert whole[name][mask].all()
    first = trainer(optimizer, masks, weight_decay=0.01)
    take(first, 0, 5)
    second = trainer(optimizer, masks, first.momenta(), weight_decay=0.01)
    second.network.load_state_dict(first.state())
    assert all(tensor.is_contiguous() for tensor in first.momenta().values())
    assert_equal(take(second, 5, 4), whole)
    forgetful = trainer(optimizer, masks, weight_decay=0.01)
    forgetful.network.load_state_dict(first.state())
    assert gap(take(forgetful, 5, 4), whole) > 0


def test_penalties_are_those_of_the_weights_where_the_second_gradient_is_taken():
    """Also for an optimizer that replaces the weights' tensors to get there."""
    anchor = {name: torch.zeros_like(p) for name, p in network().named_parameters()}
    slopes = []

    class Looks(torch.optim.Optimizer):
        def step(self, closure=None):
            for weight in self.param_groups[0]["params"]:
                weight.data = torch.full_like(weight, 0.5)
            closure()
            slopes.append([weight.grad.clone() for weight in self.param_groups[0]["params"]])

    class Far(Optimizer):
        """Looks at the gradient far away."""

        name = "far"
        closure = True

        def make_named(self, parameters, lr, weight_decay):
            return Looks(parameters.values(), {"lr": lr})

    for penalty in (0.0, 3.0):
        settings = experiment(optimizer=Far(), lr=RATES[0], distance_penalty=penalty).train
        take(DenseTrainer(network(), {}, resident(dataset()), settings, None,
                          Objective(anchor=anchor)), 0, 1)
    for without, with_penalty in zip(*slopes, strict=True):
        assert torch.allclose(with_penalty - without, torch.tensor(9 * 0.5), atol=1e-4)


def wrong(make):
    class Wrong(Optimizer):
        """Returns something else."""

        name = "wrong"

        def make_named(self, parameters, lr, weight_decay):
            return make(list(parameters.values()), lr)

    return Wrong


@pytest.mark.parametrize(("make", "message"), [
    (lambda p, lr: torch.optim.SGD(p[1:], lr), "'.*' 0 times"),
    (lambda p, lr: [torch.optim.SGD(p, lr), torch.optim.SGD(p[:1], lr)], "2 times"),
    (lambda p, lr: torch.optim.SGD([*p, torch.zeros(3)], lr), "1 tensors that are none"),
    (lambda p, lr: [p[0].clone() for _ in p], "returned list; expected a torch.optim.Optimizer"),
    (lambda p, lr: [], "returned list; expected"),
    (lambda p, lr: 3, "returned int; expected"),
])
def test_a_wrong_optimizer_is_named_before_anything_is_trained(tmp_path, make, message):
    plugins = plugins_with(sdd_optimizers=[wrong(make)])
    with pytest.raises(SddError, match=f"optimizer 'wrong' failed: TypeError: make_named.*{message}"
                       ) as caught:
        go(small(train={"epochs": 1, "optimizer": "wrong"}), tmp_path, plugins=plugins)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / ".shared").exists() or not list(
        (tmp_path / ".shared" / "levels").iterdir())


@pytest.mark.parametrize("optimizer", ["sam", pytest.param("muon", marks=needs_muon)])
def test_a_run_with_one_is_deterministic_and_its_pruned_weights_are_zero(tmp_path, optimizer):
    settings = small(train={"epochs": 3, "optimizer": optimizer, "lr": 0.1})
    runs = [go(settings, tmp_path / which) for which in "ab"]
    one, other = (contents(run.folder) for run in runs)
    assert one == other
    level = runs[0].levels[2]
    state = level.state_dict()
    assert not any(state[name][~mask].any() for name, mask in level.masks.items())
    assert level.number("test_accuracy") > 0.3


def test_sam_without_a_radius_is_sgd():
    masks = random_masks(network(), 0.3)
    ours = take(trainer({"name": "sam", "radius": 0.0}, masks, weight_decay=0.01))
    assert gap(ours, take(trainer("sgd", masks, weight_decay=0.01))) < 1e-5
    assert issubclass(SharpnessAware, torch.optim.SGD)
