"""Fully connected networks of any hidden sizes, as in Goodfellow et al. 2014 (arXiv 1406.2661)."""

import math
from itertools import pairwise

from torch import nn

from ganatomy.models.net import Model, NetworkConfig, Networks


def build(shape: tuple[int, ...], z_dim: int, g: NetworkConfig, d: NetworkConfig) -> Networks:
    """Build both networks: one linear layer per hidden size; the generator ends in Tanh."""
    size = math.prod(shape)
    generator = nn.Sequential(*_stack(z_dim, g, size), nn.Tanh(), nn.Unflatten(1, shape))
    discriminator = nn.Sequential(nn.Flatten(), *_stack(size, d, 1), nn.Flatten(0))
    return generator, discriminator


def _stack(inputs: int, net: NetworkConfig, outputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for wide_in, wide_out in pairwise((inputs, *net.widths)):
        layers.append(nn.Linear(wide_in, wide_out))
        if net.norm != "none":
            layers.append(nn.BatchNorm1d(wide_out))
        layers.append(net.active("leaky_relu"))
        if net.dropout:
            layers.append(nn.Dropout(net.dropout))
    return [*layers, nn.Linear((inputs, *net.widths)[-1], outputs)]


MLP = Model(
    build,
    "fully connected, one layer per number of g_widths and d_widths (Goodfellow et al. 2014)",
    frozenset({"norm", "dropout", "activation", "one_pass"}),
)
