"""DCGAN (Radford et al. 2016, arXiv 1511.06434) for pictures of 28, 32 or 64 pixels.

Sizes double from 4 x 4 in the generator while channels halve down to the one width it is given;
the discriminator mirrors it. 28 pixels take the plan of 32 with two more pixels of padding at the
8-pixel layer (4, 8, 14, 28), as in report row R1.4.
"""

from torch import nn

from ganatomy.models.net import Net

_PADDINGS = {28: (1, 2, 1), 32: (1, 1, 1), 64: (1, 1, 1, 1)}
"""Padding of each stride-2 layer of the generator, from 4 x 4 up."""


def build(shape: tuple[int, ...], z_dim: int, g: Net, d: Net) -> tuple[nn.Module, nn.Module]:
    """Build both networks, with PyTorch's own initial weights rather than the paper's normal ones.

    Raises:
        ValueError: for a shape other than (channels, side, side) with side 28, 32 or 64, or for
            more than one width per network.
    """
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in _PADDINGS:
        raise ValueError(f"dcgan makes square pictures of 28, 32 or 64 pixels, not {shape}")
    for name, net in (("g_widths", g), ("d_widths", d)):
        if len(net.widths) != 1:
            raise ValueError(
                f"dcgan takes one number in {name} (the channels beside the picture, "
                f"doubled at each halving), got {len(net.widths)}"
            )
    paddings = _PADDINGS[shape[1]]
    generator = _generator(shape[0], z_dim, g, paddings)
    return generator, _discriminator(shape[0], d, paddings[::-1])


def _generator(channels: int, z_dim: int, net: Net, paddings: tuple[int, ...]) -> nn.Module:
    width = net.widths[0] * 2 ** (len(paddings) - 1)
    bias = net.norm == "none"  # batch norm has a shift of its own
    layers: list[nn.Module] = [
        nn.Unflatten(1, (z_dim, 1, 1)),
        nn.ConvTranspose2d(z_dim, width, 4, bias=bias),
        *_between(width, net, nn.ReLU()),
    ]
    for padding in paddings[:-1]:
        layers += [
            nn.ConvTranspose2d(width, width // 2, 4, 2, padding, bias=bias),
            *_between(width // 2, net, nn.ReLU()),
        ]
        width //= 2
    return nn.Sequential(
        *layers, nn.ConvTranspose2d(width, channels, 4, 2, paddings[-1]), nn.Tanh()
    )


def _discriminator(channels: int, net: Net, paddings: tuple[int, ...]) -> nn.Module:
    width, first = net.widths[0], Net(widths=net.widths, dropout=net.dropout)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 4, 2, paddings[0]),
        *_between(width, first, nn.LeakyReLU(0.2)),  # the paper norms neither first nor last
    ]
    for padding in paddings[1:]:
        layers += [
            nn.Conv2d(width, width * 2, 4, 2, padding, bias=net.norm == "none"),
            *_between(width * 2, net, nn.LeakyReLU(0.2)),
        ]
        width *= 2
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4), nn.Flatten(0))


def _between(width: int, net: Net, activation: nn.Module) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(width)] if net.norm == "batch" else []
    return [*norm, activation, *([nn.Dropout(net.dropout)] if net.dropout else [])]
