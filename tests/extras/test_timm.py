"""Networks of the real timm."""

import pytest
import torch
from support import go

import sdd_core
from sdd_core import Dataset, Experiment, SddError
from sdd_core.level.masks import prunable_weights
from sdd_plugins.models.timm_models import TimmModel

SMALL_VIT = {
    "name": "timm:vit_tiny_patch16_224", "patch_size": 4, "embed_dim": 24, "depth": 2,
    "num_heads": 2,
}  # fmt: skip


def test_a_vision_transformer_fits_small_images_of_any_channels():
    model = Experiment.make({"model": SMALL_VIT}).model
    network = model.build((1, 8, 8), 5)
    assert network.pos_embed.shape == (1, 4 + 1, 24)
    assert network.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    names = list(prunable_weights(network))
    assert names[:3] == ["patch_embed.proj.weight", "blocks.0.attn.qkv.weight",
                         "blocks.0.attn.proj.weight"]
    assert names[-1] == "head.weight"
    assert not any("pos_embed" in name or "norm" in name or "cls" in name for name in names)


def test_a_network_without_a_size_is_not_told_one():
    network = TimmModel(architecture="resnet10t").build((3, 32, 32), 7)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_a_run_end_to_end(tmp_path):
    torch.manual_seed(0)
    images, labels = torch.rand(48, 3, 8, 8), torch.arange(48) % 3
    data = Dataset.of((images, labels), (images[:12], labels[:12]), name="drawn")
    result = sdd_core.run(
        model=SMALL_VIT, data=data, train={"epochs": 1, "optimizer": "AdamW", "lr": 1e-3},
        levels=2, retrain="scratch", store=tmp_path, device="cpu",
    )
    assert result.sparsity == pytest.approx([0.0, 0.2, 0.36], abs=1e-3)
    assert "timm_vit_tiny_patch16_224" in result.run
    again = Experiment.make(result.experiment.to_dict())
    assert again.model == result.experiment.model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("timm:vit_tiny_patch16_223", "has no such network; did you mean vit_tiny_patch16_224"),
        ({"name": "timm:resnet10t", "depth": 3}, "'timm:resnet10t' has no option 'depth'"),
        ({"name": "timm:resnet10t", "num_classes": 3}, "num_classes is set from the data"),
        ({**SMALL_VIT, "depth": "two"}, "cannot be made with .*depth='two'.*: TypeError"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, model, message):
    with pytest.raises(SddError, match=message) as refused:
        go({"model": model}, tmp_path / "store")
    assert "\n" not in str(refused.value)
