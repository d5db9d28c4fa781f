"""`sdd_core.load_run`: the result of a run, from its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sdd_core.analysis.recommendation import with_recommendation
from sdd_core.experiment.python_value import GivenModel
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.runs.open_run import open_run
from sdd_core.runs.result import Result

if TYPE_CHECKING:
    from torch import nn


def load_run(
    folder: Path | str,
    *,
    model: nn.Module | Callable[..., nn.Module] | None = None,
    trust: bool = False,
    plugins: Plugins | None = None,
) -> Result:
    """Return the result of the run in a folder, as `sdd_core.run` returned it.

        result = load_run("runs/digits-mlp-imp-rewind-seed0-5a7c826a")
        network = result.recommended.network()

    The data are not needed. No module of the user's is imported until a network is made.

    Args:
        model: the network of a run to which it was passed in Python: a module, which is copied, or
            a function that makes one. It must have the tensors of the run's levels.
        trust: import and execute the module of a model `package.module:function` even if it is no
            longer the one that the run imported. Its network must still have the same tensors.

    Raises:
        SddError: the folder has no run, or the run is damaged or has another version; or `model` is
            not the network of the run.
    """
    run = open_run(Path(folder), plugins or load_plugins())
    given = None if model is None else GivenModel.of(model)
    result = with_recommendation(run.result(model=given, trust=trust))
    if given is not None:
        for level in [level for level in result.levels if not level.diverged][:1]:
            level.network()
    return result
