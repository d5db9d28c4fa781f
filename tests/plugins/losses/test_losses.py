"""Each loss by hand, and at its limits."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sdd_core import Experiment, SddError
from sdd_plugins.losses.distillation import Distillation, SparseDistillation
from sdd_plugins.losses.generalised_cross_entropy import GeneralisedCrossEntropy

# Probabilities (0.8, 0.2) and (0.1, 0.9): logits are their logarithms, plus anything.
LOGITS = torch.tensor([[0.8, 0.2], [0.1, 0.9]], dtype=torch.float64).log() + 3.0
LABELS = torch.tensor([0, 0])
DRAW = torch.Generator().manual_seed(0)
MANY = torch.randn(50, 7, generator=DRAW, dtype=torch.float64) * 3
MANY_LABELS = torch.randint(7, (50,), generator=DRAW)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalised_cross_entropy_by_hand(q):
    expected = ((1 - 0.8**q) / q + (1 - 0.1**q) / q) / 2
    loss = GeneralisedCrossEntropy(q=q).loss(LOGITS, LABELS, None)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert loss.dim() == 0


def test_towards_q_of_zero_it_is_cross_entropy():
    loss = GeneralisedCrossEntropy(q=1e-9).loss(MANY, MANY_LABELS, None)
    assert loss.item() == pytest.approx(cross_entropy(MANY, MANY_LABELS).item(), rel=1e-6)


def test_at_q_of_one_it_is_half_the_mean_absolute_error():
    """Of the softmax from the label's unit vector, summed over the classes."""
    error = (MANY.softmax(1) - torch.eye(7)[MANY_LABELS]).abs().sum(1).mean()
    loss = GeneralisedCrossEntropy(q=1.0).loss(MANY, MANY_LABELS, None)
    assert loss.item() == pytest.approx(error.item() / 2, rel=1e-12)


def test_generalised_cross_entropy_of_a_hopeless_example_is_finite_and_has_a_gradient():
    logits = torch.tensor([[300.0, -300.0]], requires_grad=True)
    loss = GeneralisedCrossEntropy(q=0.5).loss(logits, torch.tensor([1]), None)
    loss.backward()
    assert loss.item() == pytest.approx(2.0)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# At temperature 2 the teacher's logits (2 log 3, 0) are probabilities (3/4, 1/4), and equal ones
# of the student (1/2, 1/2).
TEACHER = torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64)
STUDENT = torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize("kind", [Distillation, SparseDistillation])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_distillation_by_hand(kind, alpha):
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    expected = (1 - alpha) * math.log(2) + alpha * 2**2 * divergence
    loss = kind(alpha=alpha, temperature=2.0).loss(STUDENT, torch.tensor([1]), TEACHER)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_without_a_share_for_the_teacher_it_is_cross_entropy():
    loss = Distillation(alpha=0.0).loss(MANY, MANY_LABELS, MANY.flip(0))
    assert loss.item() == pytest.approx(cross_entropy(MANY, MANY_LABELS).item(), rel=1e-12)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn():
    logits = MANY.clone().requires_grad_(True)
    loss = Distillation(alpha=1.0).loss(logits, MANY_LABELS, MANY + 5.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12


def test_at_a_high_temperature_the_gradient_is_that_of_matching_logits():
    """Hinton et al., 2015, sec. 2.1: (z - v) / (N classes) for logits of zero mean."""
    logits = (MANY - MANY.mean(1, keepdim=True)).requires_grad_(True)
    teacher = MANY.flip(0) - MANY.flip(0).mean(1, keepdim=True)
    Distillation(alpha=1.0, temperature=1e4).loss(logits, MANY_LABELS, teacher).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad * 50 * 7, logits.detach() - teacher, rtol=0, atol=1e-2)


def test_who_teaches():
    assert Distillation.teacher == "dense"
    assert SparseDistillation.teacher == "previous"
    assert GeneralisedCrossEntropy.teacher is None


@pytest.mark.parametrize(
    ("loss", "field"),
    [
        ({"name": "distillation", "alpha": 1.1}, "alpha"),
        ({"name": "distillation", "temperature": 0}, "temperature"),
        ({"name": "generalised-cross-entropy", "q": 0}, "q"),
        ({"name": "generalised-cross-entropy", "q": 1.5}, "q"),
    ],
)
def test_options_that_mean_nothing_are_refused(loss, field):
    with pytest.raises(SddError, match=rf"loss\.{field}"):
        Experiment.make({"loss": loss})
