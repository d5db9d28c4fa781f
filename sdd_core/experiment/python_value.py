"""Networks and data that were passed as Python values, not by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr

from sdd_core.errors import SddError
from sdd_core.plugin.kinds import DataSource, Model, Plugin, label

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sdd_core.data.dataset import Dataset


# By parameter name: the hooks before its gradient is accumulated, and those after.
GradientHooks = dict[str, tuple[list[Callable[..., Any]], list[Callable[..., Any]]]]


class _Given(Plugin):
    """A Python value that a file cannot hold.

    what: its name if it has one, else its class. content: its fingerprint.
    """

    name = "given"
    shorthand: ClassVar[str] = "what"
    what: str
    content: str
    _make: Callable[..., Any] | None = PrivateAttr(None)

    @classmethod
    def _holding(
        cls, make: Callable[..., Any], what: str, value: Any, apart_from: Iterable[Any] = ()
    ) -> Self:
        from sdd_core.experiment.fingerprint import fingerprint  # noqa: PLC0415 (imports torch)

        try:
            held = cls(what=what, content=fingerprint(value, apart_from))
        except SddError as error:
            raise SddError(f"{cls.kind} {what!r}: {error}") from None
        held._make = make
        return held

    @property
    def is_held(self) -> bool:
        """Whether the value is here, not only its record."""
        return self._make is not None

    def _made(self, *arguments: Any) -> Any:
        if self._make is None:
            raise SddError(
                f"{self.kind} {label(self)!r} was passed in Python and cannot be made from a file; "
                f"call sdd_core.run with the same {self.kind} and settings to resume this run"
            )
        return self._make(*arguments)

    def __eq__(self, other: object) -> bool:
        # Compare the fingerprints, which are fields, instead of the values.
        return type(other) is type(self) and other.model_dump() == self.model_dump()

    __hash__ = Plugin.__hash__


class GivenModel(_Given, Model):
    """A network passed in Python: a module, or a function or class that makes one.

    The dense network starts from a module's weights; the module is copied and never changed.
    Levels that start from fresh weights call `reset_parameters` of each layer. If a function has
    parameters `input_shape` or `num_classes`, they are passed to it.
    """

    _redraw: bool = PrivateAttr(False)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the plugin for a module or a function.

        Raises SddError if it is neither, cannot be copied, or has no content to compare.
        """
        from torch import nn  # noqa: PLC0415

        from sdd_core.level.torch_prune import (  # noqa: PLC0415 (imports torch)
            masked_tensors,
            without_torch_pruning,
        )

        if isinstance(value, nn.Module):
            what = type(value).__name__
            check_whole(value, what)
            try:
                # In one call, so that hooks that are methods of the module become those of the
                # copy.
                memo: dict[int, Any] = dict(masked_tensors(value))
                network, hooks = deepcopy((value, _gradient_hooks(value)), memo)
                network = without_torch_pruning(network).cpu()
            except Exception as error:
                raise SddError(f"model {what!r} cannot be copied ({' '.join(str(error).split())}); "
                               "pass a function that makes it") from None
            originals = (*value.modules(), *value.parameters(), *value.buffers())
            content = (network, hooks) if hooks else network
            held = cls._holding(partial(_copy, network, hooks), what, content, originals)
            held._redraw = True
            return held
        if not callable(value):
            raise SddError(f"model: expected a name, a table, a torch.nn.Module or a function that "
                           f"makes one, got {type(value).__name__}")
        what = getattr(value, "__name__", type(value).__name__)
        return cls._holding(partial(_built, value), what, value)

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return a copy of the module, or what the function returns."""
        return self._made(input_shape, num_classes)

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the module with new random trainable weights, or what the function returns.

        Raises SddError if no `reset_parameters` sets some of the module's weights.
        """
        network = self.build(input_shape, num_classes)
        return redrawn(network, label(self)) if self._redraw else network


class GivenData(_Given, DataSource):
    """Data passed in Python: a Dataset, or a pair of training and test data that `Dataset.of`
    accepts."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the plugin for the data. Raises SddError if it is neither, or is not valid."""
        from sdd_core.data.dataset import Dataset  # noqa: PLC0415

        if isinstance(value, Dataset):
            value.check()
            return cls._holding(partial(_itself, value), value.name, value)
        if not isinstance(value, tuple | list) or len(value) != 2:
            hint = "; pass the .dataset of each loader" if hasattr(value, "dataset") else ""
            raise SddError("data: expected a name, a table, a sdd_core.Dataset, or training and "
                           f"test data, got {type(value).__name__}{hint}")
        train = value[0]
        what = "tensors" if isinstance(train, tuple | list) else type(train).__name__
        made = Dataset.of(*value, name=f"{cls.name}:{what}")
        return cls._holding(partial(_itself, made), what, made)

    def load(self, root: Path | None) -> Dataset:
        """Return the data. Raises SddError if the value is gone."""
        return self._made()


# Named functions instead of lambdas, so that they can be pickled for the workers of a sweep.
def _copy(module: nn.Module, hooks: GradientHooks, *_: Any) -> nn.Module:
    copy, its_hooks = deepcopy((module, hooks))
    parameters = dict(copy.named_parameters())
    for name, (before, after) in its_hooks.items():
        # A weight that torch.nn.utils.prune has masked has lost the end of its name.
        parameter = parameters.get(name, parameters.get(name.removesuffix("_orig")))
        assert parameter is not None
        for hook in before:
            parameter.register_hook(hook)
        for hook in after:
            parameter.register_post_accumulate_grad_hook(hook)
    return copy


def _gradient_hooks(module: nn.Module) -> GradientHooks:
    """Return the gradient hooks of the parameters, which torch does not copy with them."""
    return {
        name: (list((p._backward_hooks or {}).values()),
               list((p._post_accumulate_grad_hooks or {}).values()))
        for name, p in module.named_parameters()
        if p._backward_hooks or p._post_accumulate_grad_hooks
    }  # fmt: skip


def _built(function: Callable[..., nn.Module], shape: tuple[int, ...], classes: int) -> nn.Module:
    from sdd_core.experiment.import_path import call  # noqa: PLC0415

    return call(function, {"input_shape": shape, "num_classes": classes}, {})


def _itself(data: Dataset) -> Dataset:
    return data


def check_whole(network: nn.Module, model: str) -> None:
    """Raise SddError unless every parameter and buffer is initialised and every parameter has
    elements."""
    from torch.nn.parameter import is_lazy  # noqa: PLC0415

    from sdd_core.data.split import tensor_fault  # noqa: PLC0415

    parameters = dict(network.named_parameters())
    for name, tensor in {**parameters, **dict(network.named_buffers())}.items():
        if is_lazy(tensor):
            raise SddError(f"model {model!r} has lazy layers, whose weights have no shape yet; "
                           "set their sizes")
        if fault := tensor_fault(tensor):
            raise SddError(f"model {model!r} has for {name!r} {fault}")
        if name in parameters and not tensor.numel():
            raise SddError(f"model {model!r} has an empty parameter {name!r}, shape "
                           f"{list(tensor.shape)}; give each layer inputs and outputs")


def redrawn(network: nn.Module, model: str) -> nn.Module:
    """Return the network with new trainable parameters from its layers' `reset_parameters`.

    Frozen parameters keep their values. So do the buffers of layers whose parameters are all frozen
    or that stay in evaluation mode, because training does not estimate them again.

    Raises SddError that names a parameter that no `reset_parameters` sets.
    """
    import torch  # noqa: PLC0415

    from sdd_core.experiment.redraw import redraw  # noqa: PLC0415 (imports torch)

    with torch.no_grad():
        fixed = [p for p in network.parameters() if not p.requires_grad]
        frozen = [(tensor, tensor.clone()) for tensor in (*fixed, *_fixed_buffers(network))]
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.fill_(torch.nan)
        # Inner modules first, so that an outer `reset_parameters` overrides those of its layers.
        for module in reversed(list(network.modules())):
            redraw(module)
        for tensor, value in frozen:
            tensor.copy_(value)
        for name, parameter in network.named_parameters():
            if parameter.isnan().any():
                raise SddError(
                    f"model {model!r}: a level must start from fresh weights, but no layer's "
                    f"reset_parameters sets {name!r}; pass a function that makes the network"
                )
    return network


def _fixed_buffers(network: nn.Module) -> list[Tensor]:
    """Return the buffers that `redrawn` does not change."""
    network.train()
    fixed: dict[int, Tensor] = {}
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            fixed |= {id(buffer): buffer for buffer in module.buffers()}
        elif not module.training:
            fixed |= {id(buffer): buffer for buffer in module.buffers(recurse=False)}
    return list(fixed.values())
