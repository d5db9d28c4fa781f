"""GraSP and the Hessian of networks whose fast kernels know first derivatives only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from sdd_core import second_derivatives
from sdd_plugins.metrics.hessian import Hessian
from sdd_plugins.pruners.grasp import Grasp

from .conftest import dataset

DRAW = torch.Generator().manual_seed(5)
IMAGES = torch.randn(12, 3, 8, generator=DRAW)
DATA = dataset(IMAGES, [0, 1] * 6)


class Attending(nn.Module):
    """Attention of two heads over three places, and the mean of what it gives."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.output = nn.Linear(8, 2)

    def attend(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(self.attend(inputs).mean(1))


class Weighing(Attending):
    """Torch writes attention out where its weights are asked for."""

    def attend(self, inputs):
        return self.attention(inputs, inputs, inputs, need_weights=True)[0]


class Fused(Attending):
    def attend(self, inputs):
        return self.attention(inputs, inputs, inputs, need_weights=False)[0]


class Functional(Attending):
    def attend(self, inputs):
        layer = self.attention
        heads = nn.functional.linear(inputs, layer.in_proj_weight, layer.in_proj_bias)
        query, key, value = heads.unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value)
        return layer.out_proj(attended.transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.output = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.output(self.encoder(inputs)[:, 0])


@pytest.mark.parametrize("make", [Fused, Functional])
def test_grasp_and_hessian_of_fused_attention_are_those_of_attention_written_out(make_view, make):
    expected, found = make_view(Weighing(), DATA), make_view(make(), DATA)
    ours, theirs = Grasp().scores(found), Grasp().scores(expected)
    assert set(ours) == set(theirs) == {
        "attention.in_proj_weight", "attention.out_proj.weight", "output.weight"
    }  # fmt: skip
    for name, score in ours.items():
        assert score.any()
        torch.testing.assert_close(score, theirs[name], rtol=1e-3, atol=1e-7)
    for name, number in Hessian(vectors=3).measure(found).items():
        assert number == pytest.approx(Hessian(vectors=3).measure(expected)[name], rel=1e-2)


def test_grasp_and_hessian_of_torchs_encoder(make_view):
    view = make_view(Encoder(), DATA)
    assert all(score.isfinite().all() for score in Grasp().scores(view).values())
    assert Hessian(vectors=3).measure(view)["hessian_top_eigenvalue"] > 0


def test_settings_of_torch_are_as_before_it():
    def settings():
        return (
            torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled,
            torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled(),
        )  # fmt: skip

    def fail(expecting):
        assert settings() == expecting
        raise KeyError

    before = settings()
    for network, cudnn in ((Fused(), before[1]), (nn.Sequential(nn.GRU(2, 2)), False)):
        with pytest.raises(KeyError), second_derivatives(network):
            fail(expecting=(False, cudnn, False, True))
        assert settings() == before
    with torch.nn.attention.sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        inside = settings()
        with second_derivatives(Fused()):
            pass
        assert settings() == inside
