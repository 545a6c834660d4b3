"""DCGAN (Radford et al. 2016, arXiv 1511.06434) for images of 28, 32, 64, 128 or more pixels.

Sides double from 4 in the generator while channels halve, down to its one width; the discriminator
mirrors it. 28 pixels take the layers of 32 with two more pixels of padding at the 8-pixel layer
(4, 8, 14, 28), as in the convolutional-GAN report with three generator updates per step.
"""

from itertools import pairwise

from torch import nn

from ganatomy.models.attention import SelfAttention
from ganatomy.models.net import Model, NetworkConfig, Networks, check_attention, one_width

_SIDES = {28: (28, 14, 8, 4)} | {
    4 << n: tuple(4 << k for k in range(n, -1, -1)) for n in (3, 4, 5, 6)
}
"""Sides of an image and of its feature maps, from the image down to 4."""


def build(shape: tuple[int, ...], z_dim: int, g: NetworkConfig, d: NetworkConfig) -> Networks:
    """Build both networks.

    Raises:
        ValueError: for a shape other than (channels, side, side) with such a side, for more than
            one width per network, or for attention at an absent side.
    """
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in _SIDES:
        raise ValueError(
            f"dcgan makes square images of {', '.join(map(str, _SIDES))} pixels, not {shape}; "
            "set shape, such as 3 64 64"
        )
    one_width("dcgan", (("g_widths", g), ("d_widths", d)))
    sides = _SIDES[shape[1]]
    for net in (g, d):
        check_attention("dcgan", net, sides[1:])
    return _generator(shape[0], z_dim, g, sides[::-1]), _discriminator(shape[0], d, sides)


def _padding(small: int, large: int) -> int:
    """Return the padding of a 4 x 4 kernel with stride 2 between these sides."""
    return small + 1 - large // 2


def _generator(channels: int, z_dim: int, net: NetworkConfig, sides: tuple[int, ...]) -> nn.Module:
    width = net.widths[0] * 2 ** (len(sides) - 2)
    bias = net.norm == "none"  # batch norm has its own shift
    layers: list[nn.Module] = [
        nn.Unflatten(1, (z_dim, 1, 1)),
        nn.ConvTranspose2d(z_dim, width, 4, bias=bias),
        *_between(width, net, "relu", sides[0]),
    ]
    for small, large in pairwise(sides[:-1]):
        padding = _padding(small, large)
        layers += [
            nn.ConvTranspose2d(width, width // 2, 4, 2, padding, bias=bias),
            *_between(width // 2, net, "relu", large),
        ]
        width //= 2
    padding = _padding(*sides[-2:])
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, padding), nn.Tanh())


def _discriminator(channels: int, net: NetworkConfig, sides: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    before, width = channels, net.widths[0]
    for large, small in pairwise(sides):
        # the paper normalizes neither the first nor the last layer
        normed = net.norm == "batch_all" or (net.norm == "batch" and bool(layers))
        layers += [
            nn.Conv2d(before, width, 4, 2, _padding(small, large), bias=not normed),
            *_between(width, net, "leaky_relu", small, normed),
        ]
        before, width = width, width * 2
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4), nn.Flatten(0))


def _between(
    width: int, net: NetworkConfig, own: str, side: int, normed: bool | None = None
) -> list[nn.Module]:
    """Return norm, activation, dropout and attention after a layer."""
    normed = net.norm != "none" if normed is None else normed
    return [
        *([nn.BatchNorm2d(width)] if normed else []),
        net.active(own),
        *([nn.Dropout(net.dropout)] if net.dropout else []),
        *([SelfAttention(width)] if side in net.attention else []),
    ]


DCGAN = Model(
    build,
    "convolutional, doubling from 4 x 4, for square images of 28, 32, 64 … pixels; one number of "
    "channels, of the layer next to the image (Radford et al. 2016)",
    frozenset({"norm", "dropout", "activation", "attention", "one_pass"}),
)
