"""Evaluation of networks: logits, loss, accuracy and gradients, and checks of their output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from sdd_core.data.dataset import Dataset
from sdd_core.data.resident import normalise
from sdd_core.errors import FAILURES, SddError, format_error

# Numbers in a batch of inputs: enough to use the device, few enough for the activations' memory.
BATCH_NUMBERS = 1 << 22


def evaluation_batches(images: Tensor) -> list[slice]:
    """Return slices of the images, one for each evaluation batch."""
    size = min(8192, max(64, BATCH_NUMBERS // max(1, images[0].numel())))
    return [slice(first, first + size) for first in range(0, len(images), size)]


@torch.inference_mode()
def predict(network: nn.Module, data: Dataset, images: Tensor) -> Tensor:
    """Return logits `[N, classes]` on the CPU, for images as stored in the data set."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(normalise(images[rows].to(device), data)) for rows in
             evaluation_batches(images)]
    return torch.cat(parts).float().cpu()


@torch.inference_mode()
def evaluate(network: nn.Module, inputs: Tensor, labels: Tensor, data: Dataset) -> tuple[
    float, float
]:
    """Return mean cross-entropy (nats) and accuracy (0 to 1), in evaluation mode.

    inputs: normalised inputs or uint8 images, on the network's device.
    """
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=labels.device)
    for rows in evaluation_batches(inputs):
        batch = inputs[rows]
        logits = network(batch if batch.is_floating_point() else normalise(batch, data))
        loss += cross_entropy(logits, labels[rows], reduction="sum")
        correct += (logits.argmax(1) == labels[rows]).sum()
    return loss.item() / len(labels), correct.item() / len(labels)


def loss_gradients(
    network: nn.Module, data: Dataset, batches: int, batch_size: int, draw: torch.Generator
) -> dict[str, Tensor]:
    """Return the gradient of the mean training loss over random batches, by parameter, on the CPU.

    The network is set to training mode; its batch-norm statistics change. Examples are drawn
    without replacement; if there are fewer than `batches * batch_size`, each is used once.
    """
    network.train()
    device = next(network.parameters()).device
    order = torch.randperm(len(data.train), generator=draw)[: batches * batch_size]
    for chosen in order.split(batch_size):
        inputs = normalise(data.train.images[chosen].to(device), data)
        labels = data.train.labels[chosen].to(device)
        loss = cross_entropy(network(inputs), labels, reduction="sum") / len(order)
        loss.backward()
    return {
        name: torch.zeros_like(p).cpu() if p.grad is None else p.grad.detach().cpu()
        for name, p in network.named_parameters()
        if p.requires_grad
    }


@contextmanager
def second_derivatives(network: nn.Module) -> Iterator[None]:
    """Make gradients of this network differentiable inside the block, for Hessians.

    Torch's fast kernels for attention, and cuDNN's for recurrent layers, support only first
    derivatives; plain operations replace them inside the block.
    """
    fast, cudnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.cudnn.enabled = cudnn and not recurrent
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.cudnn.enabled = cudnn


def check_output(
    network: nn.Module, data: Dataset, device: torch.device, model: str, batch_size: int
) -> None:
    """Raise SddError unless the network turns images into one number for each class, in evaluation
    and in training, and does not change its layers. If an epoch has a batch of one example, the
    network must be able to train on that too. The network must not be used afterwards."""
    examples = normalise(data.train.images[:2].to(device), data)
    single = 1 in (batch_size, len(data.train) % batch_size)
    cases = [(examples, False)]
    cases += [(examples, True)] if len(examples) > 1 and batch_size > 1 else []
    cases += [(examples[:1], True)] if single else []
    _check_state(network, model)
    before = _parts(network)
    foreign: list[dict[int, Tensor]] = []
    for images, training in cases:
        network.train(training)
        output = _checked_output(network, images, data, model, batch_size)
        foreign.append(_foreign_leaves(output, network, images))
        if changed := sorted(before.items() ^ _parts(network).items()):
            raise SddError(
                f"model {model!r} changes {changed[0][0]!r} in forward; layers, parameters and "
                "buffers must be made once, in __init__"
            )
    # A tensor that appears in every case is kept by the model, not made in forward.
    for tensor in set.intersection(*map(set, foreign)) if len(foreign) > 1 else ():
        raise SddError(
            f"model {model!r} computes with a trainable tensor of shape "
            f"{list(foreign[0][tensor].shape)} that is none of its parameters, so that it would "
            "not be trained or saved; register it in the module, and let no hook or replaced "
            "method refer to another copy of the network"
        )


def _checked_output(
    network: nn.Module, images: Tensor, data: Dataset, model: str, batch_size: int
) -> Tensor:
    """Return the network's output for some images. Raises SddError if there is none, or if it has
    a wrong shape or no gradient, or if the images were changed."""
    expected, unchanged = [len(images), data.num_classes], images.clone()
    try:
        output = network(images)
    except FAILURES as error:
        if network.training and len(images) == 1:
            raise SddError(
                f"model {model!r} cannot train on one example, and with train.batch_size "
                f"{batch_size} a batch of the {len(data.train)} of {data.name!r} has only "
                f"one; choose another size: {format_error(error)}"
            ) from error
        raise SddError(
            f"model {model!r} cannot take images of {data.name!r}, shape "
            f"{list(data.input_shape)}: {format_error(error)}"
        ) from error
    if not isinstance(output, Tensor) or list(output.shape) != expected:
        got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise SddError(
            f"model {model!r} gives {got} for {len(images)} images; expected {expected}, one "
            f"number for each of the {data.num_classes} classes of {data.name!r}"
        )
    if not torch.equal(images, unchanged):
        # The same images are evaluated again after every epoch.
        raise SddError(
            f"model {model!r} changes the images in place; its forward must work on a copy, "
            "as with inplace=False in its first layer"
        )
    if not output.requires_grad:
        raise SddError(
            f"model {model!r} gives outputs without a gradient; its forward must not detach "
            "them, and some parameter must be trainable"
        )
    return output


def _check_state(network: nn.Module, model: str) -> None:
    """Raise SddError unless a network's state_dict contains its parameters unchanged and can be
    loaded, and no two parameters share memory, which training does not support."""
    parameters = dict(network.named_parameters())
    try:
        state = network.state_dict()
        odd = [n for n, p in parameters.items() if n not in state or not _same(state[n], p)]
        if not odd:
            before = {name: p.clone() for name, p in parameters.items()}
            network.load_state_dict(state)
            odd = [name for name, p in parameters.items() if not _same(before[name], p)]
    except FAILURES as error:
        raise SddError(f"model {model!r}: its state_dict cannot be saved and loaded: "
                       f"{format_error(error)}") from error
    if odd:
        raise SddError(f"model {model!r}: its state_dict does not give {odd[0]!r} back as it is; "
                       "levels are kept as a state_dict, whose hooks must change no parameter")
    by_storage: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        by_storage.setdefault(parameter.untyped_storage().data_ptr(), []).append(name)
    for names in by_storage.values():
        for other, name in combinations(names, 2):
            if torch.isin(_places(parameters[name]), _places(parameters[other])).any():
                raise SddError(f"model {model!r}: {name!r} shares memory with {other!r}, but is "
                               "another parameter; to tie them, make both the same nn.Parameter")


def _places(tensor: Tensor) -> Tensor:
    """Return the position of each of a tensor's numbers in its storage."""
    whole = torch.arange(tensor.untyped_storage().nbytes() // tensor.element_size())
    return whole.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _same(one: Tensor, other: Tensor) -> bool:
    same_shape = one.shape == other.shape
    return same_shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _foreign_leaves(output: Tensor, network: nn.Module, images: Tensor) -> dict[int, Tensor]:
    """Return the tensors, by id, that an output's gradient reaches and that are not parameters."""
    known = {id(tensor) for tensor in (*network.parameters(), images)}
    found: dict[int, Tensor] = {}
    nodes, seen = [output.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            found[id(leaf)] = leaf
        nodes.extend(following for following, _ in node.next_functions)
    return found


def _parts(network: nn.Module) -> dict[str, int]:
    """Return what forward must not change: the ids of parameters, and the names of buffers."""
    parameters = {name: id(p) for name, p in network.named_parameters(remove_duplicate=False)}
    return dict.fromkeys(network.state_dict(), 0) | parameters
