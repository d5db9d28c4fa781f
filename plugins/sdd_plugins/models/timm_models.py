"""Networks of timm, by name."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from torch import nn

from sdd_core import Model, SddError, install_hint
from sdd_plugins.models.names import nearest, not_there, options_explained, refuse_options


class TimmModel(Model):
    """A network of timm, as `timm:vit_tiny_patch16_224`.

    It is built for the data's number of channels and, if the architecture depends on it, for the
    size of the images. Further options are arguments of `timm.create_model`, such as `patch_size`
    or `drop_path_rate`. Weights are fresh unless `pretrained` is true: then the dense network
    starts from trained weights, read from Hugging Face's cache or downloaded to it; levels that
    start anew still use fresh weights. Needs the extra `timm`.
    """

    name = "timm"
    shorthand = "architecture"
    source = "Wightman (2019), https://github.com/huggingface/pytorch-image-models"
    model_config = ConfigDict(extra="allow")

    architecture: str = Field(description="name in timm, such as vit_tiny_patch16_224")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the network, with trained weights if `pretrained` is true. Raises SddError for an
        unknown name or option, and for missing weights."""
        return self._made(input_shape, num_classes, dict(self.model_extra or {}))

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the network with fresh weights."""
        options = {**(self.model_extra or {}), "pretrained": False}
        return self._made(input_shape, num_classes, options)

    def notes(self, input_shape: tuple[int, ...], num_classes: int) -> list[str]:
        """Return lines about the layers in which the trained weights do not fit the data."""
        if not (self.model_extra or {}).get("pretrained"):
            return []
        import timm  # noqa: PLC0415 (`build` has found it)

        known = timm.get_pretrained_cfg(self.architecture)
        if known is None:
            return []
        lines = []
        if known.num_classes != num_classes and known.classifier:
            lines.append(f"{_names(known.classifier)} is initialised, not taken from the trained "
                         f"weights, which have {known.num_classes} classes")
        if known.input_size[0] != input_shape[0] and known.first_conv:
            lines.append(f"timm adapts {_names(known.first_conv)} of the trained weights from "
                         f"{known.input_size[0]} channels to {input_shape[0]}")
        return lines

    def _made(
        self, input_shape: tuple[int, ...], num_classes: int, given: dict[str, Any]
    ) -> nn.Module:
        try:
            import timm  # noqa: PLC0415 (takes seconds, and may be missing)
        except ImportError:
            raise SddError(f"model 'timm:{self.architecture}' needs timm, which is not installed; "
                           f"{install_hint('timm')}") from None
        if not timm.is_model(self.architecture):
            raise SddError(f"model 'timm:{self.architecture}': timm has no such network; "
                           f"{nearest(self.architecture, timm.list_models())}")
        label = f"{self.name}:{self.architecture}"
        refuse_options(label, given, {"num_classes", "in_chans"})
        options: dict[str, Any] = {
            "pretrained": False, "num_classes": num_classes, "in_chans": input_shape[0], **given,
        }
        # Transformers need the size of the images; convolutional networks do not accept it.
        size = {} if "img_size" in options else {"img_size": tuple(input_shape[1:])}

        def make(**more: Any) -> nn.Module:
            try:
                return timm.create_model(self.architecture, **options, **more)
            except OSError as error:
                if not options["pretrained"]:
                    raise
                raise not_there(
                    label, "its trained weights", _cache(), error,
                    "download them on a machine with internet access, and set HF_HOME to the "
                    "parent of that folder",
                ) from None

        with options_explained(label, given, tuple):
            try:
                return make(**size)
            except TypeError as error:
                if not size or "img_size" not in str(error):
                    raise
                return make()


def _names(layers: str | tuple[str, ...]) -> str:
    return layers if isinstance(layers, str) else ", ".join(layers)


def _cache() -> str:
    """Return the folder in which timm looks for trained weights."""
    try:
        from huggingface_hub import constants  # noqa: PLC0415 (comes with timm)
    except ImportError:
        return "Hugging Face's cache"
    return str(constants.HF_HUB_CACHE)
