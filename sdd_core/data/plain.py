"""Conversion of values that plugins return to plain numbers, texts and tensors."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdd_core.data.split import tensor_fault
from sdd_core.errors import format_error

DEEPEST = 32
"""The maximum depth of nested lists and mappings in a metric's value."""


def whole(value: Any) -> int:
    """Return a whole number of any type (numpy's, a tensor without dimensions, 3.0) as an int.
    Raises TypeError for everything else, including True and "3"."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    try:
        if not isinstance(value, bool | np.bool_) and getattr(value, "dtype", None) != torch.bool:
            return operator.index(value)
    except (TypeError, RuntimeError):  # RuntimeError: a tensor that holds no number
        pass
    raise TypeError(f"{_shown(value)} is not a whole number")


def real(value: Any) -> float:
    """Return a real number of any type (numpy's, a tensor without dimensions, a fraction) as a
    float, infinite if it is too large for one. Raises TypeError for everything else, including text
    and True."""
    if isinstance(value, Tensor):
        value = dense_tensor(value)
        if value.dim() == 0 and not value.is_complex():
            value = value.item()
    # Check the type, because float() also accepts texts and bytes.
    known = hasattr(type(value), "__float__") or hasattr(type(value), "__index__")
    if known and not isinstance(value, _NO_NUMBERS):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise TypeError(f"{_shown(value)} is not a number")


_NO_NUMBERS = (bool, np.bool_, str, np.bytes_, np.ndarray, np.complexfloating, Tensor)
"""Types that are not real numbers, although float() accepts some of them."""


def dense_tensor(tensor: Any) -> Tensor:
    """Return a tensor on the CPU, without a gradient, as plain torch.Tensor instead of a subclass.
    Raises TypeError if it is not a tensor, or not a dense tensor of numbers."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{type(tensor).__name__} is not a torch.Tensor")
    if fault := tensor_fault(tensor):
        raise TypeError(f"it is {fault}")
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        # The subclass holds the numbers itself, not in the tensor's storage.
        raise TypeError(f"it is a {type(tensor).__name__}; pass the torch.Tensor in it")
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.detach().cpu().as_subclass(Tensor)


def curve(values: Any) -> np.ndarray:
    """Return real numbers in any form (an array, a list, a tensor) as a float64 array. Raises
    TypeError for everything else."""
    if isinstance(values, Tensor):
        values = dense_tensor(values)
    elif isinstance(values, list | tuple):
        values = [real(one) if isinstance(one, Tensor) else one for one in values]
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":
            return np.array([real(one) for one in array.flat]).reshape(array.shape)
        return array.astype(np.float64)
    except ValueError as error:  # lists of several lengths
        raise TypeError(f"{format_error(error)}") from None


def plain(value: Any, depth: int = 0) -> Any:
    """Return a metric's value as numbers, texts, None, and lists and mappings of them, in types of
    Python that JSON files preserve. Raises TypeError for any other value."""
    if depth > DEEPEST:
        raise TypeError(f"it has more than {DEEPEST} lists or mappings within one another")
    if isinstance(value, Tensor):
        value = dense_tensor(value)
    if hasattr(value, "tolist"):  # a number or an array of numpy's or torch's
        value = value.tolist()
    if isinstance(value, Mapping):
        return {_text(str(key)): _member(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    number = real(value)
    return int(value) if isinstance(value, int) and math.isfinite(number) else number


def _member(key: Any, item: Any, depth: int) -> Any:
    try:
        return plain(item, depth)
    except TypeError as error:
        raise TypeError(f"{key!r}: {error}" if depth == 1 else str(error)) from None


def infinite(value: Any) -> bool:
    """Return whether a plain value, or one of its parts, is infinite."""
    if isinstance(value, Mapping):
        return any(map(infinite, value.values()))
    if isinstance(value, list):
        return any(map(infinite, value))
    return isinstance(value, float) and math.isinf(value)


def finite(value: Any) -> Any:
    """Return a plain value for JSON, with None instead of numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(text: str) -> str:
    """Return a text that a file can hold, with lone surrogates escaped."""
    return str.encode(text, errors="backslashreplace").decode()


def _shown(value: Any) -> str:
    """Return a value for an error message: itself if it is short, else its type."""
    shown = repr(value)
    return shown if len(shown) <= 40 and "object at 0x" not in shown else type(value).__name__
