"""Networks and data that were handed over as values of Python, not by name."""

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


# Of each parameter that has some: those before its gradient is accumulated, and those after.
GradientHooks = dict[str, tuple[list[Callable[..., Any]], list[Callable[..., Any]]]]


class _Given(Plugin):
    """A value that a file cannot hold.

    what: its class, or its name where it has one. content: its fingerprint.
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

    def _made(self, *arguments: Any) -> Any:
        if self._make is None:
            raise SddError(
                f"{self.kind} {label(self)!r} was handed over in Python, and a file cannot make it "
                f"again; call sdd_core.run with the same {self.kind} and settings, which goes on "
                "with this run"
            )
        return self._make(*arguments)

    def __eq__(self, other: object) -> bool:
        # The content stands for the value.
        return type(other) is type(self) and other.model_dump() == self.model_dump()

    __hash__ = Plugin.__hash__


class GivenModel(_Given, Model):
    """A network that was handed over: a module, or a function or class that makes one.

    A module's weights are those that the dense network starts from; it is copied, and never
    changed. Levels that start anew call `reset_parameters` of each of its layers. A function that
    has parameters `input_shape` or `num_classes` is given them.
    """

    _redraw: bool = PrivateAttr(False)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Raises SddError: it is neither, cannot be copied, or cannot be told from others."""
        from torch import nn  # noqa: PLC0415

        if isinstance(value, nn.Module):
            what = type(value).__name__
            check_whole(value, what)
            try:
                # Together, so that hooks which are methods of the module become those of the copy.
                own, hooks = deepcopy((value, _gradient_hooks(value)))
                own = own.cpu()
            except Exception as error:
                raise SddError(f"model {what!r} cannot be copied ({' '.join(str(error).split())}); "
                               "hand over a function that makes it") from None
            originals = (*value.modules(), *value.parameters(), *value.buffers())
            content = (own, hooks) if hooks else own
            held = cls._holding(partial(_copy, own, hooks), what, content, originals)
            held._redraw = True
            return held
        if not callable(value):
            raise SddError(f"model: expected a name, a table, a torch.nn.Module or a function that "
                           f"makes one, got {type(value).__name__}")
        what = getattr(value, "__name__", type(value).__name__)
        return cls._holding(partial(_built, value), what, value)

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """The module, or what the function returns."""
        return self._made(input_shape, num_classes)

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """The module with its trainable weights drawn anew, or what the function returns.

        Raises SddError: some of a module's weights are drawn by no `reset_parameters`.
        """
        network = self.build(input_shape, num_classes)
        return redrawn(network, label(self)) if self._redraw else network


class GivenData(_Given, DataSource):
    """Data that was handed over: a Dataset, or training and test data as `Dataset.of` takes it."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """Raises SddError: it is neither, or nothing that can be trained on."""
        from sdd_core.data.dataset import Dataset  # noqa: PLC0415

        if isinstance(value, Dataset):
            value.check()
            return cls._holding(partial(_itself, value), value.name, value)
        if not isinstance(value, tuple | list) or len(value) != 2:
            hint = "; hand over the .dataset of each" if hasattr(value, "dataset") else ""
            raise SddError("data: expected a name, a table, a sdd_core.Dataset, or training and "
                           f"test data, got {type(value).__name__}{hint}")
        train = value[0]
        what = "tensors" if isinstance(train, tuple | list) else type(train).__name__
        made = Dataset.of(*value, name=f"{cls.name}:{what}")
        return cls._holding(partial(_itself, made), what, made)

    def load(self, root: Path | None) -> Dataset:
        """The data."""
        return self._made()


# Functions with a name, so that the workers of a sweep can be handed what they hold.
def _copy(module: nn.Module, hooks: GradientHooks, *_: Any) -> nn.Module:
    copy, its_hooks = deepcopy((module, hooks))
    parameters = dict(copy.named_parameters())
    for name, (before, after) in its_hooks.items():
        for hook in before:
            parameters[name].register_hook(hook)
        for hook in after:
            parameters[name].register_post_accumulate_grad_hook(hook)
    return copy


def _gradient_hooks(module: nn.Module) -> GradientHooks:
    """The hooks of parameters, which torch does not copy with them."""
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
    """Raises SddError unless every parameter and buffer of a network is there, with numbers in it.
    """
    from torch.nn.parameter import is_lazy  # noqa: PLC0415

    from sdd_core.data.split import tensor_fault  # noqa: PLC0415

    parameters = dict(network.named_parameters())
    for name, tensor in {**parameters, **dict(network.named_buffers())}.items():
        if is_lazy(tensor):
            raise SddError(f"model {model!r} has lazy layers, whose weights have no shape yet; "
                           "give their sizes")
        if fault := tensor_fault(tensor):
            raise SddError(f"model {model!r} has for {name!r} {fault}")
        if name in parameters and not tensor.numel():
            raise SddError(f"model {model!r} has no number in {name!r}, shape "
                           f"{list(tensor.shape)}; give each layer inputs and outputs")


def redrawn(network: nn.Module, model: str) -> nn.Module:
    """The network with its trainable parameters drawn anew by its layers' `reset_parameters`.

    Frozen parameters stay, and so do the buffers of layers whose parameters are all frozen or that
    stay in evaluation mode: no training estimates them again.

    Raises SddError that names a parameter that none of them draws.
    """
    import torch  # noqa: PLC0415

    from sdd_core.experiment.redraw import redraw  # noqa: PLC0415 (imports torch)

    with torch.no_grad():
        fixed = [p for p in network.parameters() if not p.requires_grad]
        frozen = [(tensor, tensor.clone()) for tensor in (*fixed, *_fixed_buffers(network))]
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.fill_(torch.nan)
        # What lies inside first, so that a network's own way to draw its layers has the last word.
        for module in reversed(list(network.modules())):
            redraw(module)
        for tensor, value in frozen:
            tensor.copy_(value)
        for name, parameter in network.named_parameters():
            if parameter.isnan().any():
                raise SddError(
                    f"model {model!r}: a level is to start from fresh weights, but no layer's "
                    f"reset_parameters draws {name!r}; hand over a function that makes the network"
                )
    return network


def _fixed_buffers(network: nn.Module) -> list[Tensor]:
    """The buffers that `redrawn` leaves alone."""
    network.train()
    fixed: dict[int, Tensor] = {}
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            fixed |= {id(buffer): buffer for buffer in module.buffers()}
        elif not module.training:
            fixed |= {id(buffer): buffer for buffer in module.buffers(recurse=False)}
    return list(fixed.values())
