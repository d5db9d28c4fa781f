import warnings
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn

from sdd_core import LevelView, SddError, install_hint, second_derivatives
from sdd_plugins.metrics.subset import OnSubset


class Hessian(OnSubset):
    """The largest eigenvalue and the trace of the Hessian of the training loss.

    The Hessian covers kept weights (all weights in re-dense training) and all other parameters. It
    is computed on random training examples with their noisy labels, in evaluation mode: the
    eigenvalue by Lanczos iteration, the trace as an estimate from random vectors. Needs the extra
    `geometry`. None for a level that diverged.
    """

    name = "hessian"
    source = (
        "Dangel et al., 2025, arXiv:2501.19183 (curvlinops); Hutchinson, 1989; "
        "Keskar et al., 2017, arXiv:1609.04836, on sharpness"
    )

    vectors: int = Field(default=20, ge=1, description="number of random vectors for the trace")

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        """Return the eigenvalue and the trace. Raises SddError if the extra is not installed."""
        # Imported here because the import takes a second, and the packages may be missing.
        try:
            with warnings.catch_warnings(action="ignore"):  # from its dependencies
                from curvlinops import (  # noqa: PLC0415
                    HessianLinearOperator,
                    SubmatrixLinearOperator,
                    hutchinson_trace,
                )
            from scipy.sparse.linalg import eigsh  # noqa: PLC0415
        except ImportError as error:
            raise SddError(f"metric 'hessian' is left out: {error.name} is missing; "
                           f"{install_hint('geometry')}") from None
        if level.diverged:
            return {"hessian_top_eigenvalue": None, "hessian_trace": None}
        network = level.network()
        parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        kept = torch.cat([
            level.free.get(name, torch.ones(p.shape, dtype=torch.bool)).flatten()
            for name, p in parameters.items()
        ])  # fmt: skip
        whole = HessianLinearOperator(
            network,
            nn.CrossEntropyLoss(),
            list(parameters.values()),
            level.batches(self.batches, self.batch_size),
            check_deterministic=False,  # it is: evaluation mode, and always the same batches
        )
        places = kept.nonzero().squeeze(1).tolist()
        hessian = whole if kept.all() else SubmatrixLinearOperator(whole, places, places)
        draw = level.generator("hessian eigenvalue")
        start = torch.randn(len(places), generator=draw).numpy()
        vectors = min(self.vectors, len(places) - 1)
        with second_derivatives(network):
            (top,) = eigsh(hessian.to_scipy(start.dtype), k=1, which="LA", v0=start, tol=1e-4,
                           return_eigenvectors=False)  # fmt: skip
            with torch.random.fork_rng():  # hutchinson_trace uses torch's global generator
                torch.manual_seed(level.generator("hessian trace").initial_seed())
                trace = hutchinson_trace(hessian, num_matvecs=vectors)
        return {"hessian_top_eigenvalue": float(top), "hessian_trace": trace.item()}
