"""Metrics of the loss around the weights, where the loss is a quadratic form that is known."""

from __future__ import annotations

import builtins
import math

import pytest
import torch
from support import go, plugins_with, small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core import Experiment, Metric, SddError, install_hint
from sdd_core.plugin.discovery import load_plugins
from sdd_plugins.metrics.hessian import Hessian
from sdd_plugins.metrics.interpolation import Interpolation
from sdd_plugins.metrics.landscape import Landscape
from sdd_plugins.metrics.sharpness import Sharpness

from ..conftest import dataset

DRAW = torch.Generator().manual_seed(2)
ROOT = torch.randn(6, 6, generator=DRAW, dtype=torch.float64)
CURVATURE = (ROOT @ ROOT.T / 6).float()
DATA = dataset(torch.zeros(20, 1), [0] * 19 + [0], classes=2)


class Quadratic(nn.Module):
    """A network whose cross-entropy is q(w) = 1 + w^T A w / 2, if all labels are 0.

    Its logits are 0 and s with log(1 + e^s) = q. The weight is that of a layer of two filters.
    """

    def __init__(self, weight: list[float], curvature: Tensor = CURVATURE) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(weight).view(2, 3))
        self.curvature = curvature

    def forward(self, inputs: Tensor) -> Tensor:
        w = self.layer.weight.flatten()
        s = torch.expm1(1 + w @ self.curvature @ w / 2).log()
        return torch.stack([torch.zeros(len(inputs)), s.expand(len(inputs))], 1)


WEIGHT = [0.3, -0.4, 0.5, 1.0, 0.2, -0.1]


def loss_at(weight: Tensor, curvature: Tensor = CURVATURE) -> float:
    w, a = weight.double().flatten(), curvature.double()
    return float(1 + w @ a @ w / 2)


def test_the_toy_is_what_it_says():
    network = Quadratic(WEIGHT)
    loss = cross_entropy(network(DATA.train.images), DATA.train.labels).item()
    assert loss == pytest.approx(loss_at(torch.tensor(WEIGHT)), rel=1e-6)


@pytest.mark.parametrize("kept", [[True] * 6, [True, False, True, True, True, False]])
def test_hessian_of_a_quadratic_form(make_view, kept):
    mask = torch.tensor(kept).view(2, 3)
    weight = (torch.tensor(WEIGHT) * torch.tensor(kept)).tolist()

    def measured(seed):
        view = make_view(Quadratic(weight), DATA, masks={"layer.weight": mask}, seed=seed)
        return Hessian(vectors=3).measure(view)

    found = measured(0)
    assert measured(0) == found
    left = CURVATURE.double()[kept][:, kept]
    top = torch.linalg.eigvalsh(left)[-1].item()
    assert found["hessian_top_eigenvalue"] == pytest.approx(top, rel=1e-3)
    # Few vectors; the mean of many estimates is the trace.
    estimates = [measured(seed)["hessian_trace"] for seed in range(25)]
    mean = sum(estimates) / len(estimates)
    assert mean == pytest.approx(left.trace().item(), rel=0.2)


def test_the_trace_of_a_diagonal_needs_no_luck(make_view):
    diagonal = torch.diag(torch.tensor([1.0, -2.0, 3.0, 0.5, 7.0, 0.25]))
    found = Hessian(vectors=2).measure(make_view(Quadratic(WEIGHT, diagonal), DATA))
    assert found["hessian_trace"] == pytest.approx(9.75, rel=1e-3)
    # Not the largest in size alone: the largest.
    assert found["hessian_top_eigenvalue"] == pytest.approx(7.0, rel=1e-3)
    negative = Hessian().measure(make_view(Quadratic(WEIGHT, -0.1 * diagonal), DATA))
    assert negative["hessian_top_eigenvalue"] == pytest.approx(0.2, rel=1e-2)


def test_hessian_of_a_real_network_is_that_of_autograd(make_view):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 3))
    network[2].running_mean.normal_()
    images, labels = torch.randn(30, 3), [0, 1, 2] * 10
    view = make_view(network, dataset(images, labels, [0] * 30, classes=3))
    found = Hessian(batches=4, batch_size=8).measure(view)  # four batches, the last one smaller
    network.eval().double()
    parameters = dict(network.named_parameters())
    flat = torch.cat([p.detach().flatten() for p in parameters.values()])

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([p.numel() for p in parameters.values()])
        values = {n: part.view(p.shape) for (n, p), part in
                  zip(parameters.items(), parts, strict=True)}  # fmt: skip
        logits = torch.func.functional_call(network, values, images.double())
        return cross_entropy(logits, torch.tensor(labels))

    hessian = torch.autograd.functional.hessian(loss, flat)
    top = torch.linalg.eigvalsh(hessian)[-1].item()
    assert found["hessian_top_eigenvalue"] == pytest.approx(top, rel=1e-3)


def test_without_the_extra_one_clear_line_and_the_other_metrics(tmp_path, monkeypatch, capsys):
    importing = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("curvlinops"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importing(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    result = go(small(levels=0, metrics=["hessian", "accuracy"]), tmp_path)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"curvlinops is missing; {install_hint('geometry')}" in said
    assert result.levels[0].metrics["hessian"] is None
    assert result.levels[0].metrics["test_accuracy"] is not None


def test_hessian_in_a_run(tmp_path):
    result = go(small(levels=1, metrics=["hessian", "sharpness", "interpolation"],
                      data={"name": "digits", "examples": 200}), tmp_path)  # fmt: skip
    for level in result.levels:
        assert level.metrics["hessian_top_eigenvalue"] > 0
        assert level.metrics["worst_sharpness"] > level.metrics["sharpness"]
    dense, pruned = (level.metrics for level in result.levels)
    assert dense["loss_barrier_to_before"] is None
    assert pruned["loss_barrier_to_before"] >= 0


# Sharpness


def norms(weight: Tensor) -> Tensor:
    return weight.norm(dim=1, keepdim=True)


def test_at_worst_each_filter_moves_along_its_gradient(make_view):
    view = make_view(Quadratic(WEIGHT), DATA)
    found = Sharpness(radius=0.1).measure(view)
    weight = torch.tensor(WEIGHT, dtype=torch.float64).view(2, 3)
    gradient = (CURVATURE.double() @ weight.flatten()).view(2, 3)
    moved = weight + 0.1 * norms(weight) * gradient / norms(gradient)
    expected = loss_at(moved) - loss_at(weight)
    assert found["worst_sharpness"] == pytest.approx(expected, rel=1e-4)


def test_pruned_weights_do_not_move(make_view):
    """Whatever they would do to the loss: their curvature here is enormous."""
    mask = torch.tensor([[True, True, False], [True, False, True]])
    weight = torch.tensor(WEIGHT).view(2, 3) * mask
    curvature = torch.diag(torch.tensor([1.0, 2.0, 1e6, 3.0, 1e6, 0.5]))
    network = Quadratic(weight.flatten().tolist(), curvature)
    found = Sharpness(radius=0.2).measure(make_view(network, DATA, masks={"layer.weight": mask}))
    gradient = (curvature @ weight.flatten()).view(2, 3)
    moved = weight + 0.2 * norms(weight) * gradient / norms(gradient)
    expected = loss_at(moved, curvature) - loss_at(weight, curvature)
    assert found["worst_sharpness"] == pytest.approx(expected, rel=1e-3)
    assert abs(found["sharpness"]) < 1.0


def test_on_average_a_bowl_rises_by_half_its_trace(make_view):
    """Of a bowl A = a I the linear part is none on average, and the quadratic part is
    a r^2 |w|^2 / 2 for any direction."""
    bowl = 3.0 * torch.eye(6)
    view = make_view(Quadratic(WEIGHT, bowl), DATA)
    found = Sharpness(radius=0.3, directions=3000).measure(view)
    square = sum(w * w for w in WEIGHT)
    expected = 3.0 * 0.3**2 * square / 2
    # The linear part's deviation: a r |w_f|^2 / sqrt(3) for each filter.
    deviation = 3.0 * 0.3 * math.sqrt((0.5**2 + 1.05**2) / 3)
    within = 4 * deviation / math.sqrt(3000)
    assert found["sharpness"] == pytest.approx(expected, abs=within)
    assert within < expected / 2


def test_sharpness_does_not_depend_on_how_large_a_filter_is(make_view):
    """A filter in front of a batch normalisation may be ten times as large."""
    torch.manual_seed(0)
    images, labels = torch.randn(40, 5), [0, 1] * 20
    network = nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4, eps=0), nn.Linear(4, 2))
    network[1].running_var.fill_(0.5)
    found = Sharpness().measure(make_view(network, dataset(images, labels)))
    with torch.no_grad():
        network[0].weight.mul_(10.0)
        network[1].running_mean.mul_(10.0)
        network[1].running_var.mul_(100.0)
    larger = Sharpness().measure(make_view(network, dataset(images, labels)))
    assert larger == pytest.approx(found, rel=1e-3)
    assert found["worst_sharpness"] > found["sharpness"]


# Interpolation


def state(weight: list[float]) -> dict[str, Tensor]:
    return Quadratic(weight).state_dict()


OTHER = [-1.0, 0.5, 0.0, 2.0, -0.3, 0.7]


@pytest.mark.parametrize("to", ["before", "dense", "level"])
def test_a_convex_loss_has_no_barrier(make_view, to):
    other = "unchanged" if to == "level" else to
    view = make_view(Quadratic(WEIGHT), DATA, **{other: state(OTHER)})
    found = Interpolation(to=to, points=4).measure(view)
    assert found[f"loss_barrier_to_{to}"] == 0.0
    here, there = torch.tensor(WEIGHT).double(), torch.tensor(OTHER).double()
    expected = {f"{t:.2f}": loss_at((1 - t) * there + t * here) for t in (0, 0.2, 0.4, 0.6, 0.8, 1)}
    assert found[f"loss_on_the_way_to_{to}"] == pytest.approx(expected, rel=1e-5)


def test_the_barrier_of_a_concave_loss_by_hand(make_view):
    """1 - w_0^2 / 2 from w_0 = -0.5 to 1: 1.5^2 / 2 t (1 - t) above the straight line."""
    hill = torch.zeros(6, 6)
    hill[0, 0] = -1.0
    view = make_view(Quadratic([1.0, 0, 0, 0, 0, 0], hill), DATA,
                     before=state([-0.5, 0, 0, 0, 0, 0]))  # fmt: skip
    found = Interpolation(points=3).measure(view)
    assert found["loss_barrier_to_before"] == pytest.approx(1.5**2 / 8, rel=1e-4)
    found = Interpolation(points=1).measure(view)
    assert list(found["loss_on_the_way_to_before"]) == ["0.00", "0.50", "1.00"]


def test_a_level_without_an_ablation_is_no_way_from_itself(make_view):
    found = Interpolation(to="level", points=1).measure(make_view(Quadratic(WEIGHT), DATA))
    assert found["loss_barrier_to_level"] == pytest.approx(0, abs=1e-6)
    assert len({round(loss, 5) for loss in found["loss_on_the_way_to_level"].values()}) == 1


def test_the_line_of_a_re_dense_run_leads_from_the_sparse_solution_to_the_re_dense_one(tmp_path):
    """He et al. (2022), appendix A.5: alpha is 0 at the one and 1 at the other."""
    whole = {"batches": 8, "batch_size": 128}  # all examples
    metrics = ["accuracy", {"name": "interpolation", "to": "level", **whole},
               {"name": "landscape", "points": 1, **whole}]
    sparse = go(small(metrics=metrics), tmp_path)
    dense = go(small(metrics=metrics, ablation="re-dense"), tmp_path)
    assert dense.levels[0].metrics["loss_on_the_way_to_level"] is None
    for one, other in zip(sparse.levels[1:], dense.levels[1:], strict=True):
        line = other.metrics["loss_on_the_way_to_level"]
        assert line["0.00"] == pytest.approx(one.metrics["train_loss"], rel=1e-4)
        assert line["1.00"] == pytest.approx(other.metrics["train_loss"], rel=1e-4)
        assert line["1.00"] < line["0.00"]
        assert other.metrics["landscape"]["0.00"] == pytest.approx(line["1.00"], rel=1e-4)


def test_interpolates_statistics_of_batch_normalisation(make_view):
    def normaliser(mean: float) -> nn.Module:
        torch.manual_seed(0)
        network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
        network[0].running_mean.fill_(mean)
        return network

    images, labels = torch.randn(12, 3), [0, 1] * 6
    data = dataset(images, labels)
    view = make_view(normaliser(0.0), data, before=normaliser(2.0).state_dict())
    found = Interpolation(points=1).measure(view)["loss_on_the_way_to_before"]
    for place, mean in (("0.00", 2.0), ("0.50", 1.0), ("1.00", 0.0)):
        logits = normaliser(mean).eval()(images)
        assert found[place] == pytest.approx(cross_entropy(logits, torch.tensor(labels)).item())


# Landscape

# The two filters of the toy have curvatures of their own, 2 and 5.
BOWLS = torch.diag(torch.tensor([2.0, 2.0, 2.0, 5.0, 5.0, 5.0]))
FILTERS = (0.3**2 + 0.4**2 + 0.5**2, 1.0**2 + 0.2**2 + 0.1**2)
"""The squared norms of WEIGHT's filters."""


def test_the_line_is_the_bowl_that_each_filter_makes_of_any_direction(make_view):
    """L(t) + L(-t) - 2 L(0) = t^2 sum over filters of a_f |w_f|^2, whatever was drawn."""
    found = Landscape(points=4).measure(make_view(Quadratic(WEIGHT, BOWLS), DATA))["landscape"]
    assert list(found) == ["-1.00", "-0.75", "-0.50", "-0.25", "0.00", "0.25", "0.50", "0.75",
                           "1.00"]  # fmt: skip
    middle = 1 + (2 * FILTERS[0] + 5 * FILTERS[1]) / 2
    assert found["0.00"] == pytest.approx(middle, rel=1e-5)
    for place in (0.25, 0.5, 0.75, 1.0):
        rise = found[f"{place:.2f}"] + found[f"-{place:.2f}"] - 2 * found["0.00"]
        assert rise == pytest.approx(place**2 * (2 * FILTERS[0] + 5 * FILTERS[1]), rel=1e-4)
    # Along a random direction it is not the same to both sides.
    assert found["1.00"] != pytest.approx(found["-1.00"], abs=1e-3)


def test_pruned_weights_stay_zero_on_the_line(make_view):
    """Whatever they would do to the loss; and a filter is as long as its kept weights are."""
    mask = torch.tensor([[True, True, False], [True, False, True]])
    weight = (torch.tensor(WEIGHT).view(2, 3) * mask).flatten().tolist()
    curvature = torch.diag(torch.tensor([2.0, 2.0, 1e6, 5.0, 1e6, 5.0]))
    view = make_view(Quadratic(weight, curvature), DATA, masks={"layer.weight": mask})
    found = Landscape(points=1, reach=0.5).measure(view)["landscape"]
    rise = found["0.50"] + found["-0.50"] - 2 * found["0.00"]
    square = 2 * (0.3**2 + 0.4**2) + 5 * (1.0**2 + 0.1**2)
    assert rise == pytest.approx(0.5**2 * square, rel=1e-4)


def test_the_plane_has_the_line_in_it_and_the_bowl_in_its_other_direction_too(make_view):
    view = make_view(Quadratic(WEIGHT, BOWLS), DATA)
    line = Landscape(points=2).measure(view)["landscape"]
    plane = Landscape(points=2, dimensions=2).measure(view)["landscape_2d"]
    assert len(plane) == 25
    for place, loss in line.items():
        assert plane[f"{place},0.00"] == pytest.approx(loss, rel=1e-6)
    for place in (0.5, 1.0):
        rise = plane[f"0.00,{place:.2f}"] + plane[f"0.00,-{place:.2f}"] - 2 * plane["0.00,0.00"]
        assert rise == pytest.approx(place**2 * (2 * FILTERS[0] + 5 * FILTERS[1]), rel=1e-4)
    # Two directions, and a quadratic form along the diagonal, which has a mixed part.
    assert plane["1.00,0.00"] != pytest.approx(plane["0.00,1.00"], abs=1e-3)
    near, far = (plane[f"{t},{t}"] + plane[f"-{t},-{t}"] - 2 * plane["0.00,0.00"]
                 for t in ("0.50", "1.00"))  # fmt: skip
    assert far == pytest.approx(4 * near, rel=1e-4)


def test_places_close_to_each_other_have_names_of_their_own(make_view):
    view = make_view(Quadratic(WEIGHT), DATA)
    assert list(Landscape(points=2, reach=0.002).measure(view)["landscape"]) == [
        "-0.0020", "-0.0010", "0.0000", "0.0010", "0.0020"
    ]  # fmt: skip


# What they have in common


@pytest.mark.parametrize(
    "metric", [Hessian(), Sharpness(), Interpolation(), Landscape(), Landscape(dimensions=2)]
)
def test_of_a_level_that_diverged_all_values_are_none(make_view, metric):
    usual = metric.measure(make_view(Quadratic(WEIGHT), DATA, before=state(OTHER)))
    found = metric.measure(make_view(Quadratic(WEIGHT), DATA, diverged=True))
    assert found == dict.fromkeys(usual)


def test_level_0_lies_behind_no_other(make_view):
    view = make_view(Quadratic(WEIGHT), DATA, level=0)
    assert set(Interpolation().measure(view).values()) == {None}
    with pytest.raises(ValueError, match="level 0 has no network 'before'"):
        view.network("before")


@pytest.mark.parametrize("metric", [Hessian(), Sharpness(), Landscape(), Landscape(dimensions=2)])
def test_weights_that_train_again_move_too(make_view, metric):
    """Of a re-dense solution all weights do, in a space that is the same at every sparsity."""
    masks = {"layer.weight": torch.tensor([[True, False, True], [True, True, False]])}

    def measured(**options):
        found = metric.measure(make_view(Quadratic(WEIGHT), DATA, **options))
        # Of a curve or a plane its points.
        return next(iter(found.values())) if isinstance(metric, Landscape) else found

    assert measured(masks=masks, lifted=True) == pytest.approx(measured(), rel=1e-6)
    assert measured(masks=masks) != pytest.approx(measured(), rel=1e-2)


@pytest.mark.parametrize(
    ("ablation", "everywhere"),
    [(None, False), ("reinit", False), ("re-dense", True),
     ({"name": "re-dense", "masked_epochs": 1}, True)],
)
def test_a_run_knows_which_weights_could_move_at_the_end(tmp_path, ablation, everywhere):
    result = go(small(metrics=["free"], ablation=ablation), tmp_path,
                plugins=plugins_with(sdd_metrics=[Free]))
    assert [one.metrics["free"] == 1.0 for one in result.levels] == [True, everywhere, everywhere]


class Free(Metric):
    """Of all weights, the share that could move at the end."""

    name = "free"

    def measure(self, level):
        marks = torch.cat([mask.flatten() for mask in level.free.values()])
        return {"free": marks.double().mean().item()}


def test_they_are_measured_only_where_they_are_asked_for():
    plugins = load_plugins()
    defaults = {metric.name for metric in plugins.default_metrics()}
    assert {"accuracy", "learning_distance", "memorisation", "sparsity", "calibration",
            "cost"} <= defaults
    slow = {"hessian", "sharpness", "interpolation", "landscape", "activation_entropy", "latency"}
    assert not slow & defaults
    assert slow <= set(plugins.names("metric"))
    made = Experiment.make({"metrics": [{"name": "sharpness", "radius": 0.5}]})
    assert made.metrics == (Sharpness(radius=0.5),)


@pytest.mark.parametrize("options", [{"radius": 0}, {"directions": 0}, {"batches": 0}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(SddError, match=next(iter(options))):
        Experiment.make({"metrics": [{"name": "sharpness", **options}]})
