"""Every registered model keeps its promise; layer plans that reports state are exact."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganatomy.gan.state import network_configs
from ganatomy.models import MODELS, NetworkConfig, check_model, dcgan, sagan
from ganatomy.models.attention import SelfAttention
from ganatomy.models.net import ACTIVATIONS
from ganatomy.recipes.named import RECIPES

NETS = {
    "mlp": NetworkConfig(widths=(8, 8)),
    "dcgan": NetworkConfig(widths=(4,)),
    "sagan": NetworkConfig(widths=(4,)),
}
MAPPED = ["dcgan", "sagan"]
"""Models that have feature maps."""


def counts(net: nn.Module) -> list[int]:
    """Parameters of each layer that has any."""
    leaves = [m for m in net.modules() if not list(m.children())]
    return [n for m in leaves if (n := sum(p.numel() for p in m.parameters()))]


def built(name: str, shape: tuple[int, ...] = (1, 28, 28)) -> tuple[nn.Module, nn.Module]:
    recipe = RECIPES[name].recipe
    return MODELS[recipe.network.model].build(
        recipe.data.shape or shape, recipe.network.z_dim, *network_configs(recipe)
    )


def kinds(net: nn.Module) -> list[str]:
    """The types of its layers, from its input to its output."""
    return [type(m).__name__ for m in net.modules() if not list(m.children())]


def sides(net: nn.Module, x: Tensor) -> list[int]:
    """The sides of what each convolution of a plain stack makes of x."""
    seen = []
    for layer in net.children():
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            seen.append(x.shape[-1])
    return seen


@pytest.mark.parametrize("model", MODELS)
def test_every_model_conforms(model: str) -> None:
    check_model(MODELS[model])


@pytest.mark.parametrize("model", NETS)
@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(model: str, side: int, channels: int) -> None:
    shape = (channels, side, side)
    g, d = MODELS[model].build(shape, 6, NETS[model], NETS[model])
    fake = g(torch.randn(3, 6))
    assert fake.shape == (3, *shape) and fake.abs().max() <= 1
    assert d(fake).shape == (3,)


@pytest.mark.parametrize("model", NETS)
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_norm_and_dropout_are_each_networks_own(model: str, norm: Any, dropout: float) -> None:
    plain = NETS[model]
    fancy = NetworkConfig(widths=plain.widths, norm=norm, dropout=dropout)

    def parts(net: nn.Module) -> tuple[bool, bool]:
        norms = {"BatchNorm1d", "BatchNorm2d"} & {*kinds(net)}
        return bool(norms), "Dropout" in kinds(net)

    g, d = MODELS[model].build((1, 28, 28), 6, fancy, plain)
    assert parts(g) == (norm == "batch", dropout > 0) and parts(d) == (False, False)
    g, d = MODELS[model].build((1, 28, 28), 6, plain, fancy)
    assert parts(d) == (norm == "batch", dropout > 0) and parts(g) == (False, False)


@pytest.mark.parametrize("model", NETS)
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_activations(model: str, activation: str | None) -> None:
    names = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    assert names.keys() == ACTIVATIONS.keys()
    own = {"mlp": ["leaky_relu"] * 2, "dcgan": ["relu", "leaky_relu"], "sagan": ["relu"] * 2}
    plain = NETS[model]
    asked = NetworkConfig(widths=plain.widths, activation=activation)
    for which, given in enumerate([(asked, plain), (plain, asked)]):
        networks = MODELS[model].build((1, 28, 28), 6, *given)
        for k, net in enumerate(networks):
            found = Counter(kind for kind in kinds(net) if kind in names.values())
            found -= Counter({"Tanh": int(k == 0)})  # G's last
            expected = names[own[model][k] if k != which or activation is None else activation]
            assert found.keys() == {expected} and found[expected] >= len(plain.widths)
            leaks = {m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)}
            assert leaks <= {0.2}


def test_basic_gan_has_the_layers_of_its_report() -> None:
    networks = built("basic-gan")
    sizes = [[(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
             for net in networks]  # fmt: skip
    assert sizes == [[(100, 256), (256, 512), (512, 784)], [(784, 512), (512, 256), (256, 1)]]
    assert [Counter(kinds(net))["LeakyReLU"] for net in networks] == [2, 2]
    assert kinds(networks[0])[-2:] == ["Tanh", "Unflatten"]


def test_conv_gan_has_the_layers_of_its_report() -> None:
    g, d = built("conv-gan")
    assert {*kinds(g)} == {"Unflatten", "ConvTranspose2d", "BatchNorm2d", "ReLU", "Tanh"}
    assert {*kinds(d)} == {"Conv2d", "LeakyReLU", "Dropout", "Flatten"}
    assert {m.p for m in d.modules() if isinstance(m, nn.Dropout)} == {0.3}


def test_original_gan_has_the_parameters_of_its_reports_tables() -> None:
    g, d = built("original-gan")
    assert counts(g) == [25_856, 131_584, 525_312, 803_600] and sum(counts(g)) == 1_486_352
    assert counts(d) == [803_840, 524_800, 131_328, 257]
    assert kinds(g) == [*["Linear", "LeakyReLU"] * 3, "Linear", "Tanh", "Unflatten"]
    hidden = ["Linear", "LeakyReLU", "Dropout"]
    assert kinds(d) == ["Flatten", *hidden * 3, "Linear", "Flatten"]


def test_dcgan64_has_the_parameters_of_pytorchs_example() -> None:
    # 4 x 4 kernels without bias where batch norm (2 per channel) follows: nz 100, ngf ndf 64, nc 1
    g, d = built("dcgan64")
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
    assert sides(g, torch.randn(2, 100)) == [4, 8, 16, 32, 64]
    assert sides(d, torch.randn(2, 1, 64, 64)) == [32, 16, 8, 4, 1]
    wider = built("dcgan64-z200")[0]
    assert counts(wider) == [200 * 16 * 512, *counts(g)[1:]]


def test_enhanced_gan_has_the_layers_of_its_reports_code() -> None:
    g, d = (net.eval() for net in built("enhanced-gan"))
    assert sides(g, torch.randn(1, 100)) == [4, 8, 14, 28]
    assert sides(d, torch.randn(1, 1, 28, 28)) == [14, 8, 4, 1]
    for net, way in ((g, nn.ConvTranspose2d), (d, nn.Conv2d)):
        layers = [m for m in net.modules() if isinstance(m, way)]
        geometry = [(m.kernel_size[0], m.stride[0], int(m.padding[0])) for m in layers]
        plan = [(4, 1, 0), (4, 2, 1), (4, 2, 2), (4, 2, 1)]
        assert geometry == (plan if way is nn.ConvTranspose2d else plan[::-1])
        assert kinds(net).count("BatchNorm2d") == 3  # between layers, the first one too
        widths = [m.in_channels if net is d else m.out_channels for m in layers]
        assert widths == ([256, 128, 64, 1] if net is g else [1, 64, 128, 256])


def test_celeba_takes_one_block_more_and_three_channels() -> None:
    for large, small in zip(built("enhanced-gan-celeba"), built("enhanced-gan"), strict=True):
        assert len(kinds(large)) == len(kinds(small)) + 3  # convolution, norm, activation
    assert built("enhanced-gan-celeba")[0].eval()(torch.randn(1, 100)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("on", ["g", "d", "neither"])
def test_the_ablation_removes_norm(on: str) -> None:
    missing = {"g": "-no-d-norm", "d": "-no-g-norm", "neither": "-no-norm"}[on]
    found = ["BatchNorm2d" in kinds(net) for net in built(f"enhanced-gan{missing}")]
    assert found == [on == "g", on == "d"]


def test_dcgan_cifar10_has_the_layers_of_its_report() -> None:
    g, d = built("dcgan-cifar10", (3, 32, 32))
    between = ["BatchNorm2d", "ReLU"]
    assert kinds(g) == ["Unflatten", *["ConvTranspose2d", *between] * 3, "ConvTranspose2d", "Tanh"]
    assert kinds(d) == [*["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3, "Conv2d", "Flatten"]


@pytest.mark.parametrize(("z", "gh", "dh"), [(16, 100, 16), (16, 16, 100), (100, 100, 100)])
def test_capacity_recipes_have_the_channels_in_their_names(z: int, gh: int, dh: int) -> None:
    g, d = built(f"capacity-z{z}-g{gh}-d{dh}")
    up = [m for m in g.modules() if isinstance(m, nn.ConvTranspose2d)]
    down = [m for m in d.modules() if isinstance(m, nn.Conv2d)]
    assert (up[0].in_channels, up[-1].in_channels, down[0].out_channels) == (z, gh, dh)


@pytest.mark.parametrize("model", MAPPED)
@pytest.mark.parametrize("side", [16, 8])
def test_attention_follows_maps_of_the_sides_asked_for(model: str, side: int) -> None:
    seen: list[tuple[int, ...]] = []
    net = NetworkConfig(widths=(4,), attention=(side,))
    g, d = MODELS[model].build((1, 32, 32), 6, net, net)
    for module in (*g.modules(), *d.modules()):
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda _, given, made: seen.append(tuple(made.shape[2:])))
    d(g(torch.randn(2, 6)))
    assert seen == [(side, side)] * 2  # once in each network


@pytest.mark.parametrize("model", MAPPED)
def test_attention_begins_as_if_it_were_not_there(model: str) -> None:
    net = NetworkConfig(widths=(8,), attention=(16,))
    g, d = MODELS[model].build((3, 32, 32), 6, net, net)
    z, x = torch.randn(4, 6), torch.rand(4, 3, 32, 32) * 2 - 1
    for whole, given in ((g, z), (d, x)):
        without = nn.Sequential(*(m for m in whole if not isinstance(m, SelfAttention)))  # type: ignore[attr-defined]
        assert len(without) == len(list(whole.children())) - 1
        assert torch.equal(whole.eval()(given), without.eval()(given))
        for module in whole.modules():
            if isinstance(module, SelfAttention):
                nn.init.ones_(module.gate)
        assert not torch.allclose(whole(given), without(given))


@pytest.mark.parametrize("side", [10, 24, 28, 32, 40, 64])
def test_sagan_takes_sides_that_halve_to_8_or_less(side: int) -> None:
    g, d = sagan.build((1, side, side), 6, NETS["sagan"], NETS["sagan"])
    assert d(g(torch.randn(2, 6))).shape == (2,)


@pytest.mark.parametrize("model", MAPPED)
@pytest.mark.parametrize("shape", [(1, 28, 32), (1, 50, 50), (2,), (1, 22, 22)])
def test_sides_that_cannot_be_reached(model: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{model} makes square images .*; set shape, such as 3"):
        MODELS[model].build(shape, 6, NETS[model], NETS[model])


def test_dcgan_names_the_sides_it_makes() -> None:
    with pytest.raises(ValueError, match=r"of 28, 32, 64, 128, 256 pixels, not \(1, 20, 20\)"):
        dcgan.build((1, 20, 20), 6, NETS["dcgan"], NETS["dcgan"])


@pytest.mark.parametrize("model", MAPPED)
@pytest.mark.parametrize("which", ["g_widths", "d_widths"])
def test_one_width_for_models_of_feature_maps(model: str, which: str) -> None:
    one, two = NetworkConfig(widths=(4,)), NetworkConfig(widths=(4, 4))
    g, d = (two, one) if which == "g_widths" else (one, two)
    with pytest.raises(ValueError, match=f"{model} takes one number in {which}, .* got 2"):
        MODELS[model].build((1, 28, 28), 6, g, d)


@pytest.mark.parametrize("model", MAPPED)
@pytest.mark.parametrize("which", ["g", "d"])
def test_attention_where_there_is_nothing_to_attend_to(model: str, which: str) -> None:
    plain, asked = (
        NetworkConfig(widths=NETS[model].widths, attention=sides) for sides in ((), (15,))
    )
    g, d = (asked, plain) if which == "g" else (plain, asked)
    with pytest.raises(ValueError, match=r"attention 15: .* it has .*14"):
        MODELS[model].build((1, 28, 28), 6, g, d)


def test_sagans_blocks_change_sizes_as_miyatos_do() -> None:
    net, x = NetworkConfig(widths=(4,), norm="batch"), torch.randn(2, 4, 6, 6)
    up = sagan.UpBlock(4, net).eval()
    expected = up.rest(up.first(double(up.before(x)))) + up.skip(double(x))
    torch.testing.assert_close(up(x), expected, rtol=1e-4, atol=1e-5)
    down = sagan.DownBlock(4, 5, net, halve=True, first=False).eval()
    torch.testing.assert_close(
        down(x), F.avg_pool2d(down.inner(x) + down.skip(x), 2), rtol=1e-4, atol=1e-5
    )
    same = sagan.DownBlock(4, 4, net, halve=False, first=False).eval()
    assert torch.equal(same(x), same.inner(x) + x)
    starts = [sagan.DownBlock(4, 5, net, halve=True, first=first).inner for first in (True, False)]
    assert [kinds(start)[0] for start in starts] == ["Conv2d", "BatchNorm2d"]
    assert torch.equal(sagan.SumPool()(x), x.sum((2, 3)))


def double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
