"""Model cards: what a pruned network is, how it was made and how it is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from torch import nn

from sdd_core import Exportable, LevelResult, Result, markdown_text

CURVES = ("test_accuracy", "learning_distance")
COLUMNS = {
    "test": "test_accuracy",
    "train": "train_accuracy",
    "mislabelled": "train_accuracy_mislabelled",
    "distance": "learning_distance",
}
"""Metrics in the table, by their titles, as in the table of `sdd run`."""

BY_SDD = """\
import sdd_core
from huggingface_hub import PyTorchModelHubMixin
from torch import nn


class Network(nn.Module, PyTorchModelHubMixin):
    def __new__(cls, model, input_shape, num_classes, **_):
        \"\"\"Return the plain module that sdd builds for config.json.\"\"\"
        model = sdd_core.Experiment.make({"model": model}).model
        return model.fresh(tuple(input_shape), num_classes)
"""
BY_CLASS = """\
from huggingface_hub import PyTorchModelHubMixin
from MODULE import CLASS


class Network(CLASS, PyTorchModelHubMixin):
    pass
"""
LOADED = """\


network = Network.from_pretrained(".", strict=True)  # or the name of the repository on the Hub
"""


def model_card(
    source: Exportable, folder: Path, own: type[nn.Module] | None, license_name: str | None
) -> str:
    """Return the text of `README.md`, and write its picture into the folder.

    own: the network's class if it can be mixed with PyTorchModelHubMixin as it is.
    """
    parts = [_front_matter(source, license_name), *_body(source, folder, own)]
    return "\n\n".join(parts) + "\n"


def _front_matter(source: Exportable, license_name: str | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # noqa: PLC0415 (may be missing)

    description, data = source.description, _names(source)["data"]
    results = [
        EvalResult(
            task_type=("image" if len(description["input_shape"]) == 3 else "tabular")
            + "-classification",
            dataset_type=re.sub(r"[^\w-]+", "-", data),
            dataset_name=data,
            dataset_split="test",
            metric_type="accuracy",
            metric_name="test accuracy",
            metric_value=accuracy,
        )
        for accuracy in (_level(source).number("test_accuracy"),) if math.isfinite(accuracy)
    ]
    card = ModelCardData(
        license=license_name,
        library_name="pytorch",
        tags=["pruning", "sparsity", "sparse-double-descent", "model_hub_mixin",
              "pytorch_model_hub_mixin"],
        metrics=["accuracy"] if results else None,
        model_name=description["run"],
        eval_results=results or None,
    )
    return f"---\n{card.to_yaml()}\n---"


def _body(source: Exportable, folder: Path, own: type[nn.Module] | None) -> Iterator[str]:
    description, result, names = source.description, source.result, _names(source)
    name = {key: markdown_text(value) for key, value in names.items()}
    yield f"# Model {markdown_text(description['run'])}"
    yield (f"The network {name['model']} for {name['data']}, in which "
           f"{description['sparsity']:.2%} of the prunable weights, chosen by the pruner "
           f"{name['pruner']}, are exactly zero (level {description['level']} "
           f"of {len(result.levels) - 1}).{_accuracy(source)}")
    yield f"Over all levels: {markdown_text(result.phases.verdict)}"
    measured = [metric for metric in CURVES if any(map(math.isfinite, result.curve(metric)))]
    if measured:
        from sdd_core import plot  # noqa: PLC0415 (imports matplotlib)

        plot(cast(Result, result), measured, folder / "curve.png")
        yield f"![{' and '.join(measured)} over sparsity](curve.png)".replace("_", " ")
    yield "## Levels"
    yield "\n".join(_table(source))
    yield "## Use"
    yield "\n".join(_inputs(source))
    if own is None and names["model"].startswith("given:"):
        yield ("Build the network as it was built for training, and load the weights into it: "
               '`safetensors.torch.load_model(network, "model.safetensors")`.')
    else:
        yield _code(_loading(own))
        if own is not None:
            yield ("Pass arguments of the constructor that `config.json` does not have to "
                   "`from_pretrained`.")
    yield "## Training"
    yield (f"Label noise in the training set: {markdown_text(result.noise)}. Trained and pruned "
           f"with sdd {markdown_text(description['sdd'])}, which measures sparse double descent "
           "([He et al., 2022](https://arxiv.org/abs/2206.08684)). All settings:")
    yield _code(result.experiment.to_toml(), "toml")


def _accuracy(source: Exportable) -> str:
    """Return the test accuracy of the level and of the dense network; '' without a measurement."""
    exported, dense = (level.number("test_accuracy")
                       for level in (_level(source), source.result.levels[0]))
    if not math.isfinite(exported):
        return ""
    against = f"; that of the dense network is {dense:.4f}" if math.isfinite(dense) else ""
    return f" Its test accuracy is {exported:.4f}{against}."


def _table(source: Exportable) -> Iterator[str]:
    """Yield the lines of the table of levels, with the exported one in bold."""
    result, exported = source.result, _level(source)
    shown = {title: metric for title, metric in COLUMNS.items()
             if any(map(math.isfinite, result.curve(metric)))}
    yield "| " + " | ".join(["level", "sparsity %", *shown]) + " |"
    yield "|---:" * (2 + len(shown)) + "|"
    for level in result.levels:
        numbers = [level.number(metric) for metric in shown.values()]
        cells = [str(level.level), f"{100 * level.sparsity:.2f}",
                 *(f"{number:.4g}" if math.isfinite(number) else "" for number in numbers)]
        mark = "**" if level is exported else ""
        yield "| " + " | ".join(f"{mark}{cell}{mark}" if cell else "" for cell in cells) + " |"


def _inputs(source: Exportable) -> Iterator[str]:
    """Yield what the network takes and returns."""
    description = source.description
    shape = ", ".join(["N", *map(str, description["input_shape"])])
    yield f"Inputs are float32 `[{shape}]`, outputs are logits `[N, {description['classes']}]`."
    if normalised := description.get("normalisation"):
        if normalised["mean"]:
            yield (f"Inputs are `(images / {normalised['scale']:g} - mean) / std`, by channel, "
                   f"with mean `{normalised['mean']}` and std `{normalised['std']}`.")
        else:
            yield f"Inputs are `images / {normalised['scale']:g}`."


def _loading(own: type[nn.Module] | None) -> str:
    if own is None:
        return BY_SDD + LOADED
    return (BY_CLASS + LOADED).replace("MODULE", own.__module__).replace("CLASS", own.__name__)


def _code(text: str, language: str = "python") -> str:
    """Return a block of code whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _names(source: Exportable) -> dict[str, str]:
    settings: dict[str, Any] = source.result.experiment.to_dict()
    return {kind: str(settings[kind]["name"]) for kind in ("model", "data", "pruner")}


def _level(source: Exportable) -> LevelResult:
    number = source.description["level"]
    return next(level for level in source.result.levels if level.level == number)
