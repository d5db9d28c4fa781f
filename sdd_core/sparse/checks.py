"""Whether arrays fit a network. Each check raises SddError where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sdd_core.errors import SddError
from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.kernels.images import within


def check_network(
    architecture: Architecture,
    parameters: Sequence[NDArray],
    masks: Sequence[NDArray[np.bool_] | None],
) -> None:
    """Check shapes and number types of parameters and masks."""
    shapes = architecture.shapes()
    if not len(parameters) == len(masks) == len(shapes) > 0:
        raise SddError(
            f"a network of {len(shapes)} parameters needs as many arrays and masks, got"
            f" {len(parameters)} arrays, {len(masks)} masks"
        )
    check_masks(architecture, masks)
    for before, linear in pairwise(architecture.linears):
        if linear.inputs != before.outputs:
            raise SddError(
                f"a linear layer takes {linear.inputs} inputs, but the one before it has"
                f" {before.outputs} outputs"
            )
    dtype = parameters[0].dtype
    for name, parameter, shape in zip(_names(architecture), parameters, shapes, strict=True):
        if parameter.dtype not in (np.float32, np.float64) or parameter.dtype != dtype:
            raise SddError(
                f"parameter {name} is {parameter.dtype}, all have to be float32 or all float64"
            )
        if parameter.shape != shape:
            raise SddError(f"parameter {name} has shape {parameter.shape}, expected {shape}")


def check_masks(architecture: Architecture, masks: Sequence[NDArray[np.bool_] | None]) -> None:
    """Check shapes and number types of masks."""
    for name, shape, mask in zip(_names(architecture), architecture.shapes(), masks, strict=True):
        if mask is not None and (mask.shape != shape or mask.dtype != np.bool_):
            raise SddError(
                f"the mask of parameter {name} is {mask.dtype} of shape {mask.shape}, expected"
                f" bool of shape {shape}"
            )


def _names(architecture: Architecture) -> Sequence[str]:
    return architecture.parameters or [str(i) for i in range(len(architecture.shapes()))]


def check_data(
    architecture: Architecture, dtype: type[np.floating], images: NDArray, labels: NDArray
) -> None:
    """Check images and labels."""
    features = architecture.features
    if (
        images.dtype != dtype
        or not images.flags.c_contiguous
        or images.size != len(images) * features
    ):
        raise SddError(
            f"images are {images.dtype} of shape {images.shape}, the network takes contiguous"
            f" {np.dtype(dtype)} of {features} numbers each"
        )
    if labels.shape != images.shape[:1] or labels.dtype != np.int64 or len(labels) == 0:
        raise SddError(
            f"labels are {labels.dtype} of shape {labels.shape}, {len(images)} images take int64"
            f" of shape ({len(images)},), at least one"
        )
    classes = architecture.linears[-1].outputs
    if not within(labels, classes):
        raise SddError(
            f"labels lie in {labels.min()} to {labels.max()}, the network has classes 0 to"
            f" {classes - 1}"
        )


def check_steps(examples: int, order: NDArray[np.int64], batch_size: int, rates: int) -> None:
    """Check the order of training, and that each batch has a learning rate."""
    steps = -(-len(order) // batch_size)
    if steps == 0 or rates != steps:
        raise SddError(
            f"training takes one learning rate for each of {steps} batches ({len(order)} examples,"
            f" {batch_size} a batch), got {rates}"
        )
    if not within(order, examples):
        raise SddError(f"order names examples outside 0 to {examples - 1}")
