"""Keys of levels and runs: equal inputs have equal keys and give equal levels."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from sdd_core.experiment.experiment import Experiment
from sdd_core.plugin.base import FOR_KEYS
from sdd_core.plugin.kinds import Ablation, Plugin, Pruner, label
from sdd_core.plugin.options import plugin_fields

FORMAT = 2
"""The format of levels and run folders on disk. It enters the keys, so formats never mix."""


def digest(value: Any) -> str:
    """Return 40 hexadecimal digits that depend only on the content of a JSON value."""
    text = json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _whole(value: Any) -> Any:
    # 1.0 and 1 are equal, and so are -0.0 and 0, but their JSON texts differ.
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def identity(plugin: Plugin) -> dict[str, Any]:
    """Return what a result depends on in a plugin: its identity, its revision and its options.

    A plugin is identified by package, kind and name, which do not change when modules move.
    """
    package = type(plugin).__module__.partition(".")[0]
    options = plugin.model_dump(mode="json", context=FOR_KEYS)
    return {
        "plugin": f"{package}:{plugin.kind}:{plugin.name}",
        "revision": plugin.revision,
        "options": options,
        **_named_by(plugin),
    }


def _named_by(model: BaseModel) -> dict[str, Any]:
    """Return the identities of the plugins that are options; they may come from any package."""
    plugins = {option: getattr(model, option) for option in plugin_fields(type(model))}
    return {f"by {option}": identity(plugin) for option, plugin in plugins.items()
            if isinstance(plugin, Plugin)}


def dense_key(experiment: Experiment) -> str:
    """Return the key of level 0: a hash of everything that the dense network depends on."""
    train = experiment.train
    # The checksum of the weights, not their path. Without pretrained weights the key is the same
    # as before this setting existed.
    start = {} if train.pretrained is None else {"pretrained": train.pretrained_checksum}
    return digest(
        {
            "format": FORMAT,
            "seed": experiment.seed,
            "data": identity(experiment.data),
            "noise": identity(experiment.noise),
            "model": identity(experiment.model),
            "train": train.model_dump(mode="json", context=FOR_KEYS,
                                      exclude={"pretrained", "pretrained_checksum"}),
            **start,
            **_as_is(experiment),
            **_observed_by(experiment.pruner),
            **_named_by(train),
            "loss": _loss(experiment, with_teacher=False),
            "kernels": experiment.kernels,
        }
    )


def _as_is(experiment: Experiment) -> dict[str, Any]:
    """Return what the masks of level 0 depend on, if there are any."""
    pruner = experiment.pruner
    return {"as-is": sorted(pruner.include or ())} if pruner.start == "as-is" else {}


def _observed_by(pruner: Pruner) -> dict[str, Any]:
    """Return what the observed state of level 0 depends on, if there is one: the pruner's class and
    the options that the class itself declares."""
    if not pruner.observes():
        return {}
    found = identity(pruner)
    general = Pruner.model_fields
    options = {name: value for name, value in found["options"].items() if name not in general}
    others = {name: value for name, value in found.items()
              if name.removeprefix("by ") not in general}
    return {"observed by": {**others, "options": options}}


def level_keys(experiment: Experiment) -> list[str]:
    """Return the keys of all levels. Each depends on the level that it prunes, the pruner and the
    schedule."""
    keys = [dense_key(experiment)]
    pruner, sparsity = experiment.pruner, experiment.pruner.sparsity
    step: dict[str, Any] = {
        "retrain": identity(experiment.retrain),
        "loss": _loss(experiment, with_teacher=True),
    }
    if experiment.sparse_training is not None:
        step["sparse training"] = identity(experiment.sparse_training)
    # The layers that the model exempts depend on the model, which is in the dense key already.
    named = identity(pruner)
    for level in range(1, experiment.levels + 1):
        parent = keys[0] if pruner.from_dense else keys[-1]
        if isinstance(sparsity, tuple):
            # Without the sparsities of later levels, so that adding some keeps this key.
            named = identity(pruner.model_copy(update={"sparsity": sparsity[:level]}))
        keys.append(digest({"parent": parent, "level": level, "pruner": named, **step}))
    return keys


def ablated_key(key: str, ablation: Ablation) -> str:
    """Return the key of the level with this key under an ablation."""
    return digest({"of": key, "ablation": identity(ablation)})


def _loss(experiment: Experiment, *, with_teacher: bool) -> dict[str, Any] | None:
    """Return the identity of the loss if it has a teacher (or has none, as asked); else None.
    Losses with a teacher do not affect the dense network."""
    loss = experiment.loss
    return identity(loss) if loss and (loss.teacher is not None) == with_teacher else None


def run_name(experiment: Experiment) -> str:
    """Return the name of the run's folder. It does not depend on `levels` and `metrics`."""
    fields = experiment.model_copy(update={"levels": 0, "metrics": None}).to_dict(FOR_KEYS)
    plugins = [experiment.data, experiment.model, experiment.pruner, experiment.retrain]
    # The name of a model or data set may be a path or `module:function`.
    words = [label(plugin) for plugin in plugins]
    readable = "-".join("".join(c if c.isalnum() else "_" for c in word) for word in words)
    key = digest({"dense": dense_key(experiment), "run": fields})
    return f"{readable}-seed{experiment.seed}-{key[:8]}"
