"""Folders for the Hugging Face Hub."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors.torch import save_model
from torch import Tensor, nn

from sdd_core import Exportable, Exporter
from sdd_plugins.exporters.card import model_card
from sdd_plugins.exporters.tracing import quiet


class Hub(Exporter):
    """A folder that can be uploaded to the Hugging Face Hub as it is, with `hf upload`.

    It holds `model.safetensors` (full shapes, zeros at pruned weights), `config.json` and a model
    card, `README.md`, with the curve, the numbers of all levels and the settings of the run.
    `PyTorchModelHubMixin` of huggingface_hub loads it; the card shows how. Needs the extra `hub`.
    """

    name = "hub"
    source = "https://huggingface.co/docs/hub/models"
    suffix = ""
    tolerance = 0.0
    package = "huggingface_hub"

    license: str | None = Field(
        None, min_length=1, description="license of the weights as the Hub calls it, such as mit; "
        "default: the card has none"
    )

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        path.mkdir()
        # A tied weight is stored once, which is what the mixin expects.
        save_model(source.network, str(path / "model.safetensors"), {"format": "pt"})
        settings, own = config(source)
        (path / "config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
        (path / "README.md").write_text(model_card(source, path, own, self.license), "utf-8")
        return {}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        from huggingface_hub import PyTorchModelHubMixin  # noqa: PLC0415 (may be missing)

        class Network(nn.Module, PyTorchModelHubMixin):
            def __new__(cls, **_: Any) -> Any:
                return deepcopy(source.network)

        with quiet():
            return Network.from_pretrained(path, strict=True)


def config(source: Exportable) -> tuple[dict[str, Any], type[nn.Module] | None]:
    """Return the content of `config.json`, and the network's class if it is the user's own and can
    be imported; the configuration then has arguments of its constructor."""
    model = dict(source.result.experiment.to_dict()["model"])
    model.pop("source_hash", None)  # the network may be made with a later source
    given = {"input_shape": list(source.description["input_shape"]),
             "num_classes": source.description["classes"]}
    own = type(source.network)
    name = model.pop("name")
    passed = name.startswith("given:")
    # A class of torch itself, such as Sequential, takes modules, which no configuration holds.
    importable = (own.__module__ != "__main__" and own.__qualname__.isidentifier()
                  and own.__module__.partition(".")[0] != "torch")
    if importable and (passed or name == f"{own.__module__}:{own.__qualname__}"):
        wanted = inspect.signature(own).parameters
        options = {} if passed else model
        return {**{key: given[key] for key in given if key in wanted}, **options}, own
    return {"model": {"name": name, **model}, **given}, None
