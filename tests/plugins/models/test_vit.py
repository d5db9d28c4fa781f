"""The vision transformer against torch's own attention, its sizes, and what of it is prunable."""

from __future__ import annotations

import copy

import pytest
import torch
from support import go, small
from torch import nn

from sdd_core import Experiment, SddError
from sdd_core.level.masks import prunable_weights
from sdd_plugins.models.vit import VisionTransformer

TINY = VisionTransformer(patch=2, depth=2, width=8, heads=2, mlp_ratio=3)
BLOCK = [
    *(f"attention.{name}.weight" for name in ("query", "key", "value", "output")),
    "mlp.hidden.weight",
    "mlp.output.weight",
]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 6)])
def test_shapes_and_sizes(shape):
    network = TINY.build(shape, 5)
    assert network.eval()(torch.rand(3, *shape)).shape == (3, 5)
    patches = shape[1] * shape[2] // 4
    embedding = shape[0] * 4 * 8 + 8
    tokens = 8 + (1 + patches) * 8
    block = 2 * 16 + 4 * (64 + 8) + (8 * 24 + 24) + (24 * 8 + 8)
    expected = embedding + tokens + 2 * block + 16 + (8 * 5 + 5)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_every_matrix_is_prunable_and_nothing_else():
    names = list(prunable_weights(TINY.build((1, 8, 8), 5)))
    blocks = [f"blocks.{number}.{name}" for number in (0, 1) for name in BLOCK]
    assert names == ["embedding.weight", *blocks, "output.weight"]
    assert TINY.exempt() == ()


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = TINY.build((1, 8, 8), 5)[2][0].attention
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        layers = (ours.query, ours.key, ours.value)
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    sequence = torch.randn(4, 7, 8)
    expected, _ = theirs(sequence, sequence, sequence)
    torch.testing.assert_close(ours(sequence), expected)


def test_a_block_is_torchs_encoder_layer_with_the_normalisation_in_front():
    torch.manual_seed(0)
    block = TINY.build((1, 8, 8), 5)[2][0]
    theirs = nn.TransformerEncoderLayer(
        8, 2, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    with torch.no_grad():
        layers = (block.attention.query, block.attention.key, block.attention.value)
        theirs.self_attn.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        for own, other in (
            (block.attention.output, theirs.self_attn.out_proj),
            (block.mlp.hidden, theirs.linear1),
            (block.mlp.output, theirs.linear2),
        ):
            other.load_state_dict(own.state_dict())
    sequence = torch.randn(4, 7, 8)
    torch.testing.assert_close(block(sequence), theirs(sequence))


def test_patches_are_told_apart_by_their_positions_alone():
    """Two patches that change places change the output; without positions they do not."""
    torch.manual_seed(0)
    network = TINY.build((1, 4, 4), 5).eval()
    images = torch.rand(2, 1, 4, 4)
    swapped = images.roll(2, 3)  # left patches to the right
    assert not torch.allclose(network(images), network(swapped), atol=1e-5)
    without = copy.deepcopy(network)
    nn.init.zeros_(without[1].positions)
    torch.testing.assert_close(without(images), without(swapped))


def test_dropout_in_training_alone():
    torch.manual_seed(0)
    network = VisionTransformer(patch=4, depth=1, width=8, heads=2, dropout=0.5).build((1, 8, 8), 3)
    images = torch.rand(2, 1, 8, 8)
    assert not torch.equal(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


@pytest.mark.parametrize("shape", [(1, 9, 8), (64,)])
def test_images_that_patches_do_not_fill_are_refused(shape):
    with pytest.raises(SddError, match=r"model\.patch, 2, .*\[") as error:
        TINY.build(shape, 5)
    assert str(list(shape)) in str(error.value)


def test_heads_that_cannot_share_are_refused():
    with pytest.raises(SddError, match="width 8 is not a multiple of heads 3"):
        Experiment.make({"model": {"name": "vit", "width": 8, "heads": 3}})


def test_it_learns_under_its_masks(tmp_path):
    settings = small(
        model={"name": "vit", "patch": 2, "depth": 1, "width": 16, "heads": 2},
        train={"epochs": 5, "batch_size": 32, "optimizer": "AdamW", "lr": 0.01, "decay": "cosine",
               "warmup_epochs": 1},
        noise="none",
        pruner={"name": "wanda", "fraction": 0.5, "scope": "global"},
        levels=1,
    )  # fmt: skip
    dense, pruned = go(settings, tmp_path).levels
    assert dense.metrics["test_accuracy"] > 0.6
    assert pruned.metrics["test_accuracy"] > 0.6
    assert pruned.sparsity == pytest.approx(0.5, abs=1e-3)
    by_layer = pruned.metrics["density_by_layer"]
    assert "blocks.0.attention.query.weight" in by_layer
    assert len(set(by_layer.values())) > 1
