"""Networks of torchvision, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import nn

from sdd_core import Model, SddError
from sdd_plugins.models.names import nearest, not_there, options_explained, refuse_options


class TorchvisionModel(Model):
    """A classifier of torchvision.models, as `torchvision:resnet50`.

    Further options are arguments of torchvision's function, such as `norm_layer` or `dropout`.
    Weights are fresh unless `weights` names trained ones, such as `DEFAULT`: then the dense network
    starts from them; they are read from torchvision's cache or downloaded to it. Layers that do not
    fit the data's number of classes, and all layers in levels that start anew, have fresh weights.
    """

    name = "torchvision"
    shorthand = "architecture"
    source = "https://pytorch.org/vision/stable/models.html#classification"
    model_config = ConfigDict(extra="allow")

    architecture: str = Field(description="name in torchvision.models, such as resnet50")

    @model_validator(mode="before")
    @classmethod
    def _with_weights_by_their_own_name(cls, options: Any) -> Any:
        """Replace `DEFAULT`, which depends on torchvision's version, by the name of the weights."""
        if not isinstance(options, Mapping) or "weights" not in options:
            return options
        named = {name: value for name, value in options.items() if name != "weights"}
        if options["weights"] is None or options.get("architecture") not in _architectures():
            return named
        weights = _weights(str(options["architecture"]), options["weights"])
        return {**named, "weights": weights.name}

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the network, with trained weights if `weights` is set. Raises SddError for an
        unknown name or option, and for missing weights."""
        network = self.fresh(input_shape, num_classes)
        network.load_state_dict(self._fitting(network), strict=False)
        return network

    def notes(self, input_shape: tuple[int, ...], num_classes: int) -> list[str]:
        """Return a line with the tensors that the trained weights do not fit, if there are any."""
        network = self.fresh(input_shape, num_classes)
        fitting = self._fitting(network)
        left = [name for name in network.state_dict() if name not in fitting]
        if not fitting or not left:
            return []
        return [f"{', '.join(left)} are initialised, not taken from the trained weights, because "
                "their shapes differ"]

    def _fitting(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """Return the trained weights that fit a network; none if `weights` is not set."""
        options = dict(self.model_extra or {})
        name = options.pop("weights", None)
        if name is None:
            return {}
        trained = self._trained(_weights(self.architecture, name), options)
        here = network.state_dict()
        return {name: value for name, value in trained.items()
                if name in here and here[name].shape == value.shape}

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the network with fresh weights."""
        from torchvision import models  # noqa: PLC0415 (takes seconds)

        names = _architectures()
        if self.architecture not in names:
            raise SddError(f"model {self._label!r}: torchvision.models has no such classifier; "
                           f"{nearest(self.architecture, names)}")
        options = {name: value for name, value in (self.model_extra or {}).items()
                   if name != "weights"}
        refuse_options(self._label, options, {"num_classes"})
        with options_explained(self._label, options, self._known):
            return models.get_model(
                self.architecture, weights=None, num_classes=num_classes, **options
            )

    @property
    def _label(self) -> str:
        return f"{self.name}:{self.architecture}"

    def _known(self) -> set[str]:
        """Return the options of the network's class, without those that its function sets."""
        from torchvision import models  # noqa: PLC0415

        kind = type(models.get_model(self.architecture, weights=None))
        return {name for name, parameter in inspect.signature(kind).parameters.items()
                if parameter.default is not parameter.empty} - {"num_classes"} | {"weights"}

    def _trained(self, weights: Any, options: Mapping[str, Any]) -> Mapping[str, torch.Tensor]:
        """Return the trained weights for torchvision's own classes. Raises SddError if they are
        missing."""
        from torchvision import models  # noqa: PLC0415

        file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
        with options_explained(self._label, {"weights": weights.name, **options}, self._known):
            try:
                network = models.get_model(self.architecture, weights=weights, progress=False,
                                           **options)
            except OSError as error:
                raise not_there(
                    self._label, f"the weights {weights.name}", file, error,
                    f"put {weights.url} there, or set TORCH_HOME to the folder that contains them "
                    "in hub/checkpoints",
                ) from None
        return network.state_dict()


def _architectures() -> list[str]:
    from torchvision import models  # noqa: PLC0415

    return models.list_models(module=models)


def _weights(architecture: str, name: Any) -> Any:
    """Return torchvision's trained weights of this name. Raises ValueError for unknown names."""
    from torchvision import models  # noqa: PLC0415

    there = models.get_model_weights(architecture)
    short = name.removeprefix(f"{there.__name__}.") if isinstance(name, str) else name
    if not isinstance(short, str) or short not in there.__members__:
        raise ValueError(f"weights {name!r}: torchvision has no such weights of {architecture}; "
                         f"available: {', '.join(there.__members__)}")
    return there[short]
