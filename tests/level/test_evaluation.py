"""Logits, loss and accuracy against plain computation."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sdd_core import Dataset, SddError, Split
from sdd_core.data.resident import normalise
from sdd_core.level import evaluation
from sdd_core.level.evaluation import (
    check_output,
    evaluate,
    evaluation_batches,
    loss_gradients,
    predict,
)

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (70, 2, 3, 3), generator=DRAW, dtype=torch.uint8)
LABELS = torch.randint(0, 4, (70,), generator=DRAW)


def dataset(images=IMAGES):
    split = Split(images, LABELS)
    return Dataset("drawn", split, split, 4, mean=(0.4, 0.6), std=(0.2, 0.3))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4)
    )


def by_hand(network):
    """Mean loss, accuracy and logits in float64, one image at a time."""
    twin = network.double().eval()
    losses, hits, logits = [], 0, []
    for image, label in zip(IMAGES.numpy().astype(float), LABELS.tolist(), strict=True):
        seen = np.stack([(image[0] / 255 - 0.4) / 0.2, (image[1] / 255 - 0.6) / 0.3])
        out = twin(torch.from_numpy(seen)[None])[0].detach().numpy()
        losses.append(math.log(np.exp(out - out[label]).sum()))
        hits += int(out.argmax()) == label
        logits.append(out)
    network.float()
    return sum(losses) / len(losses), hits / len(losses), np.stack(logits)


def test_loss_accuracy_and_logits(network):
    loss, accuracy, logits = by_hand(network)
    data = dataset()
    for inputs in (IMAGES, normalise(IMAGES, data)):
        network.train()
        found = evaluate(network, inputs, LABELS, data)
        assert found == pytest.approx((loss, accuracy), rel=1e-5)
    assert np.allclose(predict(network, data, IMAGES), logits, rtol=1e-4, atol=1e-5)


def test_float_images_are_normalised_as_bytes_are(network):
    as_bytes = predict(network, dataset(), IMAGES)
    floats = IMAGES.float()
    as_floats = predict(network, dataset(floats), floats)
    assert torch.equal(as_floats, as_bytes)
    assert torch.equal(floats, IMAGES.float()), "and stay as they are"
    bare = Dataset("bare", Split(floats, LABELS), Split(floats, LABELS), 4)
    assert torch.equal(predict(network, bare, floats), predict(network, bare, floats.clone()))


def test_the_size_of_batches_does_not_matter(network, monkeypatch):
    whole = evaluate(network, IMAGES, LABELS, dataset())
    logits = predict(network, dataset(), IMAGES)
    monkeypatch.setattr(
        evaluation, "evaluation_batches", lambda images: [slice(n, n + 9) for n in range(0, 70, 9)]
    )
    assert evaluate(network, IMAGES, LABELS, dataset()) == pytest.approx(whole, rel=1e-6)
    assert torch.allclose(predict(network, dataset(), IMAGES), logits, atol=1e-6)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("side", [1, 8, 300])
def test_batches_cover_every_image_once(count, side):
    images = torch.empty(1, 3, side, side).expand(count, 3, side, side)
    seen = [n for rows in evaluation_batches(images) for n in range(count)[rows]]
    assert seen == list(range(count))


def test_evaluation_changes_nothing(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    evaluate(network, IMAGES, LABELS, dataset())
    predict(network, dataset(), IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_loss_that_is_no_number_is_told(network):
    with torch.no_grad():
        network[4].weight.fill_(math.nan)
    assert math.isnan(evaluate(network, IMAGES, LABELS, dataset())[0])


@pytest.mark.parametrize(("batches", "size"), [(1, 70), (3, 20), (5, 100), (70, 1)])
def test_gradients_of_the_mean_loss(batches, size):
    """Without batch statistics and dropout, batches do not matter but for which images count."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    found = loss_gradients(network, dataset(), batches, size, torch.Generator().manual_seed(5))
    order = torch.randperm(70, generator=torch.Generator().manual_seed(5))[: batches * size]
    twin = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    twin.load_state_dict(network.state_dict())
    inputs = normalise(IMAGES[order], dataset())
    nn.functional.cross_entropy(twin(inputs), LABELS[order]).backward()
    for name, parameter in twin.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=1e-6)


def test_a_parameter_that_has_no_part_has_gradient_zero():
    class Idle(nn.Linear):
        def __init__(self):
            super().__init__(18, 4)
            self.idle = nn.Parameter(torch.ones(3))

        def forward(self, images):
            return super().forward(images.flatten(1))

    found = loss_gradients(Idle(), dataset(), 1, 8, torch.Generator())
    assert torch.equal(found["idle"], torch.zeros(3))


def test_a_network_that_changes_its_images_is_refused():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(18, 4))
    with pytest.raises(SddError, match="model 'clipper' changes the images in place"):
        check_output(network, dataset(), torch.device("cpu"), "clipper", 8)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Flatten(), r"gives \[2, 18\] for 2 images; expected \[2, 4\]"),
        (nn.Linear(5, 4), r"cannot take images of 'drawn', shape \[2, 3, 3\]: RuntimeError: "),
        (nn.Conv2d(3, 4, 1), "cannot take images"),
    ],
)
def test_a_network_that_does_not_fit_is_one_line(network, message):
    with pytest.raises(SddError, match=message) as refused:
        check_output(network, dataset(), torch.device("cpu"), "some model", 8)
    assert "\n" not in str(refused.value)
    assert "'some model'" in str(refused.value)


class Odd(nn.Module):
    """A linear network with something odd about its forward method."""

    def __init__(self, what):
        super().__init__()
        self.fc = nn.Linear(18, 4)
        self.what = what

    def forward(self, images):
        logits = self.fc(images.flatten(1))
        match self.what:
            case "deletes itself":
                del self.fc
            case "new layer":
                self.fc = nn.Linear(18, 4)
            case "new buffer":
                self.register_buffer("cache", logits)
            case "detached":
                logits = logits.detach()
            case "pair in training":
                logits = (logits, logits) if self.training else logits
        return logits


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("deletes itself", "'some model' changes 'fc.bias' in forward; .* in __init__"),
        ("new layer", "'some model' changes 'fc.bias' in forward"),
        ("new buffer", "'some model' changes 'cache' in forward"),
        ("detached", "'some model' gives outputs without a gradient"),
        ("pair in training", r"'some model' gives tuple for 2 images; expected \[2, 4\]"),
    ],
)
def test_a_network_that_changes_in_forward_is_one_line(what, message):
    with pytest.raises(SddError, match=message) as refused:
        check_output(Odd(what), dataset(), torch.device("cpu"), "some model", 8)
    assert "\n" not in str(refused.value)


def test_a_plain_network_passes():
    check_output(Odd("nothing"), dataset(), torch.device("cpu"), "some model", 8)
