"""Every registered model keeps its promise; layer plans that reports state are exact."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ganatomy.models import MODELS, Net, dcgan, mlp
from ganatomy.recipe import Recipe
from ganatomy.recipes import RECIPES

NETS = {"mlp": Net(widths=(8, 8)), "dcgan": Net(widths=(4,))}


def counts(net: nn.Module) -> list[int]:
    """Parameters of each layer that has any."""
    leaves = [m for m in net.modules() if not list(m.children())]
    return [n for m in leaves if (n := sum(p.numel() for p in m.parameters()))]


def built(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    g = Net(widths=recipe.g_widths, norm=recipe.g_norm, dropout=recipe.g_dropout)
    d = Net(widths=recipe.d_widths, norm=recipe.d_norm, dropout=recipe.d_dropout)
    return MODELS[recipe.model]((1, 28, 28), recipe.z_dim, g, d)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(model: str, side: int, channels: int) -> None:
    shape = (channels, side, side)
    g, d = MODELS[model](shape, 6, NETS[model], NETS[model])
    fake = g(torch.randn(3, 6))
    assert fake.shape == (3, *shape) and fake.abs().max() <= 1
    assert d(fake).shape == (3,)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_norm_and_dropout_are_each_networks_own(model: str, norm: str, dropout: float) -> None:
    plain = NETS[model]
    fancy = Net(widths=plain.widths, norm=norm, dropout=dropout)  # type: ignore[arg-type]

    def parts(net: nn.Module) -> tuple[bool, bool]:
        kinds = [type(m) for m in net.modules()]
        norms = nn.BatchNorm1d in kinds or nn.BatchNorm2d in kinds
        return norms, nn.Dropout in kinds

    g, d = MODELS[model]((1, 28, 28), 6, fancy, plain)
    assert parts(g) == (norm == "batch", dropout > 0) and parts(d) == (False, False)
    g, d = MODELS[model]((1, 28, 28), 6, plain, fancy)
    assert parts(d) == (norm == "batch", dropout > 0) and parts(g) == (False, False)


def test_basic_gan_has_the_layers_of_r0_1() -> None:
    g, d = built(RECIPES["basic-gan"][1])
    sizes = [[(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
             for net in (g, d)]  # fmt: skip
    assert sizes == [[(100, 256), (256, 512), (512, 784)], [(784, 512), (512, 256), (256, 1)]]


def test_conv_gan_has_the_parts_of_r0_2() -> None:
    g, d = built(RECIPES["conv-gan"][1])
    kinds = [{type(m).__name__ for m in net.children()} for net in (g, d)]
    assert kinds[0] == {"Unflatten", "ConvTranspose2d", "BatchNorm2d", "ReLU", "Tanh"}
    assert kinds[1] == {"Conv2d", "LeakyReLU", "Dropout", "Flatten"}
    assert {m.p for m in d.modules() if isinstance(m, nn.Dropout)} == {0.3}


def test_mlp_counts_of_r1_1_and_r1_2() -> None:
    g, d = mlp.build(
        (1, 28, 28), 100, Net(widths=(256, 512, 1024)), Net(widths=(1024, 512, 256), dropout=0.3)
    )
    assert counts(g) == [25_856, 131_584, 525_312, 803_600]
    assert counts(d) == [803_840, 524_800, 131_328, 257]


def test_dcgan_counts_of_r2_1() -> None:
    # 4 x 4 kernels without bias where batch norm (2 per channel) follows: nz 100, ngf ndf 64, nc 1
    net = Net(widths=(64,), norm="batch")
    g, d = dcgan.build((1, 64, 64), 100, net, net)
    up = [100, 512, 256, 128, 64]
    expected = [n for a, b in pairwise(up) for n in (16 * a * b, 2 * b)]
    assert counts(g) == [*expected, 16 * 64 + 1]
    assert counts(d) == [
        16 * 64 + 64,
        16 * 64 * 128, 256,
        16 * 128 * 256, 512,
        16 * 256 * 512, 1024,
        16 * 512 + 1,
    ]  # fmt: skip


def test_dcgan_sizes_of_r1_4() -> None:
    net = Net(widths=(4,))
    g, d = dcgan.build((1, 28, 28), 6, net, net)

    def sides(layers: nn.Module, x: torch.Tensor) -> list[int]:
        seen = []
        for layer in layers:  # type: ignore[attr-defined]
            x = layer(x)
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                seen.append(x.shape[-1])
        return seen

    assert sides(g, torch.randn(1, 6)) == [4, 8, 14, 28]
    assert sides(d, torch.randn(1, 1, 28, 28)) == [14, 8, 4, 1]


@pytest.mark.parametrize("shape", [(1, 20, 20), (1, 28, 32), (2,)])
def test_dcgan_refuses_other_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="28, 32 or 64"):
        dcgan.build(shape, 6, NETS["dcgan"], NETS["dcgan"])


def test_dcgan_takes_one_width() -> None:
    with pytest.raises(ValueError, match="one number in d_widths"):
        dcgan.build((1, 28, 28), 6, NETS["dcgan"], NETS["mlp"])
